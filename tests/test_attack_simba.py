"""SimBA on affine networks: which ends of the ball it takes, in how many queries."""

import pytest
import torch
from measured import task
from torch import nn

from bench.threat import Threat
from evaluation.attacks.simba import SimBA
from evaluation.draw import Draw

W = torch.tensor([3.0, -2.0, 1.0, -0.5])
X, Y = torch.full((8, 1, 2, 2), 0.5), torch.zeros(8, dtype=torch.int64)
THREAT = Threat("Linf", 0.1)


class Affine(nn.Module):
    """Two classes whose margin is <w, x> plus a bias."""

    def __init__(self, bias):
        super().__init__()
        self.bias = bias

    def forward(self, x):
        z = x.flatten(1) @ W + self.bias
        return torch.stack([z, -z], 1)


def test_where_it_cannot_win_it_ends_at_the_worst_corner():
    draw = Draw(0, 0, 8)
    at = SimBA().perturb(Affine(2.0), X, Y, THREAT, draw)
    assert torch.allclose((at - X).flatten(1), (-0.1 * W.sign()).expand(8, 4), atol=1e-6)
    # the start, and one query for each pixel that falls at once, two for each that has to rise
    assert draw.queries.tolist() == 8 * [1 + 2 * 1 + 2 * 2]


def test_it_stops_where_the_network_errs():
    """The margin is 0.75 + bias; the first pixel alone takes 0.3."""
    draw = Draw(0, 0, 8)
    at = SimBA().perturb(Affine(-0.75 + 0.25), X, Y, THREAT, draw)
    assert (Affine(-0.5)(at).argmax(1) == 1).all()
    moved = ((at - X).flatten(1) != 0).sum(1)
    assert moved.min() == 1
    assert moved.max() > 1  # the order differs from image to image
    assert (draw.queries[moved == 1] <= 3).all()


def test_a_step_that_helps_the_network_is_not_kept():
    class Even(nn.Module):
        def forward(self, x):
            z = 1 + (x.flatten(1) - 0.5).abs().sum(1)
            return torch.stack([z, -z], 1)

    assert torch.equal(SimBA().perturb(Even(), X, Y, THREAT, Draw(0, 0, 8)), X)


def test_queries_are_recorded_of_the_images_that_were_attacked(tiny):
    given = task(tiny)
    wrong = given._replace(y=torch.cat([given.y[:10], (given.y[10:] + 1) % 4]))
    found = SimBA(steps=5).evaluate(wrong).values["tried_queries"]
    assert (found.n, found.unit) == (10, "queries")
    assert 2 <= found.value <= 11


@pytest.mark.parametrize("steps", [1, 3])
def test_it_tries_so_many_coordinates(steps):
    at = SimBA(steps=steps).perturb(Affine(2.0), X, Y, THREAT, Draw(0, 0, 8))
    assert ((at - X).flatten(1) != 0).sum(1).tolist() == 8 * [steps]
