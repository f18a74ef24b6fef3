"""FGSM: one step of the sign of the gradient, from the clean image."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import ce, grad
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class FGSM(Attack):
    """One step along the steepest direction, as far as the ball goes.

    Source: Goodfellow et al., ICLR 2015, arXiv:1412.6572.
    Cite: goodfellow2015explaining
    Meaning: % right under one step of eps, of those that are right without it

        d = P(eps steepest(grad_x CE(f(x), y)))

    Shapes: x, d (B, C, H, W).
    Cost: 1 forward, 1 backward.
    Differs: nothing.
    """

    norms = ("Linf", "L2")

    cost = Cost(1, 1)

    def perturb(self, net, x, y, threat, draw):
        g = grad(ce(net, y), at=x)
        return x + threat.project(threat.eps * threat.steepest(g), x)
