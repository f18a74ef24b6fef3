"""MultiGrad: a step only where the gradients at several random points agree."""

from dataclasses import dataclass

import torch

from bench.method import Cost, Method
from bench.ops import box, ce, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class MultiGrad(Method):
    """Single-step attack by a vote on the sign of every pixel.

    Source: Golgooni et al., 2021, arXiv:2103.15476; code rohban-lab/catastrophic_overfitting.
    Cite: golgooni2021zerograd
    Family: single-step

        eta_s = U[-eps, eps],  s < n
        g_s   = grad_x CE(f(x + eta_s), y)
        S     = sum_s sign(g_s)
        d     = P(alpha sign(S [|S| >= 2 th - n]))       from x, not from the noise

    Shapes: x, eta_s, g_s, S, d (B, C, H, W).
    Cost: n + 1 forward, n + 1 backward.
    Differs: works on the [0, 1] scale with the normalisation inside the network. The n points
        of every image go through the network as one batch of n B, which BatchNorm can see: so
        do the SORA benchmark and the official code with --c-parallel; its default is n passes.
        PertAlign is traced with the mean of the n gradients, as in the SORA benchmark.
    """

    n: int = 3  # points that vote
    th: int = 3  # votes for one sign without which a pixel stays; n: all
    alpha: float = 2.0  # step, in units of eps

    def __post_init__(self):
        if self.th > self.n:
            raise ValueError(f"th = {self.th} of n = {self.n} votes never come; give th <= n")

    @property
    def cost(self):
        return Cost(forward=self.n + 1, backward=self.n + 1)

    def step(self, net, batch, state, descend):
        x, y, n = batch.x, batch.y, self.n
        points = torch.cat([x + box(uniform(x, self.eps), x) for _ in range(n)])
        g = grad(ce(net, torch.cat([y] * n)), at=points).unflatten(0, (n, -1))
        votes = g.sign().sum(0)
        agreed = votes.where(votes.abs() >= 2 * self.th - n, 0)
        d = project(self.alpha * self.eps * agreed.sign(), x, self.eps)
        descend(ce(net, y), at=x + d, g=g.sum(0))  # the mean over n B holds the 1 / n
