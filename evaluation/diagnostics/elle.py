"""ELLE's error: how far the loss is from linear between two neighbours of an image."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses


@dataclass(frozen=True, kw_only=True)
class ELLEError(Diagnostic):
    """The squared error of linear interpolation of the loss between two random neighbours.

    Source: Abad Rocamora et al., ICLR 2024, arXiv:2401.11618.
    Cite: abadrocamora2024efficient
    Meaning: mean squared error of the loss interpolated between two random points of the ball

        x_a   = x + U(ball of eps),  x_b likewise,  x_c = (1 - a) x_a + a x_b,  a = U[0, 1]
        value = (l_c - (1 - a) l_a - a l_b)^2,  l = CE of the image

    Shapes: x, x_a, x_b, x_c (B, C, H, W); a, l, value (B,).
    Cost: 3 forward.
    Differs: nothing; points are not cut to [0, 1].
    """

    norms = ("Linf", "L2")
    values = {"elle": ("squared loss", 0, None)}

    cost = Cost(3, 0)

    def measure(self, net, x, y, threat, draw):
        x_a, x_b = x + draw(threat.uniform, x), x + draw(threat.uniform, x)
        a = draw(lambda like: torch.rand_like(like[:, :1, :1, :1]), x)
        l_a, l_b, l_c = (losses(net, z, y) for z in (x_a, x_b, (1 - a) * x_a + a * x_b))
        a = a.flatten()
        return {"elle": (l_c - (1 - a) * l_a - a * l_b).square()}
