"""Say what a suite's jobs are at, while they run or after: python -m bench status

It reads records, locks and the ends of logs, and writes nothing but the records' cache. A job that
was killed holds no lock, so its stage waits.
"""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bench.runs import catalogue
from bench.runs.cache import cached
from bench.runs.ending import title
from bench.runs.locks import is_written
from bench.runs.record import TRAIN
from bench.tools.memory import format_bytes
from bench.tools.plan import Again, add_suite, planned
from workflows.plan import Plan, Work

TAIL = 4096  # bytes of a log that hold its last line


def state(plan: Plan, work: Work) -> str:
    """Say in a word or two what one stage is at."""
    if is_written(plan.file(work).parent, work.stage.name):
        return "running"
    if not plan.is_left(work):
        record = plan.record(work)
        assert record, "a stage that is not left has a record"
        return record.status
    # in state/, to go on from
    kept = "update-*.safetensors" if work.stage.name == TRAIN else f"{work.stage.name}.json"
    began = any(plan.file(work, "state").glob(kept))
    return "waiting to go on" if began else "waiting"


def report(plan: Plan, again: Again) -> Iterator[str]:
    """Yield the lines on a plan: counts by stage, each running job, failures, the disk, the end.

    Args:
        again: how to go on.
    """
    plan = plan.plain()
    states = [(work, state(plan, work)) for work in plan.work]
    for name in dict.fromkeys(work.stage.name for work in plan.work):
        counts = Counter(now for work, now in states if work.stage.name == name)
        yield f"{name:16} {', '.join(f'{count} {now}' for now, count in counts.items())}"
    for work, now in states:
        if now == "running":
            yield f"running: {title(work.config, work.stage.name)}: {last_line(plan.log(work))}"
    ending = plan.ending()
    yield from (f"failed: {stage}" for stage in ending.failed)
    yield _disk(plan.results)
    running = sum(now == "running" for _, now in states)
    yield ending.line(
        page=f"the page: {plan.results / 'leaderboard.html'}",
        retry=again.retry,
        go_on=f"{running} running" if running else again.go_on,
    )


def last_line(log: Path) -> str:
    """Return the last line of a log, which begins with its time of day."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it has said nothing yet"


def _disk(results: Path) -> str:
    """Say how much room the results take, and how much is left."""
    used = 0
    for folder, _, names in os.walk(results):
        for name in names:
            with suppress(FileNotFoundError):  # a checkpoint that a job has replaced by now
                used += Path(folder, name).lstat().st_size
    there = next(path for path in (results, *results.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    return f"disk: {format_bytes(used)} of results, {format_bytes(free)} free beside them"


def main(words: Sequence[str] | None = None) -> None:
    """Print what the jobs of a suite are at."""
    parser = argparse.ArgumentParser(
        prog="python -m bench status", description="Say what a suite's jobs are at."
    )
    add_suite(parser)
    args = parser.parse_args(words)
    with catalogue.read_once(), cached(args.results) as cache:
        for line in report(planned(args, cache.read), Again.of(args)):
            print(line)
