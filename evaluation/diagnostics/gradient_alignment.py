"""gradient alignment: how much the gradients at two points of the ball point the same way."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.method import Cost
from bench.ops import ce, grad
from evaluation.diagnostic import Diagnostic


@dataclass(frozen=True, kw_only=True)
class GradientAlignment(Diagnostic):
    """The cosine of the gradients at an image and at a random point of its ball.

    Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617.
    Cite: andriushchenko2020understanding
    Meaning: mean cosine of the gradients at the image and at a random point of the ball

        e = U(ball of eps)
        value = cos(grad_x CE(f(x), y), grad_e CE(f(clamp(x + e, 0, 1)), y))

    Shapes: x, e (B, C, H, W); value (B,) in [-1, 1].
    Cost: 2 forward, 2 backward.
    Differs: nothing; as in its code, pixels that clamp cuts have no gradient, and 0/0 counts as 1.
    """

    norms = ("Linf", "L2")
    values = {"gradient_alignment": ("cosine", -1, 1)}

    cost = Cost(2, 2)

    def measure(self, net, x, y, threat, draw):
        loss, e = ce(net, y), draw(threat.uniform, x)
        g = grad(loss, at=x).flatten(1)
        h = grad(lambda z: loss(z.clamp(0, 1)), at=x + e).flatten(1)
        none = (g == 0).all(1) | (h == 0).all(1)
        cosine = F.cosine_similarity(g, h, dim=1, eps=1e-30).clamp(-1, 1)
        return {"gradient_alignment": torch.where(none, 1.0, cosine)}
