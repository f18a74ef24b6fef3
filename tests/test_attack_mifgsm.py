"""MI-FGSM: torchattacks' numbers, and a gradient of the past that outweighs the last one."""

import pytest
import torch
from seen import TANH, judged
from torch import nn

from bench.threat import Threat
from evaluation.attacks.mifgsm import MIFGSM
from evaluation.draw import Draw

# torchattacks 3.5.1, MIFGSM(eps=0.02, alpha=0.005, steps=5, decay=1.0), torch 2.11.0
RIGHT = "01111001101010100011110100011110100101111111111010"
MOVED = [0.240259, 0.241512, 0.240059, 0.240403, 0.239415]  # L2, of the first images


def test_it_finds_what_torchattacks_finds():
    at = MIFGSM().perturb(TANH.net, TANH.x, TANH.y, Threat("Linf", 0.02), Draw(0, 0, 50))
    right, moved = judged(at)
    assert right == RIGHT
    assert moved[:5] == pytest.approx(MOVED, abs=1e-5)


class Ridge(nn.Module):
    """Climbs to 0.55 along the first pixel, and from there falls a little less steeply."""

    def forward(self, x):
        z = x.flatten(1)
        h = torch.where(z[:, 0] < 0.55, 3 * z[:, 0], 3.3 - 3 * z[:, 0]) + z[:, 1]
        return torch.stack([-h, h], 1)


@pytest.mark.parametrize(("mu", "first"), [(0.0, [0.04, 0.08, 0.04]), (1.0, [0.04, 0.08, 0.12])])
def test_the_past_carries_it_over_a_ridge(mu, first):
    x, threat = torch.full((1, 1, 1, 2), 0.5), Threat("Linf", 0.16)
    for steps, where in enumerate(first, 1):
        one = MIFGSM(steps=steps, mu=mu)
        d = one.perturb(Ridge(), x, torch.zeros(1).long(), threat, Draw(0, 0, 1)) - x
        assert d.flatten()[0] == pytest.approx(where, abs=1e-6)


def test_in_l2_a_step_is_along_the_mean_itself():
    x, threat = torch.full((1, 1, 1, 2), 0.5), Threat("L2", 0.1)
    d = MIFGSM(steps=1).perturb(Ridge(), x, torch.zeros(1).long(), threat, Draw(0, 0, 1)) - x
    assert torch.allclose(d.flatten(), 0.025 * torch.tensor([3.0, 1.0]) / 10**0.5, atol=1e-6)
