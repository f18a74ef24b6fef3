"""Gradient alignment where it is known: 1 on an affine network, and by hand on a quadratic one."""

import pytest
import torch
from torch import nn

from bench.threat import Threat
from evaluation.diagnostics.gradient_alignment import GradientAlignment
from evaluation.draw import Draw


class Margin(nn.Module):
    """Two classes whose margin is a function of the first two pixels."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        z = self.function(x.flatten(1))
        return torch.stack([z, torch.zeros_like(z)], 1)


def aligned(function, x, eps=0.1):
    y = torch.zeros(len(x), dtype=torch.int64)
    draw = Draw(0, 0, len(x))
    found = GradientAlignment().measure(Margin(function), x, y, Threat("Linf", eps), draw)
    return found["gradient_alignment"]


def test_affine_margins_have_parallel_gradients():
    x = torch.rand(8, 1, 1, 2) * 0.6 + 0.2
    assert torch.allclose(aligned(lambda z: z @ torch.tensor([2.0, -1.0]), x), torch.ones(8))


def test_a_quadratic_margin_turns_its_gradient_by_the_angle_at_its_vertex():
    """The gradient of |x - c|^2 at x is along x - c; so the cosine is that of the two rays."""
    c, x = torch.tensor([0.5, 0.5]), torch.full((8, 1, 1, 2), 0.5) + 0.05
    e = Draw(0, 0, 8)(Threat("Linf", 0.1).uniform, x)
    expected = torch.cosine_similarity((x - c).flatten(1), (x + e - c).flatten(1), dim=1)
    assert torch.allclose(aligned(lambda z: ((z - c) ** 2).sum(1), x), expected, atol=1e-5)
    assert expected.min() < 0.9


def test_pixels_that_the_box_cuts_have_no_gradient_and_none_at_all_counts_as_one():
    x = torch.ones(8, 1, 1, 2)
    cut = Draw(0, 0, 8)(Threat("Linf", 0.1).uniform, x).flatten(1) > 0
    w = torch.tensor([1.0, 1.0])
    expected = torch.where(cut.all(1), 1.0, torch.where(cut.any(1), 0.5**0.5, 1.0))
    assert torch.allclose(aligned(lambda z: z @ w, x), expected, atol=1e-6)
    assert 0 < cut.sum() < 16
    assert aligned(lambda z: 0 * z.sum(1), x).tolist() == pytest.approx([1.0] * 8)
