"""TRADES-KL: how far an attack moves the class probabilities."""

from dataclasses import dataclass

import torch.nn.functional as F

from bench.method import Cost
from bench.ops import per_image
from evaluation.diagnostic import Diagnostic
from evaluation.moves import pgd_move


@dataclass(frozen=True, kw_only=True)
class TradesKL(Diagnostic):
    """The divergence of the answers to an image and to its adversarial image.

    Source: Zhang et al., ICML 2019, arXiv:1901.08573.
    Cite: zhang2019theoretically
    Meaning: mean KL from the probabilities without attack to those under PGD-{steps}, steps of
        {alpha} eps

        value = KL(softmax f(x) || softmax f(x + d)),  d of PGD

    Shapes: x, d (B, C, H, W); value (B,).
    Cost: steps + 2 forward, steps backward.
    Differs: d climbs the cross-entropy, as in evaluation, not the divergence; one step:
        ``steps: 1, alpha: 1``.
    """

    norms = ("Linf", "L2")
    values = {"trades_kl": ("nats", 0, None)}

    steps: int = 10
    alpha: float = 0.25  # step, in units of eps

    @property
    def cost(self):
        return Cost(self.steps + 2, self.steps)

    def measure(self, net, x, y, threat, draw):
        d = pgd_move(net, x, y, threat, draw, steps=self.steps, alpha=self.alpha)
        p, q = net(x).log_softmax(1), net(x + d).log_softmax(1)
        return {"trades_kl": per_image(F.kl_div(q, p, reduction="none", log_target=True))}
