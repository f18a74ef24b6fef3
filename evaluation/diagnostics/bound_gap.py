"""bound gap: the losses that the L-inf ball and the L2 ball around it allow."""

from dataclasses import dataclass

from bench.method import Cost
from bench.threat import Threat
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses, pgd_move


@dataclass(frozen=True, kw_only=True)
class BoundGap(Diagnostic):
    """The losses at maximisers in the L-inf ball and in the smallest L2 ball around it.

    Source: Ma et al., 2020, arXiv:2004.01832, table 4.
    Cite: ma2020soar
    Meaning: mean loss at maximisers in the L-inf ball and in the smallest L2 ball around it

        linf = l(x + d),  d of PGD of {steps} steps of eps/4,  |d|_inf <= eps,  l = CE of the image
        l2   = l(x + d),  d of PGD of {steps_l2} steps of r/20,  |d|_2 <= r = eps sqrt(C H W)

    Shapes: x, d (B, C, H, W); values (B,).
    Cost: steps + steps_l2 + 2 forward, steps + steps_l2 backward.
    Differs: r follows eps and the image; the paper's is 1.74 for 8/255 and 3 x 32 x 32.
    """

    values = {"bound_gap_linf": ("loss", 0, None), "bound_gap_l2": ("loss", 0, None)}

    steps: int = 20
    steps_l2: int = 100

    @property
    def cost(self):
        return Cost(self.steps + self.steps_l2 + 2, self.steps + self.steps_l2)

    def measure(self, net, x, y, threat, draw):
        around = Threat("L2", threat.eps * x[0].numel() ** 0.5)
        linf = pgd_move(net, x, y, threat, draw, steps=self.steps)
        l2 = pgd_move(net, x, y, around, draw, steps=self.steps_l2, alpha=1 / 20)
        points = zip(self.values, (linf, l2), strict=True)
        return {name: losses(net, x + d, y) for name, d in points}
