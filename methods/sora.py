"""SORA: the step size follows the curvature that the training pass reveals for free."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from bench.method import Cost, Method, State
from bench.ops import box, ce, grad, per_image


@dataclass(frozen=True, kw_only=True)
class SORA(Method):
    """Single-step attack, shortened where the last batches were not locally linear.

    Source: Teymourian et al., ICML 2026, arXiv:2606.00738; authors' code at 3b419d2.
    Cite: teymourian2026sora
    Family: single-step

        eta = U[-eps, eps]                    g = grad_x CE(f(x + eta), y)
        a   = min(alpha_max, alpha_0 / (1 - c))
        d   = eta + a u sign(g)               u = U[0, 1], one draw per pixel
        h   = grad_x CE(f(x + d), y)          a by-product of the training pass
        c  <- (1 - theta) c + theta clip(mean <sign g, h> / |g|_1, -1, 1)
        ablations: u one draw an image, or 1; a = alpha_max; a not cut at alpha_max

    L2: eta of random direction and length U[0, eps]; s = g / ||g|| for sign(g), and <s, g> = ||g||
    for |g|_1.
    Shapes: x, eta, g, d, h (B, C, H, W); a, c ().
    Cost: 2 forward, 2 backward; one number of state.
    Differs: works on the [0, 1] scale with the normalisation inside the network, so that channels
        whose gradients are alike count alike in c; by normalised pixels they count by their
        standard deviations, on PathMNIST 0.29, 0.42 and 0.29, on CIFAR-10 0.33, 0.32 and 0.35.
        Paper and code disagree about alpha_0: the paper's is tau itself, a step in pixel units; the
        code's is tau alpha_max. The code is what the authors ran, hence the default. Its L2 radius
        is sqrt(3) times too large, through the normalisation's channels; here it is eps. The
        paper's table of ablations does not say whether a row takes away one thing or one more.
    """

    alpha_max: float = 2.0  # largest step, in units of eps
    tau: float = 0.02  # rule code: departure from linearity where the step shrinks; paper: pixels
    theta: float = 0.05  # weight of the newest batch in c
    rule: Literal["code", "paper"] = "code"  # what alpha_0 means
    draw: Literal["pixel", "image", "none"] = "pixel"  # of u; none: u = 1
    adapt: bool = True  # False: a = alpha_max
    cap: bool = True  # False: a has no largest value, and x + d is an image, in no ball

    added = ("draw", "adapt", "cap")
    norms = ("Linf", "L2")
    cost = Cost(forward=2, backward=2)

    @property
    def reach(self):
        if self.adapt and not self.cap:
            return math.inf
        return 1 + self.alpha_max  # the sum is never projected back to the eps-ball

    def init(self, run):
        return State(c=torch.full((), 0.99, device=run.device))

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        alpha_max = self.alpha_max * self.eps
        alpha_0 = self.tau * alpha_max if self.rule == "code" else self.tau
        eta = box(self.threat.uniform(x), x)
        g = grad(loss, at=x + eta)
        s = self.threat.steepest(g)
        a = alpha_0 / (1 - state.c).clamp(min=1e-12)
        a = a.clamp(max=alpha_max) if self.cap else a
        a = a if self.adapt else alpha_max
        d = box(eta + a * self.shares(x) * s, x)
        h = descend(loss, at=x + d, g=g)
        linear = per_image(s * h) / per_image(s * g).clamp(min=1e-12)
        newest = linear.mean().nan_to_num(1.0).clamp(-1, 1)  # one NaN must not stay for ever
        state.c.lerp_(newest, self.theta)

    def shares(self, x):
        """Draw u, in a shape that spreads to x's."""
        if self.draw == "pixel":
            return torch.rand_like(x)
        return torch.rand_like(x[:, :1, :1, :1]) if self.draw == "image" else 1.0
