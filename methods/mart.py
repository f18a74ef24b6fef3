"""MART: lean on the images that the network gets wrong without an attack."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.method import Cost, Method
from bench.ops import ce, eval_mode, own, per_image, pgd, rival


@dataclass(frozen=True, kw_only=True)
class MART(Method):
    """K-step attack; a boosted cross-entropy, and a divergence weighed by the clean error.

    Source: Wang et al., ICLR 2020, OpenReview rklOg6EFwS; code YisenWang/MART at 2d83e17.
    Cite: wang2020improving
    Family: multi-step

        d_0     = 0.001 N(0, I)
        d_{k+1} = P(d_k + alpha sign grad_x CE(f(x + d_k), y)),  k < K, BN frozen
        p, q    = softmax f(x), softmax f(x + d_K)
        BCE_i   = CE(f(x + d_K), y)_i - log(1.0001 - max_{j != y} q_ij + 1e-12)
        KL_i    = sum_j p_ij (log p_ij - log(q_ij + 1e-12))
        L       = mean_i [BCE_i + beta (1.0000001 - p_iy) KL_i]

    Shapes: x, d (B, C, H, W); p, q (B, classes).
    Cost: K + 2 forward, K + 2 backward.
    Differs: nothing; gradients go through p and q everywhere. beta is 5 in the authors' script, 6
        in their function; SOAR's tables take 9.
    """

    beta: float = 5.0  # weight of the divergence
    steps: int = 10  # K
    alpha: float = 0.2258  # step, in units of eps: 0.007 / 0.031

    @property
    def cost(self):
        return Cost(forward=self.steps + 2, backward=self.steps + 2)

    def step(self, net, batch, state, descend):
        x, y = batch.x, batch.y
        with eval_mode(net):
            d = 0.001 * torch.randn_like(x)
            d, g = pgd(ce(net, y), x, d, threat=self.threat, alpha=self.alpha, steps=self.steps)

        def loss(z):
            clean, attacked = net(x), net(z)
            p, q = clean.softmax(1), attacked.softmax(1)
            boost = -(1.0001 - rival(q, y) + 1e-12).log()
            bce = F.cross_entropy(attacked, y, reduction="none") + boost
            kl = per_image(p * (clean.log_softmax(1) - (q + 1e-12).log()))
            return (bce + self.beta * (1.0000001 - own(p, y)) * kl).mean()

        descend(loss, at=x + d, g=g)
