"""PGD where its result is known: on an affine network it reaches the corner, or the rim."""

import pytest
import torch
from torch import nn

from bench.threat import Threat
from evaluation.attacks.pgd import PGD
from evaluation.draw import Draw

W = torch.tensor([3.0, -2.0, 1.0, -0.5])


class Affine(nn.Module):
    """Two classes whose margin is <w, x>."""

    def forward(self, x):
        z = 5 * (x.flatten(1) @ W)
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize(
    ("threat", "direction"),
    [(Threat("Linf", 0.1), W.sign()), (Threat("L2", 0.1), W / W.norm())],
)
def test_it_goes_down_the_margin_to_the_end_of_the_ball(threat, direction):
    x, y = torch.rand(16, 1, 2, 2) * 0.6 + 0.2, torch.zeros(16, dtype=torch.int64)
    at = PGD(steps=40).perturb(Affine(), x, y, threat, Draw(0, 0, 16))
    assert torch.allclose((at - x).flatten(1), (-0.1 * direction).expand(16, 4), atol=1e-3)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_steps_are_so_many_and_so_long(norm):
    """From a start that is known, so far from the rim that nothing is cut."""
    x, y, threat = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4).long(), Threat(norm, 0.2)
    start = Draw(0, 0, 4)(threat.uniform, x)
    at = PGD(steps=3, alpha=0.01).perturb(Affine(), x, y, threat, Draw(0, 0, 4))
    moved = threat.length(at - x - start)
    free = threat.length(start) + 0.006 <= 0.2
    assert free.any()
    assert torch.allclose(moved[free], torch.tensor(3 * 0.01 * 0.2), atol=1e-6)
