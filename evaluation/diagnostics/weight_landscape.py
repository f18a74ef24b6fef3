"""weight landscape: adversarial loss around the trained weights."""

from dataclasses import dataclass
from itertools import product

import torch
from torch.linalg import vector_norm

from bench.method import Cost
from bench.ops import box, ce, pgd
from evaluation.diagnostic import Diagnostic
from evaluation.moves import losses
from evaluation.pgd import STEP


@dataclass(frozen=True, kw_only=True)
class WeightLandscape(Diagnostic):
    """Loss under PGD along random directions of the weights, attacked anew at each point.

    Source: Li et al., NeurIPS 2018, arXiv:1712.09913; Li and Yu, 2022, arXiv:2210.05373.
    Cite: li2018visualizing
    Meaning: mean loss under PGD-{steps} at the trained weights, the centre of the landscape

        D          = N(0, 1), then each filter scaled to the norm of w's; 0 for biases and BatchNorm
        loss[a]    = CE(f(x + d), y) with weights w + a D,  d of PGD against these,  |a| <= most
        loss[a, b] the same at w + a D + b E

    Shapes: x, d (B, C, H, W); D, E like w; loss (B, 2 side + 1) for each of dims.
    Cost: (2 side + 1)^dims (steps + 1) forward, (2 side + 1)^dims steps backward.
    Differs: all points have the same random start. BatchNorm keeps its running statistics.
    """

    norms = ("Linf", "L2")
    values = {"adversarial_loss": ("loss", 0, None)}
    arrays = ("loss",)

    dims: int = 1  # directions: a line or a plane
    side: int = 10  # points on each side of the weights
    most: float = 1.0  # how far they reach, in units of a direction
    steps: int = 10
    images: int = 128

    @property
    def cost(self):
        points = (2 * self.side + 1) ** self.dims
        return Cost(points * (self.steps + 1), points * self.steps)

    def measure(self, net, x, y, threat, draw):
        start = box(draw(threat.uniform, x), x)
        weights = [w.detach() for w in net.parameters()]  # the same memory, without gradients
        kept = [w.clone() for w in weights]
        generator = torch.Generator().manual_seed(draw.seed())
        directions = [[scaled(w, generator) for w in kept] for _ in range(self.dims)]
        axis = [self.most * i / max(self.side, 1) for i in range(-self.side, self.side + 1)]
        loss = []
        try:
            for at in product(axis, repeat=self.dims):
                for w, old, *way in zip(weights, kept, *directions, strict=True):
                    w.copy_(old + sum(a * d for a, d in zip(at, way, strict=True)))
                d, _ = pgd(ce(net, y), x, start, threat=threat, alpha=STEP, steps=self.steps)
                loss.append(losses(net, x + d, y).detach())
        finally:
            for w, old in zip(weights, kept, strict=True):
                w.copy_(old)
        grid = torch.stack(loss, 1)
        centre = grid[:, grid.shape[1] // 2]
        return {"adversarial_loss": centre, "loss": grid.view(-1, *[len(axis)] * self.dims)}


def scaled(w, generator):
    """Draw a direction whose filters, the rows of w, have the norms of those of w."""
    if w.dim() < 2:
        return torch.zeros_like(w)
    noise = torch.randn(w.shape, generator=generator, dtype=w.dtype).to(w.device).flatten(1)
    norms = vector_norm(w.flatten(1), dim=1, keepdim=True)
    return (noise * norms / vector_norm(noise, dim=1, keepdim=True)).view_as(w)
