"""PGD-10: ten small projected steps, the robust and expensive reference."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch

from bench.method import Cost, Method
from bench.ops import box, ce, eval_mode, pgd, ramp


@dataclass(frozen=True, kw_only=True)
class PGD10(Method):
    """Multi-step attack from a random start.

    Source: Madry et al., ICLR 2018, arXiv:1706.06083; steps as in the SORA benchmark.
    Cite: madry2018towards
    Family: multi-step

        d_0     = U[-eps, eps]
        d_{k+1} = P(d_k + alpha sign grad_x CE(f(x + d_k), y)),  k < K
        start zero: d_0 = 0;  bn eval: BN frozen in the attack
        corner: trains at P(eps sign(d_K));  ramp: eps, and alpha with it, grow with t from 0

    L2: d_0 of random direction and length U[0, eps]; g / ||g|| for the sign of the gradient g.
    Shapes: x, d (B, C, H, W).
    Cost: K + 1 forward, K + 1 backward.
    Differs: PertAlign is traced with the first attack gradient; the SORA release uses the last.
        GradAlign's PGD is start zero, alpha 0.2, on SVHN with a ramp over 5 epochs; it cuts to
        [0, 1] before the ball, which is the same. FastAT_Benchmark's has bn eval. Of corner only
        L-inf is published.
    """

    steps: int = 10  # K
    alpha: float = 0.25  # step, in units of eps
    corner: bool = False  # go from d_K to the surface of the ball
    start: Literal["uniform", "zero"] = "uniform"  # d_0
    bn: Literal["train", "eval"] = "train"  # mode of the network in the attack
    ramp: float = 0.0  # share of the training in which eps grows

    added = ("corner", "start", "bn", "ramp")
    norms = ("Linf", "L2")

    @property
    def cost(self):
        return Cost(forward=self.steps + 1, backward=self.steps + 1)

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        threat = self.threat
        d = threat.uniform(x) if self.start == "uniform" else torch.zeros_like(x)
        if self.ramp:
            grown = ramp(batch.t, self.ramp).clamp(min=1e-6)  # a radius of 0 has no L2 step
            threat = replace(threat, eps=self.eps * grown)  # type: ignore[arg-type]  # a tensor
            d = grown * d
        d = box(d, x)
        with eval_mode(net) if self.bn == "eval" else nullcontext():
            d, g = pgd(loss, x, d, threat=threat, alpha=self.alpha, steps=self.steps)
        if self.corner:
            d = threat.project(threat.eps * threat.steepest(d), x)
        descend(loss, at=x + d, g=g)
