"""Lipschitz bounds where they are known: of one pixel, and bounded by the weights of several."""

import torch
from known import LINF, THREE, B, drawn, images
from torch import nn

from evaluation.diagnostics.lipschitz import Lipschitz
from evaluation.draw import Draw


class Logits(nn.Module):
    """Two logits, z and -z, of a function of the flat image."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        z = self.function(x.flatten(1))
        return torch.stack([z, -z], 1)


def bounds(function, x):
    y = torch.zeros(len(x), dtype=torch.int64)
    measured = Lipschitz().measure(Logits(function), x, y, LINF, Draw(0, 0, len(x)))
    return measured["lipschitz_upper"], measured["lipschitz_lower"]


def test_a_line_has_one_slope():
    upper, lower = bounds(lambda z: 3 * z[:, 0], images([0.1], [-0.2]))
    assert torch.allclose(upper, torch.tensor(6.0).double())
    assert torch.allclose(lower, torch.tensor(6.0).double())


def test_a_parabola_is_steepest_at_the_rim_and_flattest_at_its_vertex():
    """Ten steps end where they began: each crosses the vertex, the next crosses it back."""
    x = images([0.0], [0.0], [0.0])
    (start,) = drawn(x, torch.randn_like)
    upper, lower = bounds(lambda z: 5 * (z[:, 0] - 0.5).square(), x)
    assert torch.allclose(upper, torch.tensor(2 * 5 * 0.1).double())
    assert torch.allclose(lower, 2 * 5 * 0.001 * start.flatten().abs())


def test_several_pixels_stay_within_the_sum_of_their_weights():
    upper, lower = bounds(lambda z: z @ B, THREE)
    assert (upper <= 2 * B.abs().sum() + 1e-9).all()
    assert (upper > 2 * B.abs().max()).all()
    assert (lower < 0.5 * upper).all()
