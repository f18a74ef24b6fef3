"""abnormal examples: how often the step of N-FGSM lowers the loss that it is to raise."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses, slopes


@dataclass(frozen=True, kw_only=True)
class AAEShare(Diagnostic):
    """The share of abnormal adversarial examples: images whose loss the step lowers.

    Source: Lin et al., NeurIPS 2023, arXiv:2404.08154.
    Cite: lin2023eliminating
    Meaning: % of images whose loss a step of {alpha} eps from noise of {k} eps lowers

        eta   = U(ball of k eps),  d = eta + alpha eps steepest(grad_x l(x + eta))
        value = 100 [l(x + eta) > l(x + d)],  l = CE of the image

    Shapes: x, eta, d (B, C, H, W); value (B,).
    Cost: 3 forward, 1 backward.
    Differs: nothing; eta and d are cut so that images stay in [0, 1], as in N-FGSM.
    """

    norms = ("Linf", "L2")
    values = {"aae_share": ("%", 0, 100)}

    k: float = 2.0  # radius of the noise, in units of eps
    alpha: float = 1.0  # step, in units of eps

    cost = Cost(3, 1)

    def measure(self, net, x, y, threat, draw):
        eta = box(draw(lambda like: threat.uniform(like, self.k), x), x)
        g = slopes(net, x + eta, y)
        d = box(eta + self.alpha * threat.eps * threat.steepest(g), x)
        return {"aae_share": 100.0 * (losses(net, x + eta, y) > losses(net, x + d, y))}
