"""SOAR's objective: the loss with its second-order term, by the number of random directions."""

from dataclasses import dataclass, replace

import torch
from torch.linalg import vector_norm

from bench.method import Cost
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses, pgd_move, slopes

DRAWS = (1, 10, 100)


@dataclass(frozen=True, kw_only=True)
class SoarN(Diagnostic):
    """SOAR's regularised loss, its term averaged over 1, 10 and 100 directions.

    Source: Ma et al., 2020, arXiv:2004.01832, table 8.
    Cite: ma2020soar
    Meaning: mean of SOAR's loss with its regulariser over 1, 10 and 100 random directions

        q     = eps/2,  x' = x + PGD1: one step of q from U(ball of q),  g = grad l(x')
        z     = [z_d; z_1] ~ N(0, I),  u = z_d / |z_d|_2,  l = CE of the image
        Hz    = |z_d|_2 (grad l(x' + h u) - g) / h
        N     = |[Hz + z_1 g; <g, z_d> + z_1]|_2, cut at clip
        value = l(x') + (d q^2 + 1)/2 mean_n N,  d = C H W; L2: q^2 for d q^2

    Shapes: x, x', g (B, C, H, W); z (B, d + 1); value (B,).
    Cost: 103 forward, 102 backward.
    Differs: q and clip are derived from the paper's numbers, not stated there in full.
    """

    norms = ("Linf", "L2")
    values = {
        "soar_1": ("loss", 0, None),
        "soar_10": ("loss", 0, None),
        "soar_100": ("loss", 0, None),
    }

    h: float = 0.01  # of the finite difference, in ranges of a pixel
    clip: float = 10.0  # largest N

    cost = Cost(103, 102)

    def measure(self, net, x, y, threat, draw):
        d, inner = x[0].numel(), replace(threat, eps=threat.eps / 2)
        at = x + pgd_move(net, x, y, inner, draw, steps=1, alpha=1)
        loss, g = losses(net, at, y), slopes(net, at, y).flatten(1)
        weight = ((d if threat.norm == "Linf" else 1) * inner.eps**2 + 1) / 2
        total, found = torch.zeros_like(loss), {}
        for n in range(1, max(DRAWS) + 1):
            z = draw(lambda like: torch.randn(len(like), d + 1, dtype=like.dtype), x)
            z_d, z_1 = z[:, :-1], z[:, -1:]
            length = vector_norm(z_d, dim=1, keepdim=True)
            u = (z_d / length).view_as(x)
            hz = length * (slopes(net, at + self.h * u, y).flatten(1) - g) / self.h
            last = (g * z_d).sum(1, keepdim=True) + z_1
            term = vector_norm(torch.cat([hz + z_1 * g, last], 1), dim=1)
            total += term.clamp(max=self.clip)
            if n in DRAWS:
                found[f"soar_{n}"] = loss + weight * total / n
        return found
