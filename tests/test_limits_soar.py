"""SOAR's limits: losses whose second order is known, and its parts switched off."""

import dataclasses

import pytest
import torch
from formulas import EPS, Small, boxed, cut, follow, nll, noise, passes_in_training_mode, slope
from torch import nn

from bench.ops import ce
from methods import load


def make(tiny, **settings):
    return load("soar")(eps=tiny.eps, **settings)


class Quadratic(nn.Module):
    """Two logits whose cross-entropy for label 0 is, to the second order, a quadratic of x.

    The logit -s with label 0 against s has the loss softplus(2 s); s is small, so the loss is
    nearly log 2 + s. Here s = scale (x'Ax / 2 + b'x).
    """

    def __init__(self, a, b, scale):
        super().__init__()
        self.a, self.b, self.scale = nn.Parameter(a), nn.Parameter(b), scale

    def forward(self, x):
        v = x.flatten(1)
        s = self.scale * ((v @ self.a * v).sum(1) / 2 + v @ self.b)
        return torch.stack([-s, s], 1)


def moments(method, net, x, y, draws):
    """The mean of N^2 over draws, of one image."""
    found = []
    factor = (x[0].numel() * (method.eps / 2) ** 2 + 1) / 2
    for seed in range(draws):
        torch.manual_seed(seed)
        found.append((method.penalty(net, x, y).item() / factor) ** 2)
    return sum(found) / draws


def test_mean_square_of_n_is_that_of_hessian_and_gradient(tiny):
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    a, b = a + a.T, torch.randn(4, generator=generator, dtype=torch.float64)
    scale = 1e-4
    net = Quadratic(a, b, scale)
    x, y = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    g, h = scale * (a @ x.flatten() + b), scale * a
    whole = (h.square().sum() + 2 * g.square().sum()).item() + 1
    small = moments(make(tiny, clip_value=0.0), net, x, y, 4000)
    assert small == pytest.approx(whole, rel=0.05)
    # without z_1, which is most of it, what is left is the square of the Hessian's norm
    torch.manual_seed(0)
    z = torch.randn(20_000, 4, dtype=torch.float64)
    assert (z @ h).square().sum(1).mean().item() == pytest.approx(h.square().sum().item(), rel=0.05)


def test_finite_difference_is_the_hessian_times_z(tiny):
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    net = Quadratic(a + a.T, torch.zeros(4, dtype=torch.float64), 1e3)
    x, y = torch.full((1, 1, 2, 2), 1e-4, dtype=torch.float64), torch.tensor([0])
    method = make(tiny, clip_value=0.0, h=1e-7)
    torch.manual_seed(1)
    found = method.penalty(net, x, y).item()
    torch.manual_seed(1)
    z, z1 = torch.randn_like(x).flatten(), torch.randn_like(x[:, 0, 0, 0])
    at = x.flatten().requires_grad_()
    hessian = torch.autograd.functional.hessian(lambda v: ce(net, y)(v.view_as(x)), at)
    (g,) = torch.autograd.grad(ce(net, y)(at.view_as(x)), at)
    n = torch.cat([hessian @ z + z1 * g, (g @ z + z1)]).norm()
    factor = (4 * (tiny.eps / 2) ** 2 + 1) / 2
    assert found == pytest.approx((factor * n).item(), rel=1e-4)


def test_images_are_weighed_one_by_one(tiny):
    """By the mean of the batch, N of twice the batch would be another."""
    net, (x, y) = tiny.net(norm=False).eval(), tiny.data()
    x, y = x[:4].float() / 255, y[:4]
    first, second = make(tiny, order="1"), make(tiny, order="1", reduction="mean")
    assert first.penalty(net, x, y).item() == pytest.approx(
        4 * second.penalty(net, x, y).item(), rel=1e-5
    )


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_foar_penalises_the_dual_norm_of_the_gradient(tiny, norm):
    net, (x, y) = tiny.net(norm=False).eval(), tiny.data()
    x, y = x[:4].float() / 255, y[:4]
    method = make(tiny, order="1", norm=norm)
    z = x.clone().requires_grad_()
    g = torch.autograd.grad(4 * ce(net, y)(z), z)[0].flatten(1)
    size = g.abs().sum(1) if norm == "Linf" else g.square().sum(1).sqrt()
    assert method.penalty(net, x, y).item() == pytest.approx(
        tiny.eps * size.mean().item(), rel=1e-5
    )


def steps(tiny, method):
    """Weights after one update without BatchNorm, and those before."""
    net = tiny.net(norm=False)
    before = tiny.weights(net)
    trainer = tiny.trainer(method, net=net)
    torch.manual_seed(7)
    trainer.advance(1)
    return tiny.weights(trainer.net), before


def test_order_one_without_radius_is_standard_training(tiny):
    still = dataclasses.replace(make(tiny, order="1", start="zero"), eps=1e-30)
    one, _ = steps(tiny, still)
    two, _ = steps(tiny, load("standard")(eps=tiny.eps))
    assert torch.allclose(one, two, atol=1e-7)


def test_only_the_gradient_of_the_penalty_is_clipped(tiny):
    """As its norm goes to 0, the step becomes that of the loss alone, which is not clipped."""
    plain, before = steps(tiny, make(tiny, start="zero", clip_norm=1e-12))
    other, _ = steps(tiny, load("standard")(eps=tiny.eps))
    assert torch.allclose(plain, other, atol=1e-7)
    whole, _ = steps(tiny, make(tiny, start="zero", clip_norm=0.0))
    clipped, _ = steps(tiny, make(tiny, start="zero", clip_norm=0.01))
    more, less = whole - other, clipped - other
    assert torch.cosine_similarity(more, less, dim=0).item() == pytest.approx(1, abs=1e-4)
    assert more.norm() > 2 * less.norm() > 0
    assert not torch.equal(other, before)


def test_n_beyond_the_clip_has_no_gradient(tiny):
    one, _ = steps(tiny, make(tiny, start="zero", clip_value=1e-6))
    two, _ = steps(tiny, load("standard")(eps=tiny.eps))
    assert torch.equal(one, two)


@pytest.mark.parametrize(("start", "moved"), [("zero", False), ("rand", True), ("pgd1", True)])
def test_starts_stay_within_half_of_eps(tiny, start, moved):
    net, (x, y) = tiny.net(), tiny.data()
    x, y = x[:4].float() / 255, y[:4]
    seen = tiny.step(make(tiny, start=start), net, x, y)
    assert bool(seen["d"].any()) == moved
    assert seen["d"].abs().max() <= tiny.eps / 2 + 1e-6
    assert (seen["g"] is None) == (start != "pgd1")


@pytest.mark.parametrize("start", ["pgd1", "rand", "zero"])
@pytest.mark.parametrize(("order", "clip_value", "clip_norm"), [
    ("2", 10.0, 10.0), ("2", 0.0, 0.0), ("2", 1.0, 0.1), ("1", 10.0, 0.1), ("1", 10.0, 0.0),
])  # fmt: skip
def test_soar_is_its_formula(start, order, clip_value, clip_norm):
    extra, q = [], EPS / 2

    def slopes(net, at, y):
        return torch.stack([
            torch.autograd.grad(loss, at, retain_graph=True, create_graph=True)[0][i]
            for i, loss in enumerate(nll(net(at), y))
        ])  # fmt: skip

    def formula(net, x, y, k):
        d = torch.zeros_like(x) if start == "zero" else boxed(noise(x, q), x)
        if start == "pgd1":
            net.eval()
            d = cut(d + q * slope(lambda z: nll(net(z), y).mean(), x + d).sign(), x, q)
            net.train()
        at = (x + d).requires_grad_()
        g = slopes(net, at, y)
        if order == "1":
            penalty = EPS * sum(one.abs().sum() for one in g) / len(x)
        else:
            z, z1 = torch.randn_like(x), torch.randn_like(x[:, 0, 0, 0])
            lengths = [one.square().sum().sqrt() for one in z]
            u = torch.stack([one / length for one, length in zip(z, lengths, strict=True)])
            there = slopes(net, (at + 0.01 * u).detach().requires_grad_(), y)
            penalty = 0
            for i, length in enumerate(lengths):
                hz = length * (there[i] - g[i]) / 0.01
                last = (g[i] * z[i]).sum() + z1[i]
                n = ((hz + z1[i] * g[i]).square().sum() + last.square()).sqrt()
                n = n.clamp(max=clip_value) if clip_value else n
                penalty = penalty + (4 * q**2 + 1) / 2 * n / len(x)
        grads = torch.autograd.grad(penalty, [*net.parameters()])
        size = sum(h.square().sum() for h in grads).sqrt()
        scale = min(1, clip_norm / (size + 1e-6)) if clip_norm else 1
        extra[:] = [scale * h for h in grads]
        return x + d, nll(net(x + d), y).mean()

    def after(net):
        with torch.no_grad():
            for weight, h in zip(net.parameters(), extra, strict=True):
                weight -= 0.1 * h

    settings = {"clip_value": clip_value, "clip_norm": clip_norm, "order": order, "start": start}
    net = Small()  # as in the source without BatchNorm, through which images would be one loss
    net.features[4] = nn.Identity()
    follow(load("soar")(eps=EPS, **settings), formula, after=after, net=net)


def test_soar_attacks_with_batchnorm_frozen():
    """Three passes take statistics: at x', at x' + h u, and the update's."""
    assert passes_in_training_mode(load("soar")(eps=EPS)) == 3
