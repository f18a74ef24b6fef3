"""Evaluations of a network while it trains, at the intervals that a suite asks for."""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.runs import evaluations
from bench.runs.evaluations import Entry
from bench.runs.record import radius
from bench.threat import Threat
from bench.traces import Interval
from evaluation import load
from evaluation.attack import Task

Read = Callable[[nn.Module, int], dict[str, float]]  # network in eval mode, updates so far


class Images(NamedTuple):
    """What is measured: the probe's images, as a rule."""

    x: Tensor  # (N, C, H, W) in [0, 1]
    y: Tensor  # (N,)
    threat: Threat  # the run's
    classes: int


def watches(
    spelt: Iterable[str], images: Images, seed: int = 0
) -> list[tuple[list[Interval], Read]]:
    """Make a callback for each evaluation of a suite that is also to be measured while training.

    Args:
        spelt: as a suite holds them, such as "gradient_alignment-every_50"; others are left out.
        seed: of every draw, so that two readings differ by the network alone.

    Returns:
        When it is read, and the callback; it returns an attack's accuracy by the attack's name, and
        a diagnostic's numbers by theirs, that of its settings before it where they are not the
        file's own; nan where there is none.
    """
    entries = [entry for entry in map(evaluations.read, spelt) if entry.every]
    when: dict[str, list[Interval]] = {}
    for entry in entries:
        interval = Interval(entry.every or 0, entry.since or 0, entry.until)
        when.setdefault(entry.name, []).append(interval)
    named = {entry.name: entry for entry in entries}
    return [
        (intervals, functools.partial(_read, named[name], images, seed))
        for name, intervals in when.items()
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
        found = load(entry.kind, entry.file)(**entry.settings).evaluate(task)
    return {name: score.accuracy for name, score in found.scores.items()} | {
        entry.column(name): float("nan") if value.value is None else value.value
        for name, value in found.values.items()
    }
