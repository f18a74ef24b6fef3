"""The weight landscape where it is known: on a linear network, and what it leaves behind."""

import pytest
import torch
import torch.nn.functional as F
from known import LINF, THREE
from torch import nn

from evaluation.diagnostics.weight_landscape import WeightLandscape, scaled
from evaluation.draw import Draw

Y = torch.tensor([0, 1, 0, 1])


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3, 2).double()).eval().requires_grad_(False)


def measured(net, **settings):
    one = WeightLandscape(steps=40, **settings)
    return one.measure(net, THREE, Y, LINF, Draw(0, 0, len(Y)))


def expected(w, bias):
    """The loss at the corner that PGD reaches: of two classes it lowers the margin."""
    z = THREE.flatten(1) @ w.T + bias
    margin = torch.where(Y == 0, z[:, 0] - z[:, 1], z[:, 1] - z[:, 0])
    return F.softplus(-(margin - 0.1 * (w[0] - w[1]).abs().sum()))


def directions(w, number):
    draw = Draw(0, 0, len(Y))
    draw(LINF.uniform, THREE)
    generator = torch.Generator().manual_seed(draw.seed())
    return [scaled(w, generator) for _ in range(number)]


def test_on_a_linear_network_it_is_the_loss_at_the_corner_of_each_point():
    net = linear()
    w, bias = net[1].weight, net[1].bias
    found, (way,) = measured(net, side=2), directions(w, 1)
    for i, a in enumerate((-1, -0.5, 0, 0.5, 1)):
        assert torch.allclose(found["loss"][:, i], expected(w + a * way, bias)), a
    assert torch.equal(found["adversarial_loss"], found["loss"][:, 2])


def test_attacks_start_at_random():
    net, draw = linear(), Draw(0, 0, len(Y))
    w, start = net[1].weight, draw(LINF.uniform, THREE).flatten(1)
    down = torch.where(Y == 0, 1, -1)[:, None] * (w[1] - w[0])
    at = THREE.flatten(1) + (start + 0.025 * down.sign()).clamp(-0.1, 0.1)
    loss = F.cross_entropy(at @ w.T + net[1].bias, Y, reduction="none")
    found = WeightLandscape(steps=1, side=0).measure(net, THREE, Y, LINF, Draw(0, 0, len(Y)))
    assert torch.allclose(found["adversarial_loss"], loss)


def test_a_plane_has_two_directions():
    net = linear()
    w, bias = net[1].weight, net[1].bias
    found, (one, other) = measured(net, dims=2, side=1, most=0.5), directions(w, 2)
    assert found["loss"].shape == (4, 3, 3)
    for i, a in enumerate((-0.5, 0, 0.5)):
        for j, b in enumerate((-0.5, 0, 0.5)):
            at = expected(w + a * one + b * other, bias)
            assert torch.allclose(found["loss"][:, i, j], at), (a, b)
    assert torch.equal(found["adversarial_loss"], found["loss"][:, 1, 1])


def test_filters_have_the_norms_of_the_weights_and_vectors_none():
    w, generator = torch.randn(5, 2, 3, 3), torch.Generator().manual_seed(0)
    way = scaled(w, generator)
    assert torch.allclose(way.flatten(1).norm(dim=1), w.flatten(1).norm(dim=1))
    assert not torch.equal(way, w)
    assert scaled(torch.ones(4), generator).tolist() == [0] * 4


def test_weights_come_back_to_the_bit_even_from_a_failure(tiny):
    net = tiny.net().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    x, y, seen = tiny.data()[0].float() / 255, tiny.data()[1], []

    def fail(*_):
        seen.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        if len(seen) == 4:
            raise RuntimeError("out of memory")

    net.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        WeightLandscape(side=1, steps=1).measure(net, x, y, LINF, Draw(0, 0, len(y)))
    assert any(not torch.equal(seen[0][name], before[name]) for name in before), "it moved none"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
