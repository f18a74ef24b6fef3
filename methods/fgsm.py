"""FGSM: train on the corner of the eps-ball that the sign of the gradient points to."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import ce, grad


@dataclass(frozen=True, kw_only=True)
class FGSM(Method):
    """One full step from the clean image; overfits catastrophically.

    Source: Goodfellow et al., ICLR 2015, arXiv:1412.6572; no official training code.
    Cite: goodfellow2015explaining
    Family: single-step

        g = grad_x CE(f(x), y)
        d = P(alpha sign(g))

    L2: g / ||g|| for sign(g), known as FGM.
    Shapes: x, g, d (B, C, H, W).
    Cost: 2 forward, 2 backward.
    Differs: works on the [0, 1] scale with the normalisation inside the network.
    """

    alpha: float = 1.0  # step, in units of eps

    norms = ("Linf", "L2")
    cost = Cost(forward=2, backward=2)

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        g = grad(loss, at=x)
        d = self.threat.project(self.alpha * self.eps * self.threat.steepest(g), x)
        descend(loss, at=x + d, g=g)
