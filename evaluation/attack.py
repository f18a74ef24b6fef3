"""The contract between an attack on trained networks and the bench that attacks with it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from bench.method import Cost
from bench.runs.evaluations import DISTANCES
from bench.runs.record import Norm, Score, Value, Weights
from bench.threat import PIXELS, Threat
from evaluation.clean import correct
from evaluation.draw import Draw
from evaluation.parts import fitting
from evaluation.progress import Progress, knock_out, unpack


class Task(NamedTuple):
    """What is attacked or measured, and how far."""

    net: nn.Module  # in eval mode, with its weights frozen
    x: Tensor  # (N, C, H, W) in [0, 1]
    y: Tensor  # (N,) labels, int64
    threat: Threat
    name: str  # of the evaluation, as it is printed
    classes: int
    seed: int  # of every draw
    say: Callable[[str], None] = lambda line: None  # called with one line of progress at a time
    before: Progress | None = None  # what an earlier try kept
    keep: Callable[[Progress], None] = lambda progress: None  # called after every batch
    radii: tuple[int, ...] = ()  # of a sweep, as evaluation/sweep.py counts; none: the usual ones
    batch: int | None = None  # images that AutoAttack takes at once
    source: nn.Module | None = None  # another network, on which the images are made
    fast: nn.Module | None = None  # the network in the form that AutoAttack's fast mode attacks


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an evaluation found, by what was measured, and how."""

    scores: dict[str, Score] = field(default_factory=dict)  # of attacks: the task's name, as a rule
    values: dict[str, Value] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    # that the numbers depend on, beside the seed and the fields
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attack(ABC):
    """The fields are the settings; perturb is the algorithm box.

    An image counts as right if the network classifies it rightly without attack, and from each of
    the attack's starts: as many as its setting ``restarts`` says, or one.
    """

    norms: ClassVar[tuple[Norm, ...]] = ("Linf",)  # that it is defined for
    weights: ClassVar[Weights] = "last"  # of the epoch that it attacks
    names: ClassVar[dict[str, str]] = {}  # forms of its name and title: {"pgd{steps}": "PGD-..."}
    bounded: ClassVar[bool] = True  # False: it goes as far as it needs, and distances are recorded
    black_box: ClassVar[bool] = False  # True: it sees the network's answers, and no gradients
    autoattack: ClassVar[bool] = False  # it has AutoAttack's batch and mode in its task
    batch: ClassVar[int] = 512  # images at once

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Images forward and backward per image and call of perturb, at most."""

    def perturb(self, net: nn.Module, x: Tensor, y: Tensor, threat: Threat, draw: Draw) -> Tensor:
        """Make adversarial images (B, C, H, W) of a batch; all of them are right so far."""
        raise NotImplementedError("an attack defines perturb, or evaluate if it has no batches")

    def evaluate(self, task: Task) -> Found:
        """Attack all images, and count those that the network still gets right."""
        net, n = fitting(task.net, task.x, self.batch), len(task.y)
        aim = fitting(task.source, task.x, self.batch) if task.source else net
        now = task.before or Progress()

        def stands(name: str, rows: Tensor) -> Tensor:
            there = rows.to(task.x.device)
            draw = Draw(task.seed, int(rows[0]) // self.batch, len(rows))
            x, y = task.x[there], task.y[there]
            standing, moved = self._attacked(net, aim, x, y, task.threat, draw)
            if not self.bounded:
                now.values.setdefault("moved", []).extend(moved.tolist())
            if draw.queries is not None:
                now.values.setdefault("queries", []).extend(draw.queries.tolist())
            return standing

        knock_out(
            [task.name], n, parts=lambda all_: torch.arange(n).split(self.batch), stands=stands,
            now=now, keep=task.keep, say=task.say,
        )  # fmt: skip
        right = unpack(now.robust[task.name], n)
        score = Score(accuracy=100 * right.double().mean().item(), n=n)
        values = self._distances(task.name, now) | self._queries(task.name, now)
        return Found(scores={task.name: score}, values=values)

    def _attacked(
        self, net: nn.Module, aim: nn.Module, x: Tensor, y: Tensor, threat: Threat, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """Say which images of a batch stand, and how far in L2 those that were right moved.

        Args:
            aim: the network on which the attack is made.

        Returns:
            (B,) bool, and (B,): 0 where it stands, -1 where it was wrong without attack.
        """
        standing = correct(net, x, y)
        moved = torch.where(standing, 0.0, -1.0)
        for _ in range(getattr(self, "restarts", 1)):
            draw.rows = standing.nonzero()[:, 0].cpu()
            if len(draw.rows) == 0:
                break
            left, labels = x[standing], y[standing]
            found = self.perturb(aim, left, labels, threat, draw).detach()
            right = correct(net, found, labels)
            distance = vector_norm(found - left, dim=PIXELS)
            moved[standing] = torch.where(right, 0.0, distance)
            standing[standing.clone()] = right
        return standing, moved

    def _distances(self, name: str, now: Progress) -> dict[str, Value]:
        """Say how many of the images that were right fell, and how far they had to be moved."""
        if self.bounded:
            return {}
        moved = [distance for distance in now.values["moved"] if distance >= 0]
        fooled = [distance for distance in moved if distance > 0]
        found = ([100.0 * (d > 0) for d in moved], fooled)
        return {
            f"{name}_{end}": mean(numbers, unit)
            for numbers, (end, unit) in zip(found, DISTANCES.items(), strict=True)
        }

    def _queries(self, name: str, now: Progress) -> dict[str, Value]:
        """Say how often the network was asked about an image that was attacked."""
        asked = [number for number in now.values.get("queries", ()) if number > 0]
        return {f"{name}_queries": mean(asked, "queries")} if "queries" in now.values else {}


def mean(numbers: Sequence[float], unit: str) -> Value:
    """Average what was measured of some images; not a number if of none, or if one is not."""
    total = float(torch.tensor(numbers, dtype=torch.float64).mean()) if numbers else float("nan")
    finite = abs(total) < float("inf")
    return Value(value=total if finite else None, unit=unit, n=len(numbers))
