"""Threat models: how far an attack may move an image, and the words that depend on the norm."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from bench.runs.record import Norm as Norm

PIXELS = (1, 2, 3)  # dimensions of one image in (B, C, H, W)


def uniform(x: Tensor, r: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw noise in the shape of x, one draw of U[-r, r] an element."""
    return torch.empty_like(x).uniform_(-r, r, generator=generator)


def box(d: Tensor, x: Tensor) -> Tensor:
    """Cut d so that x + d is an image in [0, 1]."""
    return (x + d).clamp(0, 1) - x


def project(d: Tensor, x: Tensor, r: float) -> Tensor:
    """Cut d to the L-inf ball of radius r, then so that x + d is an image in [0, 1]."""
    return box(d.clamp(-r, r), x)


@dataclass(frozen=True)
class Threat:
    """All images within eps of x; x, d and g are (B, C, H, W)."""

    norm: Norm
    eps: float  # radius on the [0, 1] scale

    def project(self, d: Tensor, x: Tensor, k: float = 1.0) -> Tensor:
        """Cut d to the ball of radius k eps, then so that x + d is an image in [0, 1]."""
        r = k * self.eps
        if self.norm == "Linf":
            return project(d, x, r)
        return box(d * (r / _l2(d)).clamp(max=1), x)

    def uniform(
        self, x: Tensor, k: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw noise in the ball of radius k eps; x plus noise may leave [0, 1].

        Linf: one draw of U[-k eps, k eps] an element. L2: a random direction, and a length of
        U[0, k eps], for each image; uniform in length, not in volume, as in the SORA release.
        """
        r = k * self.eps
        if self.norm == "Linf":
            return uniform(x, r, generator)
        direction = torch.empty_like(x).normal_(generator=generator)
        share = torch.empty_like(x[:, :1, :1, :1]).uniform_(generator=generator)
        return r * share * self.steepest(direction)

    def steepest(self, g: Tensor) -> Tensor:
        """Return the step of length 1 along which g climbs most: sign(g), or g / ||g||_2."""
        return g.sign() if self.norm == "Linf" else g / _l2(g).clamp(min=1e-12)

    def length(self, d: Tensor) -> Tensor:
        """Measure each image of d in the norm, (B, C, H, W) -> (B,)."""
        return vector_norm(d, math.inf if self.norm == "Linf" else 2, PIXELS)


def _l2(d: Tensor) -> Tensor:
    return vector_norm(d, dim=PIXELS, keepdim=True)
