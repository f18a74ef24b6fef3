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

    def of(self, config: Config) -> "Job":
        """Return the job as if it were another run's, in that run's folder."""
        return self._replace(config=config, folder=folder_of(config, self.config, self.folder))


def folder_of(other: Config, config: Config, folder: Path) -> Path:
    """Name the folder of another run, which a run reads.

    In a tree of runs, as results/runs/, it has its place. A run that lies elsewhere has the others
    inside its own folder, by run id.

    Args:
        config: the reading run's.
        folder: the reading run's.
    """
    depth = len(Path(config.folder).parts)
    if folder.parts[-depth:] == Path(config.folder).parts:
        return folder.parents[depth - 1] / other.folder
    return folder / other.run_id
