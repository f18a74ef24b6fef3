"""linearity error: how far the loss is from linear along the step of FGSM."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import per_image
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses, slopes


@dataclass(frozen=True, kw_only=True)
class LinErr(Diagnostic):
    """What a linear model of the loss misses at the end of FGSM's step.

    Source: Li and Yu, 2022, arXiv:2210.05373, equation 4.
    Cite: li2022stable
    Meaning: mean error of a linear model of the loss at the end of FGSM's step

        g     = grad_x l(x),  d = eps steepest(g),  l = CE of the image
        value = |l(x + d) - l(x) - <d, g>|

    Shapes: x, g, d (B, C, H, W); value (B,).
    Cost: 3 forward, 1 backward.
    Differs: nothing; x + d is not cut to [0, 1].
    """

    norms = ("Linf", "L2")
    values = {"lin_err": ("loss", 0, None)}

    cost = Cost(3, 1)

    def measure(self, net, x, y, threat, draw):
        g = slopes(net, x, y)
        d = threat.eps * threat.steepest(g)
        rise = losses(net, x + d, y) - losses(net, x, y)
        return {"lin_err": (rise - per_image(d * g)).abs()}
