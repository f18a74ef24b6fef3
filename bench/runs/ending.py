"""The last line of a command: what is done, what failed, what is left, and how to go on."""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.runs.record import Config, Status

NAMED = 3  # stages that a line names; it counts the others
LONGEST = 160  # characters of a reason


class Named(NamedTuple):
    """One stage of one run, as a last line names it."""

    title: str
    log: Path
    reason: str = ""

    def __str__(self) -> str:
        """The stage with its reason and, if there is one, its log file."""
        said = f"{self.title}: {self.reason}" if self.reason else self.title
        return f"{said} (log {self.log})" if self.log.is_file() else said


@dataclass
class Ending:
    """What has become of the stages of a suite, or of whatever else a command was asked for."""

    of: str  # "suite smoke"
    done: int = 0
    refused: int = 0
    skipped: int = 0  # because an earlier stage failed or was refused
    failed: list[Named] = field(default_factory=list)
    left: list[Named] = field(default_factory=list)

    def add(self, status: Status, reason: str | None, title: str, log: Path) -> None:
        """Count a stage that has a record."""
        if status == "done":
            self.done += 1
        elif status == "refused":
            self.refused += 1
        elif status == "skipped":
            self.skipped += 1
        else:
            said = f"{reason}" if status == "failed" else f"{status}: {reason}"
            self.failed.append(Named(title, log, shortened(said)))

    def line(self, *, page: str, retry: str, go_on: str = "the same command goes on") -> str:
        """Say it in one line.

        Args:
            page: what to look at once all is done.
            retry: how to try again what failed.
            go_on: how to do what is left.
        """
        counts = {
            "done": self.done, "failed": len(self.failed), "refused": self.refused,
            "skipped": self.skipped, "left": len(self.left),
        }  # fmt: skip
        total = sum(counts.values())
        if not total:
            return f"no stage of {self.of} yet; {page}"
        head = "failed" if self.failed else "left" if self.left else "done"
        parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        parts = parts if total > max(counts.values()) else str(total)  # all of one kind
        said = [f"{head}: {parts} of {plural(total, 'stage')} of {self.of}"]
        if named := self.failed or self.left:
            more = len(named) - NAMED
            said += [*map(str, named[:NAMED]), *([f"and {more} more"] if more > 0 else [])]
        said += [f"to try again what failed: {retry}"] if self.failed else []
        said += [go_on] if self.left else [] if self.failed else [page]
        return "; ".join(said)


def together(endings: Iterable[Ending]) -> Ending:
    """Add up what has become of several suites."""
    listed = list(endings)
    return Ending(
        ", ".join(one.of for one in listed),
        done=sum(one.done for one in listed),
        refused=sum(one.refused for one in listed),
        skipped=sum(one.skipped for one in listed),
        failed=[stage for one in listed for stage in one.failed],
        left=[stage for one in listed for stage in one.left],
    )


def title(config: Config, stage: str) -> str:
    """Name a stage of a run as messages do."""
    return f"{config.method} seed {config.seed}, {config.dataset}, {stage}"


def plural(count: int, noun: str) -> str:
    """Write a number of things, as "1 run" or "2 runs"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def shortened(reason: str) -> str:
    """Write a reason as one line that is not too long for the last one."""
    text = " ".join(reason.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def place_in(path: Path, error: BaseException) -> str:
    """Name the last line of a file that led to an exception, as "methods/mine.py, line 3: "."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if Path(frame.f_code.co_filename) == path]
    return f"{path.parent.name}/{path.name}, line {lines[-1]}: " if lines else ""
