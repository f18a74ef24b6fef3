"""TRADES: clean cross-entropy plus a divergence between clean and attacked predictions."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.method import Cost, Method
from bench.ops import eval_mode, kl, pgd


@dataclass(frozen=True, kw_only=True)
class TRADES(Method):
    """K-step attack on the divergence that the loss then penalises.

    Source: Zhang et al., ICML 2019, arXiv:1901.08573, Algorithm 1; code yaodongyu/TRADES.
    Cite: zhang2019theoretically
    Family: multi-step

        d_0     = 0.001 N(0, I)
        d_{k+1} = P(d_k + alpha sign grad_x KL(f(x) || f(x + d_k))),  k < K, BN frozen
        L       = CE(f(x), y) + beta KL(f(x) || f(x + d_K))

    L2: g / ||g|| for the sign of the gradient g.
    Shapes: x, d (B, C, H, W); f(x) (B, classes).
    Cost: K + 3 forward, K + 2 backward.
    Differs: computes f(x) once in the attack, not K times, and once in L, not twice; the values
        are the same, and BatchNorm's running statistics see two passes a step instead of three.
        The official L2 step is 2 eps / K.
    """

    beta: float = 6.0  # weight of the divergence
    steps: int = 10  # K
    alpha: float = 0.25  # step, in units of eps, of the SORA benchmark; official: 0.007 / 0.031

    norms = ("Linf", "L2")

    @property
    def cost(self):
        return Cost(forward=self.steps + 3, backward=self.steps + 2)

    def step(self, net, batch, state, descend):
        x, y = batch.x, batch.y
        with eval_mode(net):
            with torch.no_grad():
                clean = net(x)
            d = 0.001 * torch.randn_like(x)
            d, g = pgd(
                lambda z: kl(clean, net(z)), x, d,
                threat=self.threat, alpha=self.alpha, steps=self.steps,
            )  # fmt: skip

        def loss(z):
            clean, attacked = net(x), net(z)
            return F.cross_entropy(clean, y) + self.beta * kl(clean, attacked)

        descend(loss, at=x + d, g=g)
