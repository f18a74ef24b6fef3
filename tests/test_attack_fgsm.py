"""FGSM where its result is known: the end of the ball on an affine network, and one step only."""

import pytest
import torch
from torch import nn

from bench.threat import Threat
from evaluation.attacks.fgsm import FGSM
from evaluation.draw import Draw

W = torch.tensor([3.0, -2.0, 1.0, -0.5])


class Bend(nn.Module):
    """Two classes whose margin bends: its gradient at the image leads away from the least."""

    def forward(self, x):
        z = x.flatten(1) @ W
        z = torch.where(z > 0, z, -3 * z)
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize(
    ("threat", "direction"),
    [(Threat("Linf", 0.1), W.sign()), (Threat("L2", 0.1), W / W.norm())],
)
def test_it_takes_the_whole_step_by_the_gradient_at_the_image(threat, direction):
    x = torch.tensor([0.5, 0.5, 0.5, 0.5]).view(1, 1, 2, 2)
    assert (x.flatten() @ W) > 0
    at = FGSM().perturb(Bend(), x, torch.zeros(1).long(), threat, Draw(0, 0, 1))
    assert torch.allclose((at - x).flatten(), -0.1 * direction, atol=1e-6)
