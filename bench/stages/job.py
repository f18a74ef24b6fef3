"""One stage of one run, as the programs that do it are given it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.runs.record import Config, radius
from bench.runs.stage import Stage

if TYPE_CHECKING:
    import torch


class Refused(RuntimeError):
    """The combination makes no sense; says why and what would."""


class Skipped(RuntimeError):
    """An earlier stage is not done; says which and why."""


class Job(NamedTuple):
    """What preparing and working need to know."""

    stage: Stage
    config: Config
    options: Any  # of the stage's own class
    folder: Path  # of the run
    data_dir: Path
    device: "torch.device"
    say: Callable[[str], None]  # called with one line of progress at a time

    @property
    def eps(self) -> float:
        """Radius on the [0, 1] scale."""
        return radius(self.config.eps)
