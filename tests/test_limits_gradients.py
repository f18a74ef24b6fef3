"""ZeroGrad, MultiGrad, GradAlign, NuAT and TRADES: limits, and examples done by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from limits import check_cost, make, trained
from torch import nn

from bench.method import Run
from bench.ops import box, ce, grad, project, uniform
from methods import load


class Linear(nn.Module):
    """Two logits, z and -z, of an image with the given weights."""

    def __init__(self, *w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, x):
        z = x.flatten(1) @ self.w
        return torch.stack([z, -z], 1)


GREY, LABELS = torch.full((16, 1, 1, 2), 0.5), torch.arange(16) % 2

SETTINGS = [
    ("multigrad", {"n": 5, "th": 4}),
    ("grad_align", {"variant": "sora_bench"}),
    ("nuat", {"variant": "sora_bench"}),
    ("trades", {"steps": 5}),
]


@pytest.mark.parametrize(("which", "settings"), SETTINGS)
def test_cost_and_reach_of_other_settings_are_as_declared(tiny, which, settings):
    method = make(tiny, which, **settings)
    check_cost(tiny, method)
    reach = max(epoch.reach for epoch in tiny.trainer(method).fit().curves)
    assert reach == pytest.approx(method.reach, abs=0.02)


# ZeroGrad


def test_zerograd_that_zeroes_nothing_is_fgsm_rs_at_twice_eps(tiny):
    one = trained(tiny, make(tiny, "zerograd", q=0.0))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm_rs", alpha=2.0)))


@pytest.mark.parametrize(("q", "moved"), [(0.0, (1, 1)), (0.3, (0, 1)), (1.0, (0, 1))])
def test_zerograd_leaves_the_noise_on_the_smaller_of_two_gradients(tiny, q, moved):
    """|g| is 1 : 3, so that the quantile lies above the smaller one for every q > 0."""
    d = tiny.step(make(tiny, "zerograd", q=q), Linear(1.0, -3.0), GREY, LABELS)["d"].flatten(1)
    torch.manual_seed(5)
    eta = uniform(GREY, tiny.eps).flatten(1)
    up = tiny.eps * (2 * LABELS[:, None] - 1) * torch.tensor([1, -1])
    assert torch.allclose(d, torch.where(torch.tensor(moved).bool(), up, eta), atol=1e-7)


@pytest.mark.parametrize("q", [0.1, 0.35, 0.45, 0.7, 0.99])
def test_zerograd_zeroes_what_lies_below_torchs_quantile(tiny, q):
    net, (x, y) = tiny.net(), tiny.data()
    x = x / 255
    seen = tiny.step(make(tiny, "zerograd", q=q), net, x, y)
    torch.manual_seed(5)
    eta = box(uniform(x, tiny.eps), x)
    g = grad(ce(net, y), at=x + eta)
    t = g.abs().flatten(1).quantile(q, dim=1)[:, None, None, None]
    d = project(eta + 2 * tiny.eps * g.sign() * (g.abs() >= t), x, tiny.eps)
    assert torch.equal(seen["at"], x + d)
    assert torch.equal(seen["g"], g)


# MultiGrad


class Bowl(nn.Module):
    """The gradient of pixel 0 has one sign everywhere; that of pixel 1 has its noise's sign."""

    def forward(self, x):
        z = x[:, 0, 0, 0] + 10 * (x[:, 0, 0, 1] - 0.5).square()
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize("th", [2, 3])
def test_multigrad_moves_the_pixels_whose_gradients_agree(tiny, th):
    y = torch.ones_like(LABELS)  # the loss rises with z
    seen = tiny.step(make(tiny, "multigrad", th=th), Bowl(), GREY, y)
    torch.manual_seed(5)
    etas = [uniform(GREY, tiny.eps) for _ in range(3)]
    up = sum((eta[:, 0, 0, 1] > 0).long() for eta in etas)  # votes of three
    vote = (up >= th).long() - (up <= 3 - th).long()
    assert set(vote.tolist()) == ({-1, 0, 1} if th == 3 else {-1, 1})
    expected = tiny.eps * torch.stack([torch.ones(16), vote], 1)
    assert torch.allclose(seen["d"].flatten(1), expected, atol=1e-7)
    mean = sum(grad(ce(Bowl(), y), at=GREY + eta) for eta in etas) / 3
    assert torch.allclose(seen["g"], mean, atol=1e-8)


def test_multigrad_of_a_linear_loss_is_fgsm(tiny):
    net = Linear(1.0, -3.0)
    one, two = (
        tiny.step(make(tiny, name), net, GREY, LABELS)["at"] for name in ("multigrad", "fgsm")
    )
    assert torch.equal(one, two)


def test_multigrad_refuses_more_votes_than_voters():
    with pytest.raises(ValueError, match="th = 3 of n = 2"):
        load("multigrad")(n=2)


# GradAlign


@pytest.mark.parametrize(("variant", "base"), [("official", "fgsm"), ("sora_bench", "fgsm_rs")])
def test_grad_align_without_penalty_is_its_base_method(tiny, variant, base):
    one = trained(tiny, make(tiny, "grad_align", lam=0.0, variant=variant))
    assert torch.equal(one, trained(tiny, make(tiny, base)))


@pytest.mark.parametrize(
    ("data", "k", "lam"),
    [
        ("cifar10", 4, 0.063),
        ("cifar10", 8, 0.2),
        ("cifar10", 12, 0.632),
        ("cifar10", 16, 2.0),
        ("cifar10", 51, 2.0),
        ("svhn", 8, 2.5),
        ("svhn", 12, 3.162),
    ],
)
def test_grad_align_weighs_as_the_authors_scripts(data, k, lam):
    method = load("grad_align")
    settings = method.presets.get(data, {})
    assert method(eps=k / 255, **settings).weight == pytest.approx(lam, abs=5e-4)
    assert method(eps=k / 255, growth=1.0).weight == 0.2


class Tanh(nn.Module):
    """Four pixels, three hidden units, three classes, in float64."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.v = nn.Parameter(torch.randn(3, 4, generator=generator, dtype=torch.float64))
        self.w = nn.Parameter(torch.randn(3, 3, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return (x.flatten(1) @ self.v.T).tanh() @ self.w.T

    def gradient(self, x, y):
        """d CE / d x for every image, written out."""
        hidden = (x.flatten(1) @ self.v.T).tanh()
        p = (hidden @ self.w.T).softmax(1) - F.one_hot(y, 3)
        return ((p @ self.w) * (1 - hidden.square())) @ self.v


@pytest.mark.parametrize("variant", ["official", "sora_bench"])
def test_grad_align_descends_on_the_written_out_second_derivative(tiny, variant):
    net, y, eps = Tanh(), torch.tensor([0, 1, 2]), 0.25
    x = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    seen = tiny.step(load("grad_align")(eps=eps, lam=7.0, growth=1.0, variant=variant), net, x, y)
    loss = seen["loss"](seen["at"])
    torch.manual_seed(5)
    eta = uniform(x, eps) if variant == "official" else box(uniform(x, eps), x)
    assert ((x + eta).max() > 1) == (variant == "official")  # this noise leaves the image
    one, two = net.gradient(x, y).detach(), net.gradient(x + eta, y)
    cos = (one * two).sum(1) / (one.square().sum(1) * two.square().sum(1)).sqrt()
    expected = F.cross_entropy(net(seen["at"]), y) + 7 * (1 - cos.mean())
    assert torch.allclose(loss, expected, atol=1e-12)
    for mine, true in zip(
        torch.autograd.grad(loss, [net.v, net.w]),
        torch.autograd.grad(expected, [net.v, net.w]),
        strict=True,
    ):
        assert torch.allclose(mine, true, atol=1e-10)


@pytest.mark.parametrize("variant", ["official", "sora_bench"])
def test_grad_align_leaves_images_without_gradient_out(tiny, variant):
    class Dead(nn.Module):
        """A linear loss above 0.5, where all gradients are parallel, and none below."""

        def __init__(self):
            super().__init__()
            self.inner = Linear(1.0, -3.0)

        def forward(self, x):
            return self.inner((x - 0.5).relu())

    net, y = Dead(), torch.tensor([0, 1])
    x = torch.tensor([0.2, 0.8])[:, None, None, None].expand(2, 1, 1, 2)
    for rows in (slice(2), slice(1)):  # one of two, and all
        seen = tiny.step(make(tiny, "grad_align", variant=variant), net, x[rows], y[rows])
        loss = seen["loss"](seen["at"])
        assert loss.item() == pytest.approx(ce(net, y[rows])(seen["at"]).item(), abs=1e-6)
        assert torch.autograd.grad(loss, net.inner.w)[0].isfinite().all()


# NuAT


class Pixels(nn.Module):
    """Two pixels are the two logits, so that a change of logits is a change of pixels."""

    def forward(self, x):
        return x.flatten(1)


def nuat(tiny, variant="official", epochs=30, odd=None, lam=None):
    method = make(tiny, "nuat", variant=variant)
    state = method.init(Run(torch.device("cpu"), (8, 1, 1, 2), None, epochs, 8, 2))
    for tensor, value in ((state.odd, odd), (state.lam, lam)):
        tensor.fill_(tensor if value is None else value)
    return method, state


def test_nuat_without_nuclear_norm_is_standard(tiny):
    one = trained(tiny, make(tiny, "nuat", lam=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "standard")), atol=1e-6)


@pytest.mark.parametrize(("variant", "largest"), [("official", 1.0), ("sora_bench", 1.5)])
def test_nuat_loss_has_the_hand_computed_nuclear_norm(tiny, variant, largest):
    """Two images: s_1 + s_2 = sqrt(|D|_F^2 + 2 |det D|). One, the short batch: Euclid's norm."""
    for images in (2, 1):
        method, state = nuat(tiny, variant, odd=0, lam=3.0)
        seen = tiny.step(method, Pixels(), GREY[:images], LABELS[:images], state)
        change = (seen["d"].flatten(1) / tiny.eps).tolist()
        (a, b), (c, d) = change if images == 2 else (*change, (0, 0))
        norm = tiny.eps * math.sqrt(a * a + b * b + c * c + d * d + 2 * abs(a * d - b * c))
        expected = math.log(2) + 3 * norm / images
        assert seen["loss"](seen["at"]).item() == pytest.approx(expected, abs=1e-6)
        assert max(abs(v) for row in change for v in row) == pytest.approx(largest, abs=1e-4)


@pytest.mark.parametrize("odd", [0, 1])
def test_nuat_attacks_the_nuclear_norm_in_odd_batches_only(tiny, odd):
    """For one image the norm is Euclid's, so its gradient at e is e / |e|, and |e_i| is eps / 2."""
    x, y = GREY[:1], LABELS[:1]
    method, state = nuat(tiny, odd=odd, lam=3.0)
    g = tiny.step(method, Pixels(), x, y, state)["g"]
    torch.manual_seed(5)
    e = 0.5 * tiny.eps * (2 * torch.empty_like(x).bernoulli_() - 1)
    expected = grad(ce(Pixels(), y), at=x + e) + odd * 3 * e.sign() / math.sqrt(2)
    assert torch.allclose(g, expected, atol=1e-5)
    assert state.odd.item() == 1 - odd


def test_nuat_ramp_ends_ten_epochs_before_the_run_and_every_epoch_starts_even(tiny):
    method, state = nuat(tiny, epochs=30)
    for epoch in range(30):
        state.odd.fill_(1)
        method.on_epoch(None, state, epoch)
        assert state.lam.item() == pytest.approx(4.5 * min(epoch / 20, 1))
        assert state.odd.item() == 0
    method, state = nuat(tiny, epochs=30, variant="sora_bench")
    method.on_epoch(None, state, 0)
    tiny.step(method, Pixels(), GREY, LABELS, state)
    assert (state.lam.item(), state.odd.item()) == (4.5, 1)


@pytest.mark.parametrize(
    ("which", "settings", "passes"),
    [
        ("nuat", {}, 3),
        ("nuat", {"variant": "sora_bench"}, 4),
        ("trades", {}, 2),
    ],
)
def test_batch_statistics_see_the_passes_the_source_says(tiny, which, settings, passes):
    trainer = tiny.trainer(make(tiny, which, **settings))
    trainer.advance(1)
    assert trainer.net.body[1].num_batches_tracked.item() == passes


# TRADES


def test_trades_without_divergence_is_standard(tiny):
    one = trained(tiny, make(tiny, "trades", beta=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "standard")), atol=1e-6)


def test_trades_walks_from_its_noise_to_the_corner_of_a_linear_net(tiny):
    """KL grows on both sides of f(x); the noise says to which one, w to which corner."""
    net = Linear(1.0, -3.0)
    d = tiny.step(make(tiny, "trades"), net, GREY, LABELS)["d"].flatten(1)
    torch.manual_seed(5)
    side = (torch.randn_like(GREY).flatten(1) @ net.w).sign()
    assert set(side.tolist()) == {-1.0, 1.0}
    assert torch.allclose(d, tiny.eps * side[:, None] * net.w.sign(), atol=1e-6)


def test_trades_loss_descends_through_both_predictions(tiny):
    net = Linear(1.0, -3.0)
    seen = tiny.step(make(tiny, "trades", beta=5.0), net, GREY, LABELS)
    p, q = net(GREY).softmax(1), net(seen["at"]).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    expected = F.cross_entropy(net(GREY), LABELS) + 5 * divergence
    loss = seen["loss"](seen["at"])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    one, two = (torch.autograd.grad(value, net.w)[0] for value in (loss, expected))
    assert torch.allclose(one, two, atol=1e-5)
