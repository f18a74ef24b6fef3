"""DeepFool: the nearest face of an affine network, in one step; and torchattacks' numbers."""

import pytest
import torch
from measured import task
from seen import TANH, judged
from torch import nn

from bench.threat import Threat
from evaluation.attacks.deepfool import DeepFool
from evaluation.draw import Draw

# torchattacks 3.5.1, DeepFool(steps=50, overshoot=0.02), torch 2.11.0
MOVED = [0.002826, 0.195778, 0.243621, 0.504878, 0.18463]  # L2, of the first images
SUM = 4772.581028  # of all pixels of all images
ANY = Threat("Linf", 0.0), Draw(0, 0, 50)  # it knows no radius, and draws nothing


def test_it_finds_what_torchattacks_finds():
    at = DeepFool().perturb(TANH.net, TANH.x, TANH.y, *ANY)
    assert judged(at)[1][:5] == pytest.approx(MOVED, abs=2e-6)
    assert at.double().sum().item() == pytest.approx(SUM, abs=1e-4)


W = torch.tensor([[0.0, 0, 0, 0], [3.0, 1, 0, 0], [0.0, 0, 0.5, 0.5], [0.0, 4, 0, 3]])
BIAS = torch.tensor([0.0, -3.0, -0.6, -6.0])  # margins at 0.5: 1, 0.1, 2.5


class Affine(nn.Module):
    """Class 0 is the label; the margin to class 2 is the least, and so is its distance."""

    def forward(self, x):
        return x.flatten(1) @ W.T + BIAS


def test_an_affine_network_falls_at_the_first_step_over_its_nearest_face():
    x, y = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1).long()
    d = (DeepFool(steps=1, overshoot=0.02).perturb(Affine(), x, y, *ANY) - x).flatten()
    assert torch.allclose(d, 1.02 * 0.1 * W[2] / W[2].square().sum(), atol=1e-6)
    assert Affine()(x + d.view_as(x)).argmax() == 2


def test_the_nearest_face_is_by_distance_and_not_by_margin():
    """Where class 2's plane is flat, class 1's is nearer: 1/sqrt(10) against 0.1/0.0707."""
    flat = W.clone()
    flat[2] /= 10

    def net(x):
        return x.flatten(1) @ flat.T + torch.tensor([0.0, -3.0, -0.15, -6.0])

    x, y = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1).long()
    d = (DeepFool(steps=1).perturb(net, x, y, *ANY) - x).flatten()
    assert torch.allclose(d, 1.02 * W[1] / W[1].square().sum(), atol=1e-6)


def test_distances_are_recorded_and_the_radius_counts_for_nothing(tiny):
    given = task(tiny)
    one = DeepFool(steps=10)
    found = [one.evaluate(given._replace(threat=Threat("Linf", e))).values for e in (0.1, 0.2)]
    assert found[0] == found[1]
    assert set(found[0]) == {"tried_fooling_rate", "tried_mean_l2"}
    assert found[0]["tried_fooling_rate"].value > 50
