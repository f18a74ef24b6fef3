"""Fast-BAT: training as a problem of two levels, whose inner solution moves with the weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from bench.method import Cost, Method
from bench.ops import box, each, project, tangent, uniform


@dataclass(frozen=True, kw_only=True)
class FastBAT(Method):
    """Two plain gradient steps, and the implicit gradient of where they end.

    Source: Zhang et al., ICML 2022, arXiv:2112.12376; code OPTML-Group/Fast-BAT at 926599d.
    Cite: zhang2022revisiting
    Family: regularised

        g_i(d)  = gradient of CE of image i at x + d
        z       = U[-eps, eps],  d_1 = P(z + alpha g(z)),  d_2 = P(d_1 + alpha g(d_1))
        h       = 1 where max(-x, -eps) < d_2 < min(1 - x, eps) by 1e-7, else 0
        L       = CE(f(x + d_2), y) + 1/lam mean_i <g_i(d_1), h g_i(d_2)>
                  where d_1, d_2, h and g(d_2) are constants

    Shapes: x, g, z, d, h (B, C, H, W).
    Cost: 3 forward, 5 backward: g(d_1) is differentiated once more, for the weights.
    Differs: the code sends x + d_2 forward twice and once more for its log; here it goes once, and
        so do BatchNorm's statistics see it. alpha is by gradients of each image's own loss.
    """

    alpha: float = -1.0  # step, in pixels by gradient; negative: 5000/255 to 8/255, then 2000/255
    lam: float = 10.0  # of the inner problem; the larger, the less counts the implicit gradient

    twice: ClassVar[bool] = True
    cost = Cost(forward=3, backward=5)

    @property
    def published_alpha(self):
        return (5000 if self.eps < 8.5 / 255 else 2000) / 255

    def step(self, net, batch, state, descend):
        x, eps, losses = batch.x, self.eps, each(net, batch.y)
        alpha = self.alpha if self.alpha >= 0 else self.published_alpha
        z = box(uniform(x, eps), x)
        _, g = tangent(losses, at=x + z)
        d_1 = project(z + alpha * g, x, eps)
        _, g_1 = tangent(losses, at=x + d_1, twice=True)
        d_2 = project(d_1 + alpha * g_1.detach(), x, eps)
        low, high = (-x).clamp(min=-eps) + 1e-7, (1 - x).clamp(max=eps) - 1e-7
        h = (low < d_2) & (d_2 < high)

        def loss(z):
            fit = losses(z).sum()
            (g_2,) = torch.autograd.grad(fit, z, retain_graph=True)
            return (fit + (g_1 * h * g_2).sum() / self.lam) / len(x)

        descend(loss, at=x + d_2, g=g)
