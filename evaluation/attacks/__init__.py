"""Optional evaluations of a trained network. A file that appears here is on the menu.

A file says TITLE and MEANING of its column, the WEIGHTS it attacks, "last" or "best" epoch's, and
``evaluate(net, x, y, task) -> Found``: net in eval mode with its weights frozen, x (N, C, H, W)
in [0, 1], y (N,) labels. Constants are literals, because the catalogue reads them without torch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from bench.runs.record import Score


class Task(NamedTuple):
    """What an evaluation is told beside network and images."""

    eps: float  # radius that the network was trained for, on the [0, 1] scale
    classes: int
    seed: int  # of every draw
    say: Callable[[str], None]  # called with one line of progress at a time
    radii: tuple[int, ...] = ()  # of a sweep, in 1/255; none: its own


class Found(NamedTuple):
    """What an evaluation found, and how."""

    scores: dict[str, Score]  # by what was measured; the name alone, or "<name> k/255" in a sweep
    settings: dict[str, Any]  # that the scores depend on, beside the seed
