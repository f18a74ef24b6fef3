"""The words attacks are written in."""

from typing import get_args

import pytest
import torch

from bench.ops import box, ce, cosine, eval_mode, grad, kl, per_image, pgd, project, uniform
from bench.threat import Norm, Threat


def test_uniform_fills_its_range():
    noise = uniform(torch.zeros(1000), 0.5)
    assert noise.min() >= -0.5
    assert noise.max() <= 0.5
    assert noise.std() == pytest.approx(0.5 / 3**0.5, rel=0.1)


def test_box_keeps_images_and_project_keeps_the_ball_as_well():
    x, d = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([-0.3, 0.3, 0.3])
    assert box(d, x).tolist() == pytest.approx([0.0, 0.3, 0.0])
    assert project(d, x, 0.1).tolist() == pytest.approx([0.0, 0.1, 0.0])


def test_grad_is_the_gradient_and_touches_no_weight(tiny):
    net, (x, y) = tiny.net(), tiny.data()
    x = x.float() / 255
    g = grad(ce(net, y), at=x)
    z = x.clone().requires_grad_()
    ce(net, y)(z).backward()
    assert not g.requires_grad
    assert torch.allclose(g, z.grad)
    net = tiny.net()
    grad(ce(net, y), at=x)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("norm", get_args(Norm))
def test_pgd_returns_the_first_gradient_and_climbs(tiny, norm):
    net, (x, y) = tiny.net().eval(), tiny.data()
    x, start = x.float() / 255, torch.zeros_like(x, dtype=torch.float32)
    d, g = pgd(ce(net, y), x, start, threat=Threat(norm, 0.03), alpha=0.3, steps=5)
    assert torch.equal(g, grad(ce(net, y), at=x))
    assert ce(net, y)(x + d) > ce(net, y)(x)
    assert Threat(norm, 0.03).length(d).max() <= 0.03 + 1e-6


def test_kl_is_the_sum_over_classes_and_the_mean_over_images():
    p, q = torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    by_hand = (p * (p / q).log()).sum() / 2
    assert kl(p.log(), q.log()).item() == pytest.approx(by_hand.item())


def test_cosine_is_per_image_and_zero_for_a_zero_gradient():
    a = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    assert cosine(a, b).item() == pytest.approx((1 + 0 + 0.5**0.5) / 3)


def test_per_image_sums_all_but_the_batch():
    assert per_image(torch.ones(2, 3, 4, 5)).tolist() == [60.0, 60.0]


@pytest.mark.parametrize("training", [True, False])
def test_eval_mode_returns_to_the_mode_it_found(tiny, training):
    net = tiny.net().train(training)

    def fail():
        with eval_mode(net):
            assert not any(module.training for module in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(module.training is training for module in net.modules())
