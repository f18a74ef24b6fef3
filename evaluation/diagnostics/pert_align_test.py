"""PertAlign on test images: how much the gradient turns along a step of the attack."""

from dataclasses import dataclass

import torch.nn.functional as F

from bench.method import Cost
from bench.ops import box
from evaluation.diagnostic import Diagnostic
from evaluation.moves import slopes


@dataclass(frozen=True, kw_only=True)
class PertAlignTest(Diagnostic):
    """The cosine of the gradients at the start and at the end of a step.

    Source: Teymourian et al., ICML 2026, arXiv:2606.00738.
    Cite: teymourian2026sora
    Meaning: mean cosine of the gradients before and after a step of {alpha} eps from a random start

        eta   = U(ball of eps),  g = grad l(x + eta),  d = eta + alpha eps steepest(g)
        value = cos(g, grad l(x + d)),  l = CE of the image

    Shapes: x, eta, g, d (B, C, H, W); value (B,) in [-1, 1].
    Cost: 2 forward, 2 backward.
    Differs: the step is the same for every network; while training it is the method's own. As
        there, d is cut so that the image stays in [0, 1], and 0/0 counts as 0.
    """

    norms = ("Linf", "L2")
    values = {"pert_align_test": ("cosine", -1, 1)}

    alpha: float = 1.0  # step, in units of eps

    cost = Cost(2, 2)

    def measure(self, net, x, y, threat, draw):
        eta = box(draw(threat.uniform, x), x)
        g = slopes(net, x + eta, y)
        d = box(eta + self.alpha * threat.eps * threat.steepest(g), x)
        h = slopes(net, x + d, y)
        cosine = F.cosine_similarity(g.flatten(1), h.flatten(1), dim=1, eps=1e-30)
        return {"pert_align_test": cosine.clamp(-1, 1)}
