"""PGD: projected gradient ascent on the loss, from random starts."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box, ce, pgd
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

    norms = ("Linf", "L2")
    names = {
        "pgd{steps}": "PGD-{steps}",
        "pgd{steps}_{restarts}": "PGD-{steps}-{restarts}",
        "pgd_untarget_{steps}": "PGD-{steps}",  # as SEAT prints it beside pgd_target
    }

    steps: int = 20
    restarts: int = 1
    alpha: float = 0.25  # step, in units of eps

    @property
    def cost(self):
        return Cost(self.steps, self.steps)

    def perturb(self, net, x, y, threat, draw):
        start = box(draw(threat.uniform, x), x)
        d, _ = pgd(ce(net, y), x, start, threat=threat, alpha=self.alpha, steps=self.steps)
        return x + d
