"""Probe around collapses: python -m bench early_warning SUITE

The runs of the suite are the first pass. For each of them the command finds the epoch in which its
collapse began, and writes suites below results/early_warning that train the same runs again, and
read all detectors every few updates around it; a run that holds is probed where the others
collapsed. Once these are done, too, the same command says whether their weights are those of the
first pass, to the bit.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from bench.runs import evaluations
from bench.runs.ending import plural
from bench.runs.files import write_bytes, write_json
from bench.runs.record import ConfigError, Training
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_suite
from evaluation.early_warning import halved
from report.collect import RunRecords
from report.story import runs_of
from report.traces import Traces

EVERY = 5  # updates between two readings of the second pass
BEFORE, AFTER = 1500, 250  # updates of its window: before the epoch of the onset, and after it
ROBUST = "pgd10"  # tells the onset


class Detector(NamedTuple):
    """A number of a network in training that may warn of a collapse."""

    title: str
    rises: bool  # which way it is expected to move
    free: str | None = None  # column of the traces that training fills at no cost
    entry: dict[str, Any] | None = None  # an evaluation, as a suite writes it

    @property
    def column(self) -> str:
        """Its name in the traces."""
        if self.free:
            return self.free
        entry = evaluations.read(self.entry or {})
        return entry.printed if entry.kind == "attack" else entry.column(entry.file)


# which way each moves is fixed by the papers, before any run was read
DETECTORS = (
    Detector("PertAlign of the batch", False, free="pert_align"),
    Detector("training loss", False, free="loss"),
    Detector("gradient norm", True, free="g_norm"),
    Detector("PertAlign of test images", False, entry={"diagnostic": "pert_align_test"}),
    Detector("gradient alignment", False, entry={"diagnostic": "gradient_alignment"}),
    Detector("share of abnormal examples", True, entry={"diagnostic": "aae_share"}),
    Detector("TRADES-KL of one step", True,
             entry={"diagnostic": "trades_kl", "steps": 1, "alpha": 1.0}),
    Detector("ELLE's error", True, entry={"diagnostic": "elle"}),
    Detector("linearity error", True, entry={"diagnostic": "lin_err"}),
    Detector("accuracy under FGSM", True, entry={"attack": "fgsm"}),
    Detector("accuracy under PGD-10", False, entry={"attack": "pgd", "steps": 10}),
)  # fmt: skip


def grid(training: Training) -> np.ndarray | None:
    """List the updates at which a second pass read all detectors; None if it is none."""
    by_name: dict[str, set[tuple[int, int, int]]] = defaultdict(set)
    for entry in map(evaluations.read, training.watched):
        if entry.every and entry.until:
            by_name[entry.name].add((entry.every, entry.since or 0, entry.until))
    names = {evaluations.read(one.entry).name for one in DETECTORS if one.entry}
    shared = set.intersection(*(by_name[name] for name in names))
    if not shared:
        return None
    every, since, until = min(shared)
    first = -(-max(since, 1) // every) * every  # training has a number of none before the first
    return np.arange(first, min(until, training.updates) + 1, every)


def readings(found: Traces, detector: Detector, at: np.ndarray) -> np.ndarray | None:
    """Return a detector's numbers at some updates; nan where there is none, None if nowhere."""
    name = detector.column
    if detector.free:
        return found.columns[name][at - 1] if name in found.columns else None
    if name not in found.watched:
        return None
    seen = dict(zip(*found.watched[name], strict=True))
    return np.array([seen.get(update, np.nan) for update in at])


def collapse(training: Training, found: Traces | None = None) -> int | None:
    """Return the update at which a run's collapse began, by all readings of PGD-10 that there are.

    Args:
        training: has a reading after every epoch.
        found: its traces; with them the update is as exact as the readings are dense.
    """
    pace = training.updates // training.epochs
    seen = {pace * (one.epoch + 1): one.probe[ROBUST] for one in training.curves}
    if found and ROBUST in found.watched:
        seen |= {int(k): float(v) for k, v in zip(*found.watched[ROBUST], strict=True)}
    updates = sorted(seen)
    return halved(updates, [seen[update] for update in updates])


def window(begun: int, training: Training) -> tuple[int, int]:
    """Return the first and the last update to probe around an onset, at the end of an epoch."""
    pace = training.updates // training.epochs
    return max(begun - pace - BEFORE, 0), min(begun + AFTER, training.updates)


def dense(given: Mapping[str, Any], runs: Sequence[RunRecords], around: tuple[int, int]) -> str:
    """Write the suite that trains some runs of a suite again and probes them in a window.

    Args:
        given: the suite of the first pass, as its file has it.
        runs: of one method.
        around: first and last update.
    """
    suite = parse_suite(given)
    since, until = around
    when = {"every": EVERY, "since": since, "until": until}
    method, seeds = runs[0].config.method, [run.config.seed for run in runs]
    content = {
        **given,
        "suite": f"{suite.suite}_{method}_{'_'.join(map(str, seeds))}",
        "methods": [method], "seeds": seeds,
        "evaluations": [*suite.evaluations, *(one.entry | when for one in DETECTORS if one.entry)],
    }  # fmt: skip
    head = f"# {suite.suite} once more, with readings every {EVERY} updates around an onset.\n"
    return head + yaml.safe_dump(content, sort_keys=False)


def main(words: Sequence[str] | None = None) -> None:
    """Write the suites of the second pass, and say of each run what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m bench early_warning", description="Probe densely around collapses."
    )
    parser.add_argument("suite", type=Path, help="name or file of the suite of the first pass")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(words)
    try:
        given = read_suite(args.suite)
        suite = parse_suite(given)
        runs = runs_of(expand(suite), args.results)
    except (ConfigError, ValueError, OSError) as error:
        sys.exit(f"early_warning: {error}")
    out = args.results / "early_warning"
    differ = _told(given, runs, out)
    if differ:
        sys.exit(
            f"in {plural(differ, 'run')} the second pass trained other weights than the first, and "
            "tells nothing there; is the machine, torch or the number of threads another?"
        )


def _told(given: Mapping[str, Any], runs: Sequence[RunRecords], out: Path) -> int:
    """Write suites and sums, say a line a run, and count the runs that differ from the first."""
    path, published = out / "first.json", out.parent / "published" / out.name / "first.json"
    first: dict[str, str] = {}
    for file in filter(Path.is_file, (published, path)):
        first |= json.loads(file.read_bytes())
    trained = {run.folder: body for run in runs if (body := run.training)}
    begun = {folder: collapse(body) for folder, body in trained.items()}
    onsets = [one for one in begun.values() if one is not None]
    usual = statistics.median_low(onsets) if onsets else None
    todo: dict[tuple[str, tuple[int, int]], list[RunRecords]] = defaultdict(list)
    differ = 0
    for run in runs:
        name = f"{run.config.method}, seed {run.config.seed}"
        if run.folder not in trained:
            print(f"{name}: not run")
            continue
        training, at = trained[run.folder], begun[run.folder]
        weights = training.weights["last"]["full"]
        said = "holds" if at is None else f"collapses before update {at}"
        if grid(training) is not None:
            known = first.get(run.folder, "")
            differ += known not in ("", weights)
            told = "with the first's weights" if known else "no first pass is there to compare with"
            told = f"NOT {told}" if known not in ("", weights) else told
            print(f"{name}: {said}; probed, {told}")
            continue
        first[run.folder] = weights
        around = at if at is not None else usual
        if around is None:
            print(f"{name}: {said}; no run tells where to probe")
            continue
        place = window(around, training)
        todo[run.config.method, place].append(run)
        print(f"{name}: {said}; to be probed from {place[0]} to {place[1]}")
    write_json(path, first)
    for (method, place), group in todo.items():
        file = out / f"{method}-{place[0]}-{place[1]}.yaml"
        write_bytes(file, dense(given, group, place).encode())
        print(f"{file}: {len(group)} of these runs")
    return differ


if __name__ == "__main__":
    main()
