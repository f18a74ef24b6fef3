"""boundary distortion: how often a shorter step fools a network that the whole step does not."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from evaluation.clean import correct
from evaluation.diagnostic import Diagnostic
from evaluation.moves import fgsm_move


@dataclass(frozen=True, kw_only=True)
class Distortion(Diagnostic):
    """The share of images that resist FGSM's step and yield to some part of it.

    Source: Kim, Lee and Lee, AAAI 2021, arXiv:2010.01799; code Harry24k/catastrophic-overfitting
        at 049809b.
    Cite: kim2021understanding
    Meaning: % of images, right clean and under FGSM, that some shorter step in its direction fools

        d     = P(eps steepest(grad_x CE(f(x), y)))
        value = 100 [f(x + (k/points) d) is wrong for some k in 1..points-1]

    Shapes: x, d (B, C, H, W); value (B,) of the images that are right at k = 0 and at k = points.
    Cost: points + 2 forward, 1 backward.
    Differs: nothing.
    """

    norms = ("Linf", "L2")
    values = {"distortion": ("%", 0, 100)}

    points: int = 100

    @property
    def cost(self):
        return Cost(self.points + 2, 1)

    def measure(self, net, x, y, threat, draw):
        d = fgsm_move(net, x, y, threat)
        right = correct(net, x, y) & correct(net, x + d, y)
        fooled = torch.zeros_like(right)
        for k in range(1, self.points):
            fooled |= ~correct(net, x + k / self.points * d, y)
        return {"distortion": 100.0 * fooled[right]}
