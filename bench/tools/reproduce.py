"""Make a published run again: python -m bench reproduce RUN

Trains and attacks RUN's configuration anew, with the options that its records name, and compares
all results. Exits 0 if the run is reproduced, 1 if it is not, and 2 if this machine cannot judge
it. A run is reproduced if all results are equal, or if every accuracy lies in the 95 % interval of
the recorded one and the verdict on catastrophic overfitting is the same. Weights are not needed;
where RUN has them, bench.tools.verify is quicker.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bench.runs import catalogue
from bench.runs.ending import plural
from bench.runs.find import RUN, run_folder
from bench.runs.record import AUTOATTACK, TRAIN, ConfigError, Engine, Record, Score
from bench.runs.run import kept_for, parse_run
from bench.runs.stage import TrainOptions, stage, with_kept
from bench.stages.job import folder_of
from bench.stages.machine import DeviceKind
from bench.stages.running import Place, Task, execute, positive
from evaluation.binomial import wilson

STAGES = (TRAIN, AUTOATTACK)
# fields of a record that name the machine and the code
PROVENANCE = ("device", "torch", "cuda", "python", "threads", "engine", "library", "method_code",
              "bench_code", "commit", "dirty")  # fmt: skip
# fields that are no results, provenance and what the stage cost, or that older records lack
NOT_COMPARED = {*PROVENANCE, "method_source", "train_seconds", "data_seconds", "probe_seconds",
                "attack_seconds", "peak_bytes", "state_bytes", "resumed",
                "answers", "segments", "weights", "digest", "warnings", "traces",
                "kept"}  # fmt: skip


class StageComparison(NamedTuple):
    """How the results of a stage compare with the recorded ones."""

    text: str  # the comparison in one line
    equal: bool  # to the last bit
    reproduced: bool  # equal, or as near as so few images can tell


class Environment(NamedTuple):
    """Where and how a run is made again."""

    data_dir: Path
    device: DeviceKind
    threads: int
    engine: Engine | None  # None: the recorded one


def read_records(run: Path) -> list[Record]:
    """Read the records of training and, if there is one, of AutoAttack.

    Raises:
        ValueError: a record has no results, or the code for its configuration is missing here.
    """
    paths = [run / f"{stage}.json" for stage in STAGES]
    # whatever lies there, even what is no file, counts as a record that has to be read
    records = [Record.read(path) for path in paths if os.path.lexists(path)]
    config, origin = records[0].config, records[0].origin
    for record in records:
        if record.status != "done":
            raise ValueError(
                f"{record.stage} is {record.status} in the record: {record.reason}; only a run "
                "that is done has numbers to reproduce"
            )
        if record.config != config:
            raise ValueError("its records are of two configurations; ask who published them")
    try:
        parse_run(json.dumps(config.as_dict()))
    except ConfigError as error:
        commit = origin.commit if origin else "unknown"
        raise ValueError(f"{error}; the record is of commit {commit}, check that out") from None
    return records


def check_data(records: Sequence[Record], folder: Path) -> None:
    """Check that a data folder holds the pictures that the records name by checksum.

    Raises:
        ValueError: it holds others; the text names both checksums.
    """
    from bench.data import load

    name = records[0].config.dataset
    loaded = load(name, folder)
    for record in records:
        if record.data and record.data.checksum != loaded.checksum:
            recorded, found = (f"{data.checksum[:12]} ({'' if data.official else 'not '}official)"
                               for data in (record.data, loaded))  # fmt: skip
            raise ValueError(
                f"{record.stage} saw {name} with checksum {recorded}, in {folder} it is {found}; "
                "name a folder with the pictures it saw by --data-dir"
            )


def rerun(record: Record, folder: Path, environment: Environment) -> Record:
    """Run a recorded stage with its options in another folder; return the new record.

    Raises:
        ValueError, OSError: the stage cannot be run here.
    """
    one = stage(record.stage)
    options = one.options_of(record)
    if environment.engine and isinstance(options, TrainOptions):
        options = dataclasses.replace(options, engine=environment.engine)
    log = folder / f"{record.stage}.log"
    place = Place(environment.data_dir, environment.device, environment.threads, log)
    if isinstance(options, TrainOptions) and (source := record.config.source):
        before = with_kept(options, kept_for(record.config))  # whose weights it begins with
        execute(Task(one, source, before, folder_of(source, record.config, folder)), place)
    result = execute(Task(one, record.config, options, folder), place)
    if result.status not in ("done", "diverged"):
        raise ValueError(f"{result.stage} is {result.status} here: {result.reason}; see {log}")
    return result


def compare_records(recorded: Record, repeated: Record) -> StageComparison:
    """Compare all results of a stage with those in its record, which is done."""
    if repeated.status != "done":
        text = f"done in the record, {repeated.status} now: {repeated.reason}"
        return StageComparison(text, equal=False, reproduced=False)
    assert recorded.body and repeated.body, "a stage that is done has a body"
    old, new = results_by_path(asdict(recorded.body)), results_by_path(asdict(repeated.body))
    if old == new:
        parts = [plural(repeated.training.epochs, "epoch")] if repeated.training else []
        parts += [f"{name} {score.accuracy:.2f} of {score.n}"
                  for name, score in headline_scores(repeated).items()]  # fmt: skip
        text = f"equal to the last bit ({', '.join(parts)})"
        return StageComparison(text, equal=True, reproduced=True)
    same_verdict = old.get(".verdict.collapsed") == new.get(".verdict.collapsed")
    parts = [_first_difference(old, new)]
    parts += [] if same_verdict else ["collapse is judged otherwise"]
    compared = _compare_scores(headline_scores(recorded), headline_scores(repeated))
    parts += [text for text, _ in compared]
    reproduced = same_verdict and all(within for _, within in compared)
    return StageComparison("; ".join(parts), equal=False, reproduced=reproduced)


def headline_scores(record: Record) -> dict[str, Score]:
    """List the scores that decide whether a stage is reproduced, by their names on the page."""
    scores: dict[str, Score] = {}
    if training := record.training:
        scores |= {"clean": training.clean, "FGSM": training.fgsm, "PGD-10": training.pgd10}
        others = {"best": training.best, "best on test": training.best_on_test,
                  "average": training.average}  # fmt: skip
        scores |= {f"{name} PGD-10": found.pgd10 for name, found in others.items() if found}
    if attack := record.attack:
        scores["AutoAttack"] = Score(accuracy=attack.accuracy, n=attack.n)
    return scores


def confidence_interval(score: Score) -> tuple[float, float]:
    """95 % interval of an accuracy, in percent; the one that the page gives for one seed."""
    return wilson(score.accuracy / 100, score.n)


def results_by_path(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten a record's body into values by path, as ".curves.6.loss"; drop NOT_COMPARED."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    parts = (results_by_path(value[key], f"{path}.{key}") for key in value
             if key not in NOT_COMPARED)  # fmt: skip
    return {key: result for part in parts for key, result in part.items()}


def provenance_differences(recorded: Record, repeated: Record) -> str:
    """Name the machine and code of two records, as far as they differ."""
    old, new = (
        {key: value for part in (record.origin, record.body) if part
         for key, value in asdict(part).items() if key in PROVENANCE}
        for record in (recorded, repeated)
    )  # fmt: skip
    differing = [key for key in PROVENANCE if key in old and key in new and old[key] != new[key]]
    return "; ".join(
        f"{key.replace('_', ' ')} {old[key]} recorded, {new[key]} now" for key in differing
    )


def reproduce(run: Path, environment: Environment, into: Path | None) -> bool:
    """Run all recorded stages again and print how each compares; is the run reproduced.

    Args:
        into: new folder to work in; None for a temporary one, removed if all is equal.

    Raises:
        ValueError: the run cannot be judged here.
        OSError: a file cannot be read or written.
    """
    records = read_records(run)
    # before loading data imports torch
    os.environ["OMP_NUM_THREADS"] = str(environment.threads)
    check_data(records, environment.data_dir)
    if into and any((into / f"{name}.json").exists() for name in STAGES):
        raise ValueError(f"{into} has records already; name a new folder by --into")
    folder = into or Path(tempfile.mkdtemp(prefix="onestep-again-"))
    comparisons: list[StageComparison] = []
    try:
        for record in records:
            result = rerun(record, folder, environment)
            comparisons.append(compare_records(record, result))
            differences = provenance_differences(record, result)
            print(f"{record.stage}: {comparisons[-1].text}", flush=True)
            if differences:
                print(f"  made otherwise: {differences}", flush=True)
            if result.status != "done":
                break
    finally:
        complete = len(comparisons) == len(records)
        if not into and complete and all(one.equal for one in comparisons):
            shutil.rmtree(folder)
        else:
            print(f"what was made is in {folder}", flush=True)
    return all(one.reproduced for one in comparisons)


def recorded_device(run: Path) -> tuple[DeviceKind, int]:
    """Read the kind of device and the CPU threads of a run's training; "auto" and 1 if unknown.

    Raises:
        ValueError: as ``read_records``.
    """
    origin = read_records(run)[0].origin
    if origin is None:
        return "auto", 1
    return "cpu" if origin.device.startswith("CPU") else "cuda", origin.threads


def _compare_scores(
    recorded: Mapping[str, Score], repeated: Mapping[str, Score]
) -> list[tuple[str, bool]]:
    """Compare scores by name: a text, and whether the new one is in the recorded one's interval."""
    compared = []
    for name in {**recorded, **repeated}:
        if name not in recorded or name not in repeated:
            where = "in the record" if name in recorded else "in the new run"
            compared.append((f"{name} is only {where}", False))
            continue
        old, new = recorded[name].accuracy, repeated[name].accuracy
        if new == old:
            compared.append((f"{name} {new:.2f} in both", True))
            continue
        low, high = confidence_interval(recorded[name])
        within = low <= new <= high
        place = "within" if within else f"outside {low:.2f} to {high:.2f},"
        text = (f"{name} {old:.2f} recorded, {new:.2f} now: {place} the 95 % interval of the "
                "recorded number")  # fmt: skip
        compared.append((text, within))
    return compared


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name the first result that differs: curves and masks first, since the rest follows."""
    differing = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    key = min(differing, key=lambda key: not key.startswith((".curves", ".robust")))
    before, after = old.get(key), new.get(key)
    _, kind, *rest = key.split(".")
    if kind == "robust" and before and after:
        turned = (int(before, 16) ^ int(after, 16)).bit_count()
        return f"first differs after {rest[0]} (on {plural(turned, 'image')})"
    # float32 has 9 digits
    shown = [f"{x:.9g}" if isinstance(x, float) else x for x in (before, after)]
    values = f"{shown[0]} recorded, {shown[1]} now"
    if kind == "curves":  # epochs count from 1, as on the page
        return f"first differs in epoch {int(rest[0]) + 1} ({'.'.join(rest[1:])} {values})"
    return f"first differs in {key[1:]} ({values})"


def main(words: Sequence[str] | None = None) -> None:
    """Make one run again, print how it compares, and exit 0 if it is reproduced."""
    parser = argparse.ArgumentParser(
        prog="python -m bench reproduce", description="Train and attack a recorded run again."
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "--into", type=Path, help="new folder to work in; a temporary one, removed if all is equal"
    )
    catalogue.add_data_dir(parser)
    parser.add_argument(
        "--device", choices=get_args(DeviceKind), help="default: of the kind in the record"
    )
    parser.add_argument("--threads", type=positive, help="CPU threads; default: the record's")
    parser.add_argument("--engine", choices=get_args(Engine), help="default: the record's")
    args = parser.parse_args(words)
    try:
        run = run_folder(args.run)
        kind, threads = recorded_device(run)
        environment = Environment(
            args.data_dir, args.device or kind, args.threads or threads, args.engine
        )
        reproduced = reproduce(run, environment, args.into)
    except (ValueError, OSError) as error:
        print(f"cannot judge {args.run}: {error}", file=sys.stderr)
        sys.exit(2)
    print("reproduced" if reproduced else "not reproduced")
    sys.exit(not reproduced)
