"""SimBA: one pixel after the other, kept where the label gets less probable; no gradients."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class SimBA(Attack):
    """Coordinates in random order, each tried at both ends of the ball, until the network errs.

    Source: Guo et al., ICML 2019, arXiv:1905.07121, in the pixel basis.
    Cite: guo2019simple
    Meaning: % right under SimBA on at most {steps} values of pixels, of up to two queries each

        for i in random order, steps at most:
            for s in -eps, eps:
                z' = clamp(z + s e_i);  if p(y | z') < p(y | z): z = z', next i
        until argmax f(z) != y, from z = x

    Shapes: x, z (B, C, H, W).
    Cost: 1 + 2 steps forward.
    Differs: the paper bounds L2 by few, larger steps. Here a step is eps and each value is tried
        once, so that no image leaves the ball.
    """

    black_box = True

    steps: int = 3072  # coordinates, of 32 x 32 x 3

    @property
    def cost(self):
        return Cost(1 + 2 * self.steps, 0)

    @torch.no_grad()
    def perturb(self, net, x, y, threat, draw):
        order = draw(lambda z: torch.rand(len(z), z[0].numel()).argsort(1), x)
        z, own = x.flatten(1).clone(), y[:, None]
        p = net(x).softmax(1).gather(1, own)[:, 0]
        queries = torch.ones(len(x), device=x.device)
        standing = torch.ones_like(y, dtype=torch.bool)
        for i in order.T[: self.steps]:
            rows = standing.nonzero()[:, 0]
            for s in (-threat.eps, threat.eps):
                if len(rows) == 0:
                    break
                tried = z[rows]
                tried[torch.arange(len(rows)), i[rows]] += s
                tried.clamp_(0, 1)
                logits = net(tried.view(-1, *x.shape[1:]))
                queries[rows] += 1
                less = (now := logits.softmax(1).gather(1, own[rows])[:, 0]) < p[rows]
                kept = rows[less]
                z[kept], p[kept] = tried[less], now[less]
                standing[kept] = (logits.argmax(1) == y[rows])[less]
                rows = rows[~less]
        draw.count(queries)
        return z.view_as(x)
