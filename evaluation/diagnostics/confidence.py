"""confidence: how sure the network is of images, of random neighbours and after one step."""

from dataclasses import dataclass, replace

from bench.method import Cost
from bench.ops import box
from evaluation.diagnostic import Diagnostic
from evaluation.moves import pgd_move


@dataclass(frozen=True, kw_only=True)
class Confidence(Diagnostic):
    """The largest class probability on three kinds of points.

    Source: Ma et al., 2020, arXiv:2004.01832, table 5.
    Cite: ma2020soar
    Meaning: mean largest class probability on clean, random and PGD1 points

        value = 100 max_j softmax f(z)_j
        z     = x,  x + U(ball of eps),  x + PGD1: one step of q eps from U(ball of q eps)

    Shapes: x, z (B, C, H, W); value (B,).
    Cost: 4 forward, 1 backward.
    Differs: the paper does not state the radius of PGD1 here; q is that of its training. Points
        are cut to [0, 1].
    """

    norms = ("Linf", "L2")
    values = {
        "confidence_clean": ("% confidence", 0, 100),
        "confidence_random": ("% confidence", 0, 100),
        "confidence_pgd1": ("% confidence", 0, 100),
    }

    q: float = 0.5  # radius and step of PGD1, in units of eps

    cost = Cost(4, 1)

    def measure(self, net, x, y, threat, draw):
        random = box(draw(threat.uniform, x), x)
        inner = replace(threat, eps=self.q * threat.eps)
        pgd1 = pgd_move(net, x, y, inner, draw, steps=1, alpha=1)
        points = zip(self.values, (x, x + random, x + pgd1), strict=True)
        return {name: 100 * net(z).softmax(1).amax(1) for name, z in points}
