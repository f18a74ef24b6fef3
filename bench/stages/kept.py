"""Verdicts that an attack keeps on disk, so that it goes on after a kill."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.files import write_json
from bench.runs.typed import build, parse
from bench.stages.job import Job

if TYPE_CHECKING:
    from evaluation.progress import Progress


@contextmanager
def kept(
    job: Job, key: list[Any]
) -> "Iterator[tuple[Progress | None, Callable[[Progress], None]]]":
    """Keep a job's verdicts in its folder's state/ until the block is done.

    Args:
        key: what the verdicts depend on, ready for JSON; those of another key are not read.

    Yields:
        What a killed job with the same key left, and a function that keeps more.
    """
    path = job.folder / "state" / f"{job.stage.name}.json"
    yield (
        _read(path, key, job.say),
        lambda now: write_json(path, {"key": key, "progress": dataclasses.asdict(now)}),
    )
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _read(path: Path, key: list[Any], say: Callable[[str], None]) -> "Progress | None":
    from evaluation.progress import Progress

    if not path.is_file():
        return None
    try:
        found = parse(dict[str, Any], path.read_bytes(), path.name)
        if found.get("key") != key:
            return None
        progress: Progress = build(Progress, found.get("progress"), "progress")
    except ValueError as error:
        say(f"{path} is damaged, so the attack begins anew: {error}")
        return None
    return progress
