"""Make a published run again: python -m bench reproduce RUN

Trains and attacks RUN's configuration from nothing, with the options that its records name, and
compares all numbers. Exits 0 if the run is reproduced: they are equal, or every accuracy is in the
95 % interval of the recorded one and collapse is judged the same; 1 if it is not, and 2 if that
cannot be judged here. Needs no weights; where there are some, bench.tools.verify is quicker.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bench.runs import catalogue
from bench.runs import suite as configs
from bench.runs.record import AUTOATTACK, TRAIN, Engine, Record, Score
from bench.runs.stage import TrainOptions, stage
from bench.stages.machine import Kind
from bench.stages.running import Place, Task, execute, positive
from evaluation.binomial import wilson

STAGES = (TRAIN, AUTOATTACK)
ORIGIN = ("device", "torch", "cuda", "python", "threads", "engine", "library", "method_code",
          "bench_code", "commit", "dirty")  # fmt: skip
# told apart from numbers: where they were made, and what that took
APART = {*ORIGIN, "method_source", "train_seconds", "data_seconds", "probe_seconds",
         "attack_seconds", "peak_bytes", "state_bytes", "resumed"}  # fmt: skip


class Comparison(NamedTuple):
    """A stage as recorded and as made again."""

    said: str
    equal: bool  # to the last bit
    holds: bool  # equal, or as near as so few images can tell


def claims(run: Path) -> list[Record]:
    """Read the records to reproduce.

    Raises:
        ValueError: they have no numbers, or the code for them is not here.
    """
    paths = [run / f"{stage}.json" for stage in STAGES]
    if not paths[0].is_file():
        raise ValueError(f"there is no {paths[0]}; name a run's folder, which has its records")
    records = [Record.read(path) for path in paths if path.is_file()]
    config, origin = records[0].config, records[0].origin
    for record in records:
        if record.status != "done" or not record.body or not record.data:
            why = record.reason or "without numbers, or without data"
            raise ValueError(
                f"{record.stage} is {record.status} in the record: {why}; only a run that is done "
                "has numbers to reproduce"
            )
        if record.config != config:
            raise ValueError("its records are of two configurations; ask who published them")
    try:
        configs.run(json.dumps(config.as_dict()))
    except configs.ConfigError as error:
        commit = origin.commit if origin else "unknown"
        raise ValueError(f"{error}; the record is of commit {commit}, check that out") from None
    return records


def check_data(records: Sequence[Record], folder: Path) -> None:
    """Refuse other pictures than the records saw.

    Raises:
        ValueError: says what they saw, and what is in the folder.
    """
    from bench.data import load

    name = records[0].config.dataset
    here = load(name, folder)
    for record in records:
        if record.data and record.data.checksum != here.checksum:
            saw, ours = (f"{data.checksum[:12]} ({'' if data.official else 'not '}official)"
                         for data in (record.data, here))  # fmt: skip
            raise ValueError(
                f"{record.stage} saw {name} with checksum {saw}, in {folder} it is {ours}; name "
                "a folder with the pictures it saw by --data-dir"
            )


class Here(NamedTuple):
    """How a run is made again: as the record says, where nothing else is."""

    data_dir: Path
    device: Kind
    threads: int
    engine: Engine | None  # None: the record's


def again(record: Record, into: Path, here: Here) -> Record:
    """Do a recorded stage in another folder, as it was done.

    Raises:
        ValueError, OSError: it cannot be done here.
    """
    one = stage(record.stage)
    options = one.made(record)
    if here.engine and isinstance(options, TrainOptions):
        options = dataclasses.replace(options, engine=here.engine)
    log = into / f"{record.stage}.log"
    task = Task(one, record.config, options, into)
    made = execute(task, Place(here.data_dir, here.device, here.threads, log))
    if made.status not in ("done", "diverged"):
        raise ValueError(f"{made.stage} is {made.status} here: {made.reason}; see {log}")
    return made


def compare(recorded: Record, now: Record) -> Comparison:
    """Compare all numbers of a stage that was done."""
    if now.status != "done":
        said = f"done in the record, {now.status} now: {now.reason}"
        return Comparison(said, equal=False, holds=False)
    assert recorded.body and now.body, "done, and nothing found"
    before, after = numbers(asdict(recorded.body)), numbers(asdict(now.body))
    old, new = accuracies(recorded), accuracies(now)
    if before == after:
        what = [f"{now.training.epochs} epochs"] if now.training else []
        what += [f"{name} {score.accuracy:.2f} of {score.n}" for name, score in new.items()]
        return Comparison(f"equal to the last bit ({', '.join(what)})", equal=True, holds=True)
    holds = before.get(".verdict.collapsed") == after.get(".verdict.collapsed")
    parts = [_first(before, after), *([] if holds else ["collapse is judged otherwise"])]
    for name in old | new:
        if name not in old or name not in new:
            parts.append(f"{name} is {'recorded' if name in old else 'there now'} alone")
            holds = False
            continue
        (low, high), was, found = interval(old[name]), old[name].accuracy, new[name].accuracy
        if found == was:
            parts.append(f"{name} {found:.2f} in both")
            continue
        within = low <= found <= high
        place = "within" if within else f"outside {low:.2f} to {high:.2f},"
        parts.append(f"{name} {was:.2f} recorded, {found:.2f} now: {place} the 95 % interval of "
                     "the recorded number")  # fmt: skip
        holds &= within
    return Comparison("; ".join(parts), equal=False, holds=holds)


def accuracies(record: Record) -> dict[str, Score]:
    """Scores that decide, by their names on the page."""
    found: dict[str, Score] = {}
    if trained := record.training:
        found |= {"clean": trained.clean, "FGSM": trained.fgsm, "PGD-10": trained.pgd10}
        found |= {"best PGD-10": trained.best.pgd10} if trained.best else {}
    if attacked := record.attack:
        found["AutoAttack"] = Score(accuracy=attacked.accuracy, n=attacked.n)
    return found


def interval(score: Score) -> tuple[float, float]:
    """95 % interval, in percent: the page's for one seed."""
    return wilson(score.accuracy / 100, score.n)


def numbers(value: Any, name: str = "") -> dict[str, Any]:
    """Flatten what a stage found: ".curves.6.loss" and so on; without what is told apart."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    parts = (numbers(value[key], f"{name}.{key}") for key in value if key not in APART)
    return {key: number for part in parts for key, number in part.items()}


def _first(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Name the first number that differs, curves and masks before what follows from them."""
    wrong = [key for key in before | after if before.get(key) != after.get(key)]
    key = min(wrong, key=lambda key: not key.startswith((".curves", ".robust")))
    old, new = before.get(key), after.get(key)
    _, kind, *rest = key.split(".")
    if kind == "robust" and old and new:
        turned = (int(old, 16) ^ int(new, 16)).bit_count()
        return f"first differs after {rest[0]} (on {turned} images)"
    shown = [f"{x:.9g}" if isinstance(x, float) else x for x in (old, new)]  # float32 has 9 digits
    said = f"{shown[0]} recorded, {shown[1]} now"
    if kind == "curves":  # epochs count from 1, as on the page
        return f"first differs in epoch {int(rest[0]) + 1} ({'.'.join(rest[1:])} {said})"
    return f"first differs in {key[1:]} ({said})"


def elsewhere(recorded: Record, now: Record) -> str:
    """Say what differs in where two records were made."""
    old, new = (
        {key: value for part in (record.origin, record.body) if part
         for key, value in asdict(part).items() if key in ORIGIN}
        for record in (recorded, now)
    )  # fmt: skip
    wrong = [key for key in ORIGIN if key in old and key in new and old[key] != new[key]]
    return "; ".join(
        f"{key.replace('_', ' ')} {old[key]} recorded, {new[key]} now" for key in wrong
    )


def reproduce(run: Path, here: Here, into: Path | None) -> bool:
    """Do all recorded stages again and say what came out; is the run reproduced.

    Args:
        into: new folder to work in; None for a temporary one, removed if all is equal.

    Raises:
        ValueError: that cannot be judged here.
        OSError: a file cannot be read or written.
    """
    records = claims(run)
    os.environ["OMP_NUM_THREADS"] = str(here.threads)  # loading data is what imports torch
    check_data(records, here.data_dir)
    if into and any((into / f"{name}.json").exists() for name in STAGES):
        raise ValueError(f"{into} has records already; name a new folder by --into")
    folder = into or Path(tempfile.mkdtemp(prefix="onestep-again-"))
    found: list[Comparison] = []
    try:
        for record in records:
            now = again(record, folder, here)
            found.append(compare(record, now))
            where = elsewhere(record, now)
            print(f"{record.stage}: {found[-1].said}", flush=True)
            print(f"  made otherwise: {where}\n" if where else "", end="", flush=True)
            if now.status != "done":
                break
    finally:
        if not into and len(found) == len(records) and all(one.equal for one in found):
            shutil.rmtree(folder)
        else:
            print(f"what was made is in {folder}", flush=True)
    return all(one.holds for one in found)


def place_of(run: Path) -> tuple[Kind, int]:
    """Read the kind of device and the threads that a run was trained with; one, where unknown.

    Raises:
        ValueError: as ``claims``.
    """
    origin = claims(run)[0].origin
    if origin is None:
        return "auto", 1
    return "cpu" if origin.device.startswith("CPU") else "cuda", origin.threads


def main(words: Sequence[str] | None = None) -> None:
    """Make one run again, say what is the same, and exit 0 if it is reproduced."""
    parser = argparse.ArgumentParser(
        prog="python -m bench reproduce", description="Train and attack a recorded run again."
    )
    parser.add_argument("run", type=Path, help="folder of the run, with its records")
    parser.add_argument(
        "--into", type=Path, help="new folder to work in; a temporary one, removed if all is equal"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=catalogue.data_folder(), help="$ONESTEP_DATA, .data"
    )
    parser.add_argument("--device", choices=get_args(Kind), help="the record's kind")
    parser.add_argument("--threads", type=positive, help="CPU threads; the record's")
    parser.add_argument("--engine", choices=get_args(Engine), help="the record's")
    args = parser.parse_args(words)
    try:
        kind, threads = place_of(args.run)
        here = Here(args.data_dir, args.device or kind, args.threads or threads, args.engine)
        reproduced = reproduce(args.run, here, args.into)
    except (ValueError, OSError) as error:
        print(f"cannot judge {args.run}: {error}", file=sys.stderr)
        sys.exit(2)
    print("reproduced" if reproduced else "not reproduced")
    sys.exit(not reproduced)
