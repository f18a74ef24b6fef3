"""Networks whose loss is a known function of the image, for the closed forms of diagnostics."""

import torch
from torch import nn

from bench.threat import Threat
from evaluation.draw import Draw

LINF, L2 = Threat("Linf", 0.1), Threat("L2", 0.1)


class OfLoss(nn.Module):
    """Two classes; the cross-entropy of class 0 is a given function of flat images, above 0."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, x):
        margin = -self.loss(x.flatten(1)).expm1().log()
        return torch.stack([margin, torch.zeros_like(margin)], 1)


def images(*offsets):
    """Images of one row of pixels: 0.5 and an offset each; in double precision."""
    return 0.5 + torch.tensor(offsets, dtype=torch.float64)[:, None, None, :]


def drawn(x, *makes):
    """What a diagnostic of seed 0 draws by these functions, one after another."""
    draw = Draw(0, 0, len(x))
    return [draw(make, x) for make in makes]


def found(one, loss, x, threat=LINF):
    """What a diagnostic measures of images of class 0."""
    y = torch.zeros(len(x), dtype=torch.int64)
    return one.measure(OfLoss(loss), x, y, threat, Draw(0, 0, len(x)))


A = torch.tensor([[3.0, 1.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
B = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
THREE = images([0.1, 0.2, -0.1], [-0.2, 0.05, 0.1], [0.15, -0.1, 0.2], [0.0, 0.1, -0.25])


def affine(z):
    return 3 + z @ B


def quadratic(z):
    return 3 + ((z @ A) * z).sum(1) / 2 + z @ B


def hill(z):
    """Largest where the first pixel is 0.5, which attacks climb to; grows with any other."""
    return 3 - (z[:, 0] - 0.5).square() + z[:, 1:].sum(1)


def climbed(offset, start, *, eps=0.1, step=0.025, steps=10):
    """Where PGD ends on the hill's first pixel, less the image."""
    d = start.clone()
    for _ in range(steps):
        d = (d - step * (offset + d).sign()).clamp(-eps, eps)
    return d
