"""PGD-10: ten small projected steps, the robust and expensive reference."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import box, ce, pgd


@dataclass(frozen=True, kw_only=True)
class PGD10(Method):
    """Multi-step attack from a random start.

    Source: Madry et al., ICLR 2018, arXiv:1706.06083; steps as in the SORA benchmark.
    Cite: madry2018towards
    Family: multi-step

        d_0     = U[-eps, eps]
        d_{k+1} = P(d_k + alpha sign grad_x CE(f(x + d_k), y)),  k < K

    L2: d_0 of random direction and length U[0, eps]; g / ||g|| for the sign of the gradient g.
    Shapes: x, d (B, C, H, W).
    Cost: K + 1 forward, K + 1 backward.
    Differs: PertAlign is traced with the first attack gradient; the SORA release uses the last.
    """

    steps: int = 10  # K
    alpha: float = 0.25  # step, in units of eps

    norms = ("Linf", "L2")

    @property
    def cost(self):
        return Cost(forward=self.steps + 1, backward=self.steps + 1)

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        d = box(self.threat.uniform(x), x)
        d, g = pgd(loss, x, d, threat=self.threat, alpha=self.alpha, steps=self.steps)
        descend(loss, at=x + d, g=g)
