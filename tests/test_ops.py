"""The words attacks are written in."""

import pytest
import torch

from bench.ops import (
    box,
    ce,
    cosine,
    eval_mode,
    grad,
    kl,
    labels,
    noisy,
    onehot,
    per_image,
    pgd,
    project,
    ramp,
    smooth,
    soft,
    uniform,
)

Y, K = torch.arange(10), 10  # a label of each of ten classes
OTHERS = ~torch.eye(K, dtype=torch.bool)


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


def test_pgd_returns_the_first_gradient_and_climbs(tiny):
    net, (x, y) = tiny.net().eval(), tiny.data()
    x, start = x.float() / 255, torch.zeros_like(x, dtype=torch.float32)
    d, g = pgd(ce(net, y), x, start, alpha=0.01, eps=0.03, steps=5)
    assert torch.equal(g, grad(ce(net, y), at=x))
    assert ce(net, y)(x + d) > ce(net, y)(x)
    assert d.abs().max() <= 0.03 + 1e-6


def test_kl_is_the_sum_over_classes_and_the_mean_over_images():
    p, q = torch.tensor([[0.2, 0.8], [0.5, 0.5]]), torch.tensor([[0.6, 0.4], [0.5, 0.5]])
    by_hand = (p * (p / q).log()).sum() / 2
    assert kl(p.log(), q.log()).item() == pytest.approx(by_hand.item())


def test_cosine_is_per_image_and_zero_for_a_zero_gradient():
    a = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    b = torch.tensor([[5.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    assert cosine(a, b).item() == pytest.approx((1 + 0 + 0.5**0.5) / 3)


@pytest.mark.parametrize("target", [smooth(Y, 0, K), soft(Y, 1, K), noisy(Y, 0, K)])
def test_a_target_without_smoothing_is_the_label_alone(target):
    assert torch.equal(target, torch.eye(K))
    assert torch.equal(target, onehot(Y, K))


def test_smooth_is_torchs_label_smoothing():
    logits = torch.randn(10, K)
    ours = torch.nn.functional.cross_entropy(logits, smooth(Y, 0.4, K))
    theirs = torch.nn.functional.cross_entropy(logits, Y, label_smoothing=0.4)
    assert ours.item() == pytest.approx(theirs.item())


def test_smooth_and_soft_differ_on_the_label_and_can_be_applied_in_turn():
    assert smooth(Y, 0.4, K).diag().tolist() == pytest.approx([0.64] * K)
    assert soft(Y, 0.6, K).diag().tolist() == pytest.approx([0.6] * K)
    assert soft(Y, 0.6, K)[OTHERS].tolist() == pytest.approx([0.4 / 9] * 90)
    assert smooth(soft(Y, 0.6, K), 0.4, K).diag().tolist() == pytest.approx([0.4] * K)


def test_noisy_draws_its_parts_anew():
    one, two = noisy(Y, 0.6, K), noisy(Y, 0.6, K)
    assert one.diag().tolist() == pytest.approx([0.4] * K)
    assert not torch.equal(one, two)
    assert one[OTHERS].min() > 0
    assert one[OTHERS].std() > 0.01
    assert one.sum(1).tolist() == pytest.approx([1.0] * K)
    # of two classes one is left, which takes all whatever is drawn
    assert noisy(torch.tensor([0, 1]), 0.3, 2).flatten().tolist() == pytest.approx(
        [0.7, 0.3, 0.3, 0.7]
    )


@pytest.mark.parametrize("form", [smooth, lambda y, s, k: soft(y, 1 - s, k), noisy])
def test_labels_are_read_off_any_target(form):
    assert labels(Y) is Y
    assert torch.equal(labels(form(Y, 0.4, K)), Y)
    assert form(Y, 0.4, K).sum(1).tolist() == pytest.approx([1.0] * K)


def test_targets_are_made_where_nothing_can_be_read_back():
    y = torch.zeros(8, dtype=torch.int64, device="meta")
    assert noisy(smooth(y, 0.4, K), 0.4, K).shape == soft(y, 0.6, K).shape == (8, K)


@pytest.mark.parametrize(
    ("t", "share", "height"), [(0.0, 0.5, 0.0), (0.25, 0.5, 0.5), (0.75, 0.5, 1.0), (0.0, 0.0, 1.0)]
)
def test_ramp_rises_in_its_share_and_stays(t, share, height):
    assert ramp(torch.tensor(t), share).item() == height


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
