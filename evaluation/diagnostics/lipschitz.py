"""Lipschitz bounds: the most and the least that logits change per change of the image."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from bench.ops import box, pgd
from evaluation.diagnostic import Diagnostic
from evaluation.pgd import STEP


@dataclass(frozen=True, kw_only=True)
class Lipschitz(Diagnostic):
    """Slopes of the logits between an image and the points of its ball that signed steps find.

    Source: Yang et al., NeurIPS 2020, arXiv:2003.02460; Li and Yu, 2022, arXiv:2210.05373, table 3.
    Cite: yang2020closer
    Meaning: mean largest and least change of logits per change of the image; ratios between
        methods, the definition is open

        r(z)  = |f(z) - f(x)|_1 / |z - x|_inf,  f in logits
        upper = r(z) after steps of P(z + eps/4 sign grad r(z)) from z = x + noise N(0, 1)
        lower = the same, down

    Shapes: x, z (B, C, H, W); values (B,).
    Cost: 2 steps + 3 forward, 2 steps backward.
    Differs: SEAT states neither radius, nor steps, nor whether f is in logits or probabilities, so
        only ratios between methods mean something. z may be no maximiser: upper is a lower bound
        of the true one.
    """

    values = {
        "lipschitz_upper": ("logits per pixel range", 0, None),
        "lipschitz_lower": ("logits per pixel range", 0, None),
    }

    steps: int = 10
    noise: float = 0.001  # standard deviation of the start, in ranges of a pixel

    @property
    def cost(self):
        return Cost(2 * self.steps + 3, 2 * self.steps)

    def measure(self, net, x, y, threat, draw):
        start, logits = box(self.noise * draw(torch.randn_like, x), x), net(x).detach()

        def ratio(z):
            return (net(z) - logits).abs().sum(1) / threat.length(z - x).clamp(min=1e-12)

        ways = (lambda z: ratio(z).sum(), lambda z: -ratio(z).sum())
        ends = (pgd(way, x, start, threat=threat, alpha=STEP, steps=self.steps)[0] for way in ways)
        return {name: ratio(x + d) for name, d in zip(self.values, ends, strict=True)}
