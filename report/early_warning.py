"""Probe around collapses: python -m bench early_warning SUITE

The runs of the suite are the first pass: a reading of all detectors every so many updates. For each
of them the command finds the onset of its collapse, and writes suites below results/early_warning
that train the same runs again, with readings as dense as DENSE around it; a run that holds is
probed where the others collapsed. Once these are done, too, the same command says whether their
weights are those of the first pass, to the bit.
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
from bench.runs.catalogue import ROOT
from bench.runs.files import write_bytes, write_json
from bench.runs.record import TRAIN, ConfigError, Training
from bench.runs.run import expand
from bench.runs.suite import Suite, parse_suite, read_yaml
from evaluation.early_warning import onset
from report import traces
from report.collect import RunRecords
from report.story import runs_of
from report.traces import Traces

DENSE = 5  # updates between two readings of the second pass
BEFORE, AFTER = 1500, 250  # updates of its window: before the onset and after it
WHOLE = 50  # windows begin and end at its multiples
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


class Grid(NamedTuple):
    """The updates at which all detectors of a run are read."""

    every: int
    since: int
    until: int | None  # None: the last

    @property
    def is_window(self) -> bool:
        """Whether it is of a second pass."""
        return self.until is not None

    def updates(self, last: int) -> np.ndarray:
        """List them; training has a number of none before the first."""
        first = -(-max(self.since, 1) // self.every) * self.every
        return np.arange(first, min(last, last if self.until is None else self.until) + 1, self.every)


def grids(training: Training) -> list[Grid]:
    """List the grids on which everything that was watched was read, the densest first."""
    by_name: dict[str, set[Grid]] = defaultdict(set)
    for entry in map(evaluations.read, training.watched):
        by_name[entry.name].add(Grid(entry.every or 1, entry.since or 0, entry.until))
    return sorted(set.intersection(*by_name.values())) if by_name else []


def readings(found: Traces, detector: Detector, at: np.ndarray) -> np.ndarray | None:
    """Return a detector's numbers at some updates; nan where there is none, None if nowhere."""
    name = detector.column
    if detector.free:
        return found.columns[name][at - 1] if name in found.columns else None
    if name not in found.watched:
        return None
    seen = dict(zip(*found.watched[name], strict=True))
    return np.array([seen.get(update, np.nan) for update in at])


def collapse(found: Traces) -> int | None:
    """Return the update at which a run's collapse began, by all readings of PGD-10."""
    return onset(*found.watched[ROBUST])


def window(begun: int, last: int) -> tuple[int, int]:
    """Return the first and the last update to probe around an onset."""
    since = max(begun - BEFORE, 0) // WHOLE * WHOLE
    return since, min(-(-(begun + AFTER) // WHOLE) * WHOLE, last)


def dense(given: Mapping[str, Any], runs: Sequence[RunRecords], around: tuple[int, int]) -> str:
    """Write the suite that trains some runs of a suite again and probes them in a window.

    Args:
        given: the suite of the first pass, as its file has it.
        runs: of one method.
        around: first and last update.
    """
    suite = parse_suite(given)
    since, until = around
    watched = [evaluations.read(one) for one in suite.watch]
    more = [
        f"{one.name}-every_{DENSE}-since_{since}-until_{until}" for one in watched if not one.until
    ]
    method, seeds = runs[0].config.method, [run.config.seed for run in runs]
    content = {
        **given,
        "suite": f"{suite.suite}_{method}_{'_'.join(map(str, seeds))}",
        "methods": [method], "seeds": seeds,
        "evaluations": [*suite.evaluations, *more],
    }  # fmt: skip
    head = f"# {suite.suite} once more, with readings every {DENSE} updates around an onset.\n"
    return head + yaml.safe_dump(content, sort_keys=False)


def main(words: Sequence[str] | None = None) -> None:
    """Write the suites of the second pass, and say of each run what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m bench early_warning", description="Probe densely around collapses."
    )
    parser.add_argument("suite", type=Path, help="name or file of the suite of the first pass")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(words)
    path = args.suite if args.suite.suffix else ROOT / f"workflows/config/{args.suite}.yaml"
    try:
        given = read_yaml(path)
        suite = parse_suite(given)
        _check(suite)
        runs = runs_of(expand(suite), args.results)
        found = {run.folder: _traces(run) for run in runs if run.has(TRAIN)}
    except (ConfigError, ValueError, OSError) as error:
        sys.exit(f"early_warning: {error}")
    out = args.results / "early_warning"
    differ = _told(given, runs, found, out)
    if differ:
        sys.exit(f"{differ} runs of the second pass are not those of the first: nothing is told "
                 "of them; is the machine, torch or the number of threads another?")  # fmt: skip


def _told(
    given: Mapping[str, Any],
    runs: Sequence[RunRecords],
    found: Mapping[str, Traces],
    out: Path,
) -> int:
    """Write suites and sums, say a line a run, and count the runs that differ from the first."""
    path = out / "first.json"
    first: dict[str, str] = json.loads(path.read_bytes()) if path.is_file() else {}
    begun = {folder: collapse(one) for folder, one in found.items()}
    onsets = sorted(one for one in begun.values() if one is not None)
    usual = statistics.median_low(onsets) if onsets else None
    todo: dict[tuple[str, tuple[int, int]], list[RunRecords]] = defaultdict(list)
    differ = 0
    for run in runs:
        name = f"{run.config.method}, seed {run.config.seed}"
        training = run.has(TRAIN) and run.records[TRAIN].training
        if not training:
            print(f"{name}: not run")
            continue
        at, weights = begun[run.folder], training.weights["last"]["full"]
        said = "holds" if at is None else f"collapses at update {at}"
        if any(grid.is_window for grid in grids(training)):
            same = first.get(run.folder) == weights
            differ += not same
            print(f"{name}: {said}; probed, and {'' if same else 'NOT '}with the first's weights")
            continue
        first[run.folder] = weights
        around = at if at is not None else usual
        if around is None:
            print(f"{name}: {said}; no run tells where to probe")
            continue
        place = window(around, training.updates)
        todo[run.config.method, place].append(run)
        print(f"{name}: {said}; to be probed from {place[0]} to {place[1]}")
    write_json(path, first)
    for (method, place), group in todo.items():
        file = out / f"{method}-{place[0]}-{place[1]}.yaml"
        write_bytes(file, dense(given, group, place).encode())
        print(f"{file}: {len(group)} of these runs")
    return differ


def _check(suite: Suite) -> None:
    """Raise ConfigError if the suite does not read what tells an onset."""
    names = {evaluations.read(one).name for one in suite.watch}
    if ROBUST not in names:
        raise ConfigError(
            f"suite {suite.suite} does not measure {ROBUST} while training; list "
            "{attack: pgd, steps: 10, every: 50} among its evaluations"
        )


def _traces(run: RunRecords) -> Traces:
    training = run.records[TRAIN].training
    assert training and run.place, "a training that is done has numbers, and a folder"
    return traces.read(run.place, training)


if __name__ == "__main__":
    main()
