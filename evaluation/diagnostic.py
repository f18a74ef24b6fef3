"""The contract between a diagnostic of networks and the bench that measures with it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.method import Cost
from bench.runs.record import Norm, Weights
from bench.threat import Threat
from evaluation.attack import Found, Task, mean
from evaluation.draw import Draw
from evaluation.parts import fitting

Measure = tuple[str, float | None, float | None]  # unit, least and largest value; None: no bound


@dataclass(frozen=True, kw_only=True)
class Diagnostic(ABC):
    """The fields are the settings; measure is the formula.

    A setting ``images`` is how many of the images are measured, at most, and all of them at once.
    A number of a diagnostic is a mean over images. What is no number of an image, such as a loss on
    a grid of points, is one of its arrays.
    """

    values: ClassVar[dict[str, Measure]]  # what it measures, by name
    arrays: ClassVar[tuple[str, ...]] = ()  # tensors that begin with the image, by name
    norms: ClassVar[tuple[Norm, ...]] = ("Linf",)  # that it is defined for
    weights: ClassVar[Weights] = "last"  # of the epoch that it is measured on
    names: ClassVar[dict[str, str]] = {}  # forms of its name and title: {"elle{a}": "ELLE ..."}
    batch: ClassVar[int] = 512  # images at once

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Images forward and backward per image, at most."""

    def measure(
        self, net: nn.Module, x: Tensor, y: Tensor, threat: Threat, draw: Draw
    ) -> dict[str, Tensor]:
        """Measure a batch.

        Returns:
            By the names of `values`, one number for each image that counts; by those of `arrays`,
            tensors that begin with the image.
        """
        raise NotImplementedError("a diagnostic defines measure, or evaluate if it has no batches")

    def evaluate(self, task: Task) -> Found:
        """Measure all images."""
        batch: int = getattr(self, "images", self.batch)
        most: int = getattr(self, "images", len(task.y))
        x_all, y_all = task.x[:most], task.y[:most]
        net = fitting(task.net, x_all, batch)
        parts = list(zip(x_all.split(batch), y_all.split(batch), strict=True))
        found: dict[str, list[Tensor]] = {name: [] for name in (*self.values, *self.arrays)}
        for i, (x, y) in enumerate(parts):
            measured = self.measure(net, x, y, task.threat, Draw(task.seed, i, len(y)))
            assert measured.keys() == found.keys(), f"measured {[*measured]}, not {[*found]}"
            for name, tensor in measured.items():
                found[name].append(tensor.detach().cpu())
            task.say(f"{task.name}: batch {i + 1} of {len(parts)}")
        whole = {name: torch.cat(tensors) for name, tensors in found.items()}
        units = {name: unit for name, (unit, _, _) in self.values.items()}
        values = {name: mean(whole[name].tolist(), unit) for name, unit in units.items()}
        return Found(values=values, arrays={name: whole[name] for name in self.arrays})
