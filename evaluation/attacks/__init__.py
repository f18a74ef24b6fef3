"""Optional evaluations of a trained network. A file that appears here is on the menu.

A file says TITLE and MEANING of its column, the WEIGHTS it attacks, "last" or "best" epoch's, and
``evaluate(net, x, y, task) -> Found``: net in eval mode with its weights frozen, x (N, C, H, W)
in [0, 1], y (N,) labels. One that says AUTOATTACK = True has a suite's batch and mode of AutoAttack
in its task. Constants are literals, because the catalogue reads them without torch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from bench.runs.record import Score
from bench.threat import Threat


class Task(NamedTuple):
    """What an evaluation is told beside network and images."""

    threat: Threat  # that the network was trained for
    classes: int
    seed: int  # of every draw
    say: Callable[[str], None]  # called with one line of progress at a time
    radii: tuple[int, ...] = ()  # of a sweep, in 1/255; none: its own
    batch: int | None = None  # images that AutoAttack takes at once
    fast: nn.Module | None = None  # the network in the form that AutoAttack's fast mode attacks


class Found(NamedTuple):
    """What an evaluation found, and how."""

    scores: dict[str, Score]  # by what was measured; the name alone, or "<name> k/255" in a sweep
    settings: dict[str, Any]  # that the scores depend on, beside the seed
