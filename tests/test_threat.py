"""Threat models: what holds of every norm, and what each norm is."""

import math
from typing import get_args

import pytest
import torch

from bench.threat import Norm, Threat

NORMS = get_args(Norm)


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.rand(64, 3, 8, 8)


def rounding(threat, x):
    """Return the length of float32's rounding of x + d."""
    return threat.length(torch.full_like(x, 2**-23))[0].item()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("k", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 100.0])
def test_project_never_leaves_ball_or_box(x, norm, k, scale):
    threat = Threat(norm, 0.3)
    d = threat.project(scale * torch.randn_like(x), x, k)
    assert threat.length(d).max() <= k * threat.eps + rounding(threat, x)
    assert (x + d).min() >= 0
    assert (x + d).max() <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_project_leaves_alone_what_is_inside(x, norm):
    threat = Threat(norm, 0.3)
    x = 0.4 + 0.2 * x
    d = 0.99 * threat.project(torch.randn_like(x), x)
    assert torch.allclose(threat.project(d, x), d, atol=1e-6)
    assert torch.equal(threat.project(torch.zeros_like(x), x), torch.zeros_like(x))


@pytest.mark.parametrize("norm", NORMS)
def test_no_step_of_length_1_climbs_more_than_steepest(x, norm):
    threat, g = Threat(norm, 1.0), torch.randn_like(x)
    best = threat.steepest(g)
    assert torch.allclose(threat.length(best), torch.ones(len(x)))
    for _ in range(20):
        other = torch.randn_like(x)
        other = other / threat.length(other).view(-1, 1, 1, 1)
        assert ((g * best).flatten(1).sum(1) >= (g * other).flatten(1).sum(1)).all()
    assert torch.equal(threat.steepest(torch.zeros_like(x)), torch.zeros_like(x))


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_does_not_depend_on_the_scale_of_a_gradient(x, norm):
    threat, g = Threat(norm, 1.0), torch.randn_like(x)
    assert torch.allclose(threat.steepest(1e-9 * g), threat.steepest(g))


@pytest.mark.parametrize("norm", NORMS)
def test_on_a_linear_loss_one_full_step_is_the_projection_of_any_longer_one(x, norm):
    threat, x = Threat(norm, 0.05), 0.4 + 0.2 * x
    g = torch.randn_like(x)
    step = threat.project(threat.eps * threat.steepest(g), x)
    for longer in (1.5, 10.0):
        d = threat.project(longer * threat.eps * threat.steepest(g), x)
        assert torch.allclose(d, step, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("k", [1.0, 2.0])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_noise_stays_in_its_ball_and_comes_near_its_edge(norm, k, shape):
    torch.manual_seed(0)
    threat = Threat(norm, 0.3)
    lengths = threat.length(threat.uniform(torch.zeros(1000, *shape), k)) / (k * threat.eps)
    assert lengths.max() <= 1 + 1e-6
    assert lengths.max() > 0.99


def test_l2_noise_has_lengths_of_any_size_and_no_favoured_direction():
    torch.manual_seed(0)
    threat = Threat("L2", 0.3)
    noise = threat.uniform(torch.zeros(4000, 3, 8, 8))
    lengths = (threat.length(noise) / threat.eps).sort().values
    assert (lengths - torch.linspace(0, 1, 4000)).abs().max() < 0.04  # Kolmogorov-Smirnov, U[0, 1]
    direction = threat.steepest(noise).mean(0)
    assert direction.abs().max() < 5 / math.sqrt(4000 * noise[0].numel())


def test_length_is_of_each_image():
    d = torch.zeros(2, 1, 2, 2)
    d[0, 0, 0], d[1, 0, 1, 1] = torch.tensor([3.0, -4.0]), -0.5
    assert Threat("Linf", 1.0).length(d).tolist() == [4.0, 0.5]
    assert Threat("L2", 1.0).length(d).tolist() == [5.0, 0.5]


def test_linf_is_the_arithmetic_of_before_to_the_last_bit(x):
    threat, d = Threat("Linf", 8 / 255), 0.1 * torch.randn_like(x)
    assert torch.equal(
        threat.project(d, x, 2.0), (x + d.clamp(-16 / 255, 16 / 255)).clamp(0, 1) - x
    )
    assert torch.equal(threat.steepest(d), d.sign())
    torch.manual_seed(1)
    noise = threat.uniform(x, 2.0)
    torch.manual_seed(1)
    assert torch.equal(noise, torch.empty_like(x).uniform_(-16 / 255, 16 / 255))
