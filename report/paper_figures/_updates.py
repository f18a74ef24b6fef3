"""Runs by update: what one diagnostic found of each, at the end of its training or on the way."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bench.runs import evaluations
from bench.runs.evaluations import Entry
from bench.runs.record import TRACES, TRAIN, Evaluation, Training
from report import traces
from report.collect import RunRecords
from report.groups import groups
from report.paper_figures import _parts as parts
from report.traces import Watched

ONSET = " the onset"
STAGES = (f"before{ONSET}", f"at{ONSET}", f"after{ONSET}")  # of a run that collapsed


class Found(NamedTuple):
    """What an evaluation found of a run, at the end of its training or on the way."""

    run: RunRecords
    entry: Entry
    found: Evaluation
    update: int  # after which the weights were
    training: Training

    @property
    def record(self) -> str:
        """Its files, below the folder of runs: training says where the update lies."""
        return parts.record(self.run, TRAIN, self.entry.name)


def measured(run: RunRecords, file: str, **settings: Any) -> list[Found]:
    """List what one diagnostic with some settings found of a run, by update."""
    trained = run.training
    found = []
    for stage, record in run.records.items():
        if trained is None or record.measure is None:
            continue
        entry = evaluations.read(stage)
        same = entry.file == file and settings.items() <= entry.settings.items()
        if same and entry.weights == "last":
            update = trained.updates if entry.at is None else entry.at
            found.append(Found(run, entry, record.measure, update, trained))
    return sorted(found, key=lambda one: one.update)


def named(runs: Sequence[RunRecords]) -> Iterator[tuple[str, RunRecords]]:
    """Yield every run with the name of its row, and with the radius where there are several."""
    several = len({run.config.eps for run in runs}) > 1
    for group in groups(runs):
        for row in sorted(group.rows, key=lambda row: row.label):
            for run in sorted(row.runs, key=lambda run: run.config.seed):
                yield row.title + (f", {run.config.eps}" if several else ""), run


def stage_of(one: Found) -> str:
    """Say where an update lies: before, in or after the epoch in which the run collapsed for good.

    An empty text of a run that did not.
    """
    onset = one.training.verdict.onset_epoch
    if onset is None:
        return ""
    per_epoch = one.training.updates / one.training.epochs
    return STAGES[(one.update > onset * per_epoch) + (one.update > (onset + 1) * per_epoch)]


def watched(run: RunRecords) -> dict[str, Watched]:
    """Read what was measured of a run while it trained; nothing where its traces are not here.

    Raises:
        ValueError: they are not the ones that its record names.
    """
    trained = run.training
    if trained is None or run.place is None or not (run.place / TRACES).is_file():
        return {}
    return traces.read(run.place, trained).watched
