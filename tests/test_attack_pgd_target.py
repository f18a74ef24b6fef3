"""Targeted PGD on an affine network: it goes towards its own target, whatever is nearer."""

import pytest
import torch
from torch import nn

from bench.threat import Threat
from evaluation.attacks.pgd_target import PGDTarget
from evaluation.draw import Draw

BIAS = torch.tensor([3.0, 1.0, 0.0, -2.0])  # class 0 is the label, 3 the least likely


class Own(nn.Module):
    """Four classes, each with a pixel of its own."""

    def forward(self, x):
        return 5 * x.flatten(1) + BIAS


X, Y = torch.full((64, 1, 2, 2), 0.5), torch.zeros(64, dtype=torch.int64)
THREAT = Threat("Linf", 0.1)


def raised(at):
    """Which pixel alone is at the upper end of the ball, (B,)."""
    d = (at - X).flatten(1)
    assert torch.allclose(d.sort(1).values, 0.1 * torch.tensor([-1.0, -1, -1, 1]), atol=1e-5)
    return d.argmax(1)


def test_it_goes_to_the_least_likely_class():
    at = PGDTarget(steps=40).perturb(Own(), X, Y, THREAT, Draw(0, 0, 64))
    assert (raised(at) == 3).all()


def test_a_random_target_is_any_class_but_the_label():
    at = PGDTarget(steps=40, target="random").perturb(Own(), X, Y, THREAT, Draw(0, 0, 64))
    assert raised(at).unique().tolist() == [1, 2, 3]
    at = PGDTarget(steps=40, target="random").perturb(Own(), X, Y + 3, THREAT, Draw(0, 0, 64))
    assert raised(at).unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_steps_are_so_many_and_so_long(norm):
    threat = Threat(norm, 0.2)
    start = Draw(0, 0, 64)(threat.uniform, X)
    at = PGDTarget(steps=3, alpha=0.01).perturb(Own(), X, Y, threat, Draw(0, 0, 64))
    free = threat.length(start) + 0.006 <= 0.2
    assert free.any()
    assert threat.length(at - X - start)[free].numpy() == pytest.approx(0.006, abs=1e-5)
