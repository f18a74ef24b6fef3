"""FGSM-RS: one step from a random start inside the eps-ball."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import box, ce, grad


@dataclass(frozen=True, kw_only=True)
class FGSMRS(Method):
    """Single-step attack with a random start; "fast is better than free".

    Source: Wong et al., ICLR 2020, arXiv:2001.03994; code locuslab/fast_adversarial.
    Cite: wong2020fast
    Family: single-step

        eta = U[-eps, eps]
        g   = grad_x CE(f(x + eta), y)
        d   = P(eta + alpha sign(g))

    L2: eta of random direction and length U[0, eps]; g / ||g|| for sign(g).
    Shapes: x, eta, g, d (B, C, H, W).
    Cost: 2 forward, 2 backward.
    Differs: works on the [0, 1] scale with the normalisation inside the network; no early stop.
    """

    alpha: float = 1.25  # step, in units of eps

    norms = ("Linf", "L2")
    cost = Cost(forward=2, backward=2)

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        threat = self.threat
        eta = box(threat.uniform(x), x)
        g = grad(loss, at=x + eta)
        d = threat.project(eta + self.alpha * self.eps * threat.steepest(g), x)
        descend(loss, at=x + d, g=g)
