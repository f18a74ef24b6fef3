"""The input landscape where it is known: its corners, and a quadratic loss at every point."""

import pytest
import torch
from known import LINF, THREE, A, B, OfLoss, affine, drawn, found, quadratic

from bench.threat import Threat
from evaluation.attack import Task
from evaluation.attacks.fgsm import FGSM
from evaluation.diagnostics.landscape import Landscape
from evaluation.draw import Draw
from evaluation.moves import losses


def test_at_0_0_is_the_clean_loss_and_at_1_0_that_of_fgsm(tiny):
    """On images that reach the box, too, which cuts FGSM's step."""
    net = tiny.net().eval()
    x, y = tiny.data()[0].float() / 255, tiny.data()[1]
    threat, draw = Threat("Linf", 0.1), Draw(0, 0, len(y))
    grid = Landscape(points=3).measure(net, x, y, threat, draw)
    attacked = FGSM().perturb(net, x, y, threat, draw)
    assert (attacked == 0).any()
    for point, at in [(grid["loss"][:, 0, 0], x), (grid["loss"][:, -1, 0], attacked)]:
        assert torch.allclose(point, losses(net, at, y), atol=1e-5)
    assert torch.equal(grid["class"][:, 0, 0].long(), net(x).argmax(1))
    assert grid["loss"].shape == grid["class"].shape == (len(y), 3, 3)


@pytest.mark.parametrize("least", [0.0, -2.0])
def test_a_quadratic_loss_at_every_point(least):
    x = THREE.flatten(1)
    (share,) = drawn(THREE, torch.rand_like)
    v1, v2 = 0.1 * (x @ A + B).sign(), 0.1 * share.flatten(1)
    measured = found(Landscape(second="random", points=5, least=least), quadratic, THREE)
    axis = torch.linspace(least, 1, 5).tolist()
    for i, a in enumerate(axis):
        for j, b in enumerate(axis):
            expected = quadratic(x + a * v1 + b * v2)
            assert torch.allclose(measured["loss"][:, i, j], expected), (a, b)
            right = expected < torch.tensor(2.0, dtype=x.dtype).log()
            assert torch.equal(measured["class"][:, i, j] == 0, right), (a, b)
    second = ((1 - least) / 4) ** 2 * ((v1 @ A) * v1).sum(1).abs()
    assert torch.allclose(measured["roughness"], second)


def test_pgd_is_the_second_axis():
    measured, clean = found(Landscape(points=3), affine, THREE), affine(THREE.flatten(1))
    assert torch.allclose(measured["loss"][:, 0, -1], clean + 0.1 * B.abs().sum())
    assert torch.allclose(measured["loss"][:, -1, -1], clean + 0.2 * B.abs().sum())
    assert measured["roughness"].max() < 1e-12


def test_so_many_images_are_taken():
    x, y = THREE.repeat(3, 1, 1, 1), torch.zeros(12, dtype=torch.int64)
    task = Task(net=OfLoss(affine), x=x, y=y, threat=LINF, name="landscape", classes=2, seed=0)
    measured = Landscape(points=3, images=5).evaluate(task)
    assert (len(measured.arrays["loss"]), measured.values["roughness"].n) == (5, 5)
