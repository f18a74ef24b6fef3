"""The choice of a run's best weights by a rule; the loop sees scores, and no image of the rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bench import checkpoint
from bench.average import Average
from bench.runs.record import Network
from bench.traces import falls_due


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The weights that a rule has chosen so far."""

    score: float  # percent
    epoch: int  # from 0
    update: int  # updates that had been taken
    network: Network


class Selection:
    """Scores the network of a run, and its average, and keeps the weights of the first best.

    Args:
        score: says how many percent of the rule's images a network has right; leaves it in eval
            mode.
        path: file for the best weights.
        every: updates between two choices, and one more after the last update; None: one an epoch.
    """

    def __init__(
        self, score: Callable[[nn.Module], float], path: Path, *, every: int | None = None
    ) -> None:
        self._score, self._path, self.every = score, path, every
        self.best: Chosen | None = None

    def choose(
        self, net: nn.Module, average: Average | None, *, epoch: int, update: int
    ) -> dict[Network, float]:
        """Score what there is, keep the best weights, and return the scores."""
        scores: dict[Network, float] = {}
        for name, one in self._networks(net, average):
            scores[name] = score = self._score(one)
            if self.best is None or score > self.best.score:
                checkpoint.keep_weights(self._path, one)
                self.best = Chosen(score=score, epoch=epoch, update=update, network=name)
        return scores

    def is_due(self, before: int, update: int, updates: int) -> bool:
        """Tell whether a step that went from one update to another calls for a choice."""
        return self.every is not None and falls_due(self.every, before, update, updates)

    def _networks(
        self, net: nn.Module, average: Average | None
    ) -> Iterator[tuple[Network, nn.Module]]:
        yield "raw", net
        if average is not None:
            yield "average", average.network()
