"""Whether the weights beside a run's records are those that its training left."""

import hashlib
import os
from collections.abc import Iterable

from bench.runs import dropped
from bench.runs.record import TRAIN, WEIGHTS
from report.collect import RunRecords

BUDGET = 2**31  # bytes read for one page: some seconds
CHANGED, ABSENT, UNKNOWN = "changed", "not here", "its record names none"
DROPPED = "dropped, since it collapsed"
UNREAD, SOUND = "here, not compared", "as trained"


def check(runs: Iterable[RunRecords], budget: int = BUDGET) -> None:
    """Say of every trained run what became of its weights: `RunRecords.weights`.

    Args:
        budget: bytes to read; weights beyond it are not compared.
    """
    for run in runs:
        if run.has(TRAIN) and run.place:
            run.weights, read = _found(run, budget)
            budget -= read


def _found(run: RunRecords, budget: int) -> tuple[str, int]:
    """Compare a run's files of weights with its record; return what was found and bytes read."""
    training, place = run.records[TRAIN].training, run.place
    assert training and place, "a training that is done has numbers, and a place"
    names = {entry.name for entry in os.scandir(place) if entry.is_file()}
    files = {epoch: place / name for epoch, name in WEIGHTS.items() if name in names}
    if not files:
        return (DROPPED if dropped.reason(place) else ABSENT), 0
    if not training.weights:
        return UNKNOWN, 0
    size = sum(path.stat().st_size for path in files.values())
    if size > budget:
        return UNREAD, 0
    for epoch, path in files.items():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest not in training.weights.get(epoch, {}).values():
            return CHANGED, size
    return SOUND, size
