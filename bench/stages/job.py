"""The job that `prepare` and `work` of a stage's program get, and the errors they raise."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.runs.record import Config, radius
from bench.runs.stage import Stage

if TYPE_CHECKING:
    import torch

    from bench.threat import Threat


class Refused(RuntimeError):
    """A stage cannot be done for this run; the text says why, and what could be."""


class Skipped(RuntimeError):
    """A stage cannot be done because an earlier one is not done; the text says which and why."""


class Job(NamedTuple):
    """One stage of one run, with all that its program needs to do it."""

    stage: Stage
    config: Config
    options: Any  # of the stage's own class
    folder: Path  # of the run
    data_dir: Path
    device: "torch.device"
    say: Callable[[str], None]  # called with one line of progress at a time

    @property
    def threat(self) -> "Threat":
        """How far the run's attacks may go."""
        from bench.threat import Threat

        return Threat(self.config.norm, radius(self.config.eps))
