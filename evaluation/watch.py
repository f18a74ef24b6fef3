"""Diagnostics of a network while it trains, at the intervals that a suite asks for."""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.runs import evaluations
from bench.runs.evaluations import Entry
from bench.runs.record import radius
from bench.threat import Threat
from evaluation import load
from evaluation.attack import Task

Read = Callable[[nn.Module, int], dict[str, float]]  # network in eval mode, updates so far


class Images(NamedTuple):
    """What is measured: the probe's images, as a rule."""

    x: Tensor  # (N, C, H, W) in [0, 1]
    y: Tensor  # (N,)
    threat: Threat  # the run's
    classes: int


def watches(spelt: Iterable[str], images: Images, seed: int = 0) -> list[tuple[int, Read]]:
    """Make a callback for each evaluation of a suite that is also to be measured while training.

    Args:
        spelt: as a suite holds them, such as "gradient_alignment-every_50"; others are left out.
        seed: of every draw, so that two readings differ by the network alone.

    Returns:
        Updates between two readings, and the callback; it returns the diagnostic's numbers by
        name, that of its settings before it where they are not the file's own; nan where there is
        none.
    """
    entries = [evaluations.read(one) for one in spelt]
    return [
        (entry.every, functools.partial(_read, entry, images, seed))
        for entry in entries
        if entry.every
    ]


def _read(entry: Entry, images: Images, seed: int, net: nn.Module, update: int) -> dict[str, float]:
    threat = Threat(
        entry.norm or images.threat.norm,
        radius(entry.eps) if entry.eps else images.threat.eps,
    )
    task = Task(
        net=net, x=images.x, y=images.y, threat=threat, name=entry.printed,
        classes=images.classes, seed=seed,
    )  # fmt: skip
    with torch.enable_grad():
        found = load(entry.kind, entry.file)(**entry.settings).evaluate(task).values
    own = "" if entry.name == entry.file else f"{entry.name}."  # two settings are two columns
    return {
        own + name: float("nan") if value.value is None else value.value
        for name, value in found.items()
    }
