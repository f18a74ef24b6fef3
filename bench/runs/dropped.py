"""Weights of collapsed runs that a suite has dropped, and the note that says so. No torch."""

from pathlib import Path

from bench.runs.files import write_bytes
from bench.runs.record import WEIGHTS, Kept, Training

NOTE = "weights.dropped"  # in the run's folder
GOES: tuple[Kept, ...] = ("last", "average")  # what a rule chose may be of before the collapse


def drop(folder: Path, training: Training) -> int:
    """Remove the last weights of a run that collapsed, and their average.

    Returns:
        Bytes freed; 0 if the run has not collapsed, or has no such weights any more.
    """
    onset = training.verdict.onset_epoch
    there = [path for name in GOES if (path := folder / WEIGHTS[name]).is_file()]
    if onset is None or not there:
        return 0
    size = sum(path.stat().st_size for path in there)
    text = (
        f"the run collapsed in epoch {onset + 1} of {training.epochs}, and keep_weights is robust"
    )
    write_bytes(folder / NOTE, text.encode())  # first, so that no weights go without a word
    for path in there:
        path.unlink()
    return size


def reason(folder: Path) -> str | None:
    """Read why weights of a run were dropped; None if none were."""
    note = folder / NOTE
    return note.read_text(encoding="utf-8").strip() if note.is_file() else None


def forget(folder: Path) -> None:
    """Remove the note, of a run that is trained again."""
    (folder / NOTE).unlink(missing_ok=True)
