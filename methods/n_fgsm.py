"""N-FGSM: stronger noise before the step, and no projection after it."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import box, ce, grad


@dataclass(frozen=True, kw_only=True)
class NFGSM(Method):
    """Single-step attack from noise wider than the eps-ball.

    Source: de Jorge et al., NeurIPS 2022, arXiv:2202.01181; code pdejorge/N-FGSM.
    Cite: dejorge2022make
    Family: single-step

        eta = U[-k eps, k eps]
        g   = grad_x CE(f(x + eta), y)
        d   = eta + alpha sign(g)

    L2: eta of random direction and length U[0, k eps]; g / ||g|| for sign(g).
    Shapes: x, eta, g, d (B, C, H, W).
    Cost: 2 forward, 2 backward.
    Differs: works on the [0, 1] scale with the normalisation inside the network. The paper
        has no L2; the form here is ours.
    """

    k: float = 2.0  # half-width of the noise, in units of eps
    alpha: float = 1.0  # step, in units of eps

    norms = ("Linf", "L2")
    cost = Cost(forward=2, backward=2)

    @property
    def reach(self):
        return self.k + self.alpha  # never projected back to the eps-ball

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        threat = self.threat
        eta = box(threat.uniform(x, self.k), x)
        g = grad(loss, at=x + eta)
        d = box(eta + self.alpha * self.eps * threat.steepest(g), x)
        descend(loss, at=x + d, g=g)
