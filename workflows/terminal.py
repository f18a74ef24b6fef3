"""What a terminal shows of Snakemake: less than it says by itself, and at the end our line."""

import atexit
import contextlib
import logging
import sys
import time
from pathlib import Path
from typing import Any

from workflows.plan import Plan, drop_collapsed


def take_over(plan: Plan, workflow: Any) -> None:
    """Drop Snakemake's chatter where progress is to be quiet, and say the last line of all.

    Snakemake's own hooks come before its last lines, and not at all where there is nothing to do.
    """
    if not workflow.is_main_process:  # a job of a cluster
        return
    if any(kind.name == "PROGRESS" for kind in workflow.output_settings.quiet or ()):
        for handler in logging.getLogger("snakemake.logging").handlers:
            if handler.name == "DefaultStreamHandler":
                handler.addFilter(_tells)
    atexit.register(_tell, plan, workflow, time.time(), Path.cwd())


def _tells(record: logging.LogRecord) -> bool:
    """Drop what Snakemake says of itself: that it starts jobs, and texts without an event."""
    event = getattr(record, "event", None)
    return record.levelno > logging.INFO or (event is not None and event.name != "JOB_STARTED")


def _tell(plan: Plan, workflow: Any, began: float, folder: Path) -> None:
    """Say what is done, failed and left; before it, show the tables if they are of now.

    Args:
        began: seconds of the epoch, when Snakemake read the plan.
        folder: that it worked in, and has left by now.
    """
    if workflow.executor_plugin is None:  # it has drawn its graph, listed its rules, ...
        return
    with contextlib.chdir(folder):
        if workflow.dryrun and (left := plan.reasons()):
            print(f"left: {left}; without --dry-run the same command does it", file=sys.stderr)
            return
        if not workflow.dryrun and (freed := drop_collapsed([plan])):
            print(f"dropped {freed / 1e6:.0f} MB: weights of collapsed runs", file=sys.stderr)
        ending = plan.ending()
        table = plan.results / "leaderboard.txt"
        if table.is_file() and (not ending.left or _is_newer(table, began)):
            print(table.read_text(encoding="utf-8"), flush=True)
        retry = "the same command with --config retry_failed=true"
        print(ending.line(page=_page(plan, began), retry=retry), file=sys.stderr)


def _page(plan: Plan, began: float) -> str:
    """Name the pages that were made since Snakemake began; the leaderboard if none were."""
    names = ("leaderboard", "paper_report", f"figures/{plan.suite.suite}")
    pages = [plan.results / f"{name}.html" for name in names]
    made = [page for page in pages if _is_newer(page, began)]
    records = [path.stat().st_mtime for path in map(plan.file, plan.work) if path.is_file()]
    if not made and not _is_newer(pages[0], max(records, default=0.0)):
        return f"{pages[0]} is older than its records, and snakemake report makes it anew"
    return f"the page: {', '.join(map(str, made or pages[:1]))}"


def _is_newer(path: Path, began: float) -> bool:
    return path.is_file() and path.stat().st_mtime >= began
