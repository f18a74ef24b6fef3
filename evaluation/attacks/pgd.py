"""PGD: projected gradient ascent on the loss, from random starts."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import Cost
from bench.ops import box, ce, grad
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Steps of fixed length along the steepest direction; the last iterate counts.

    Source: Madry et al., ICLR 2018, arXiv:1706.06083.
    Cite: madry2018towards
    Meaning: % right under PGD of {steps} steps of {alpha} eps, from random starts: {restarts}

        d = U(ball of eps)
        d = P(d + alpha eps steepest(grad_x CE(f(x + d), y))),  steps times

    Shapes: x, d (B, C, H, W).
    Cost: steps forward and backward a start.
    Differs: with several starts an image is broken if any breaks it. The codes of FGSM-RS and
        N-FGSM keep the start of the largest loss instead, which is no stricter.
    """

    norms: ClassVar = ("Linf", "L2")
    names: ClassVar = {
        "pgd{steps}": "PGD-{steps}",
        "pgd{steps}_{restarts}": "PGD-{steps}-{restarts}",
    }

    steps: int = 20
    restarts: int = 1
    alpha: float = 0.25  # step, in units of eps

    @property
    def cost(self):
        return Cost(self.steps, self.steps)

    def perturb(self, net, x, y, threat, draw):
        d = box(draw(threat.uniform, x), x)
        for _ in range(self.steps):
            g = grad(ce(net, y), at=x + d)
            d = threat.project(d + self.alpha * threat.eps * threat.steepest(g), x)
        return x + d
