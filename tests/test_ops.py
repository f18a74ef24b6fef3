"""The words attacks are written in."""

from typing import get_args

import pytest
import torch

from bench.method import State
from bench.ops import (
    all_grads,
    box,
    ce,
    cosine,
    eval_mode,
    featured,
    grad,
    in_norm,
    kl,
    labels,
    learn,
    learner,
    move,
    moved,
    noisy,
    onehot,
    per_image,
    pgd,
    project,
    ramp,
    smooth,
    soft,
    statistics_kept,
    uniform,
    weight_grads,
)
from bench.threat import Norm, Threat

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


def test_in_norm_gives_directions_the_norms_of_their_weights(tiny):
    net = tiny.net()
    weights = [*net.parameters()]
    found = in_norm(net, [torch.randn_like(w) for w in weights])
    for w, v in zip(weights, found, strict=True):
        assert v.norm().item() == pytest.approx(w.norm().item() if w.dim() > 1 else 0.0)
    assert not any(v.any() for v in in_norm(net, [torch.zeros_like(w) for w in weights]))


def test_a_move_is_taken_back_and_what_happens_meanwhile_stays(tiny):
    net = tiny.net()
    before = tiny.weights(net)
    by = [torch.full_like(w, 0.5) for w in net.parameters()]
    with moved(net, by):
        assert torch.equal(tiny.weights(net), before + 0.5)
        move(net, [torch.full_like(w, 0.25) for w in by])
    assert torch.allclose(tiny.weights(net), before + 0.25, atol=1e-6)
    with pytest.raises(KeyError), moved(net, by):
        raise KeyError
    assert torch.allclose(tiny.weights(net), before + 0.25, atol=1e-6)


def test_a_learner_steps_as_torchs_adam():
    torch.manual_seed(3)
    x, y = torch.randn(32, 5), torch.randint(0, 3, (32,))
    layer = torch.nn.Linear(5, 3)
    state = State(other=torch.zeros(2), **learner(w=layer.weight.detach().t().clone()))
    state |= learner(b=layer.bias.detach().clone())
    adam = torch.optim.Adam(layer.parameters(), lr=0.05)

    def loss(own):
        return torch.nn.functional.cross_entropy(x @ own.w + own["b"], y)

    first = loss(state).item()
    for _ in range(20):
        learn(loss, state, ("w", "b"), lr=0.05)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(layer(x), y).backward()
        adam.step()
    assert loss(state).item() < first - 0.3
    assert torch.allclose(state.w, layer.weight.t(), atol=1e-5)
    assert torch.allclose(state.b, layer.bias, atol=1e-5)
    assert state["w.count"].tolist() == [20]


def test_a_learner_that_is_off_stays_as_it_is():
    state, x = learner(w=torch.ones(3)), torch.rand(3)
    for on in (True, False, True):
        before = {k: v.clone() for k, v in state.items()}
        learn(lambda own: own.w @ x, state, ("w",), lr=0.1, on=torch.tensor(on))
        same = [torch.equal(before[k], v) for k, v in state.items()]
        assert not any(same) if on else all(same)
    twin = learner(w=torch.ones(3))
    for _ in range(2):
        learn(lambda own: own.w @ x, twin, ("w",), lr=0.1)
    assert all(torch.equal(twin[k], v) for k, v in state.items())


def test_statistics_come_back_and_weights_do_not(tiny):
    net = tiny.net()
    before = [buffer.clone() for buffer in net.buffers()]
    with statistics_kept(net):
        net(torch.rand(4, 3, 8, 8))
        assert not all(map(torch.equal, before, net.buffers()))
        move(net, [torch.ones_like(w) for w in net.parameters()])
    assert all(map(torch.equal, before, net.buffers()))
    assert not any(map(torch.equal, tiny.net().parameters(), net.parameters()))


def test_gradients_of_one_pass_are_those_of_two(tiny):
    net = tiny.net().eval()
    x, y = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    g, of_weights = all_grads(net, ce(net, y), x)
    assert torch.allclose(g, grad(ce(net, y), x), atol=1e-7)
    pairs = zip(of_weights, weight_grads(net, ce(net, y), x), strict=True)
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in pairs)
    assert all(w.grad is None for w in net.parameters())


def test_features_are_what_the_last_layer_reads(tiny):
    net = tiny.net().eval()
    x = torch.rand(8, 3, 8, 8)
    logits, features = featured(net, x)
    assert features.shape == (8, net.features)
    assert torch.equal(logits, net(x))
    assert torch.equal(net.body[-1](features), logits)


def test_a_network_can_be_a_learner():
    """Its weights are named as in the module, which is called with those in hand."""
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    state = learner(**{k: w.detach().clone() for k, w in module.named_parameters()})
    names, x = [*dict(module.named_parameters())], torch.rand(4, 1, 5, 5)
    before = state["0.weight"].clone()

    def loss(own):
        return torch.func.functional_call(module, own, (x,)).square().mean()

    learn(loss, state, names, lr=0.1)
    assert not torch.equal(state["0.weight"], before)
    assert all(w.grad is None for w in module.parameters())
