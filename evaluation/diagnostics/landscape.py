"""input landscape: loss and class on a grid of points around images."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost
from evaluation.diagnostic import Diagnostic
from evaluation.moves import fgsm_move, pgd_move


@dataclass(frozen=True, kw_only=True)
class Landscape(Diagnostic):
    """Loss and class on the plane through an image that two directions span.

    Source: Teymourian et al., ICML 2026, arXiv:2606.00738; Li and Yu, 2022, arXiv:2210.05373.
    Cite: teymourian2026sora
    Meaning: mean absolute second difference of the loss along the first axis of the landscape

        loss[a, b], class[a, b] at x + a v1 + b v2,  a and b of `points` from least to most
        v1, v2    = d of FGSM, d of PGD-10, or eps U[0, 1] for each pixel
        roughness = mean |loss[a - 1, b] - 2 loss[a, b] + loss[a + 1, b]|

    Shapes: x, v1, v2 (B, C, H, W); loss, class (B, points, points); roughness (B,).
    Cost: points^2 + 22 forward, 22 backward.
    Differs: both d are cut so that x + d is an image in [0, 1], as the attacks do; grid points are
        not cut. PGD starts at random.
    """

    values = {"roughness": ("loss", 0, None)}
    arrays = ("loss", "class")

    first: Literal["fgsm", "pgd", "random"] = "fgsm"
    second: Literal["fgsm", "pgd", "random"] = "pgd"
    points: int = 30  # along each axis, 3 or more
    least: float = 0.0  # where each axis begins, in units of its direction
    most: float = 1.0  # where it ends
    images: int = 16

    @property
    def cost(self):
        return Cost(self.points**2 + 22, 22)

    def measure(self, net, x, y, threat, draw):
        moves = {
            "fgsm": lambda: fgsm_move(net, x, y, threat),
            "pgd": lambda: pgd_move(net, x, y, threat, draw),
            "random": lambda: threat.eps * draw(torch.rand_like, x),
        }
        first, second = moves[self.first](), moves[self.second]()
        loss, answer = [], []
        with torch.no_grad():
            for a in (axis := torch.linspace(self.least, self.most, self.points).tolist()):
                for b in axis:
                    logits = net(x + first * a + second * b)
                    loss.append(F.cross_entropy(logits, y, reduction="none"))
                    answer.append(logits.argmax(1).short())
        square = (len(x), self.points, self.points)
        grid = torch.stack(loss, 1).view(square)
        return {
            "roughness": grid.diff(n=2, dim=1).abs().mean((1, 2)),
            "loss": grid,
            "class": torch.stack(answer, 1).view(square),
        }
