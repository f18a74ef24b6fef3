"""SEAT, CURE, LLR and Fast-BAT, which look at the loss beside its tangent: formulas and limits."""

import math

import pytest
import torch
from formulas import (
    EPS,
    at_label,
    boxed,
    coins,
    cut,
    follow,
    largest_other,
    nll,
    noise,
    passes_in_training_mode,
    slope,
    squares,
)
from limits import check_cost, make, trained
from torch import nn

from bench.ops import uniform
from methods import load


def curved(f, at):
    """The gradient of a scalar function of images, to be differentiated again."""
    z = at.detach().requires_grad_()
    return torch.autograd.grad(f(z), z, create_graph=True)[0]


class LossIs(nn.Module):
    """Two logits whose cross-entropy against label 0 is affine in the pixels."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))

    def forward(self, x):
        z = -torch.expm1(1 + x.flatten(1) @ self.w).log()
        return torch.stack([z, torch.zeros_like(z)], 1)


# SEAT


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("attack", ["margin", "ce"])
@pytest.mark.parametrize(("lam", "b"), [(-1.0, 0.0), (0.3, 2.0), (0.0, 0.0)])
def test_seat_is_its_formula(form, attack, lam, b):
    weight = {"code": 0.6, "paper": 0.5}[form] if lam < 0 else lam

    def formula(net, x, y, k):
        def lin(found, line):
            if form == "code":
                return (found.mean() - line.mean()).abs()
            return sum((a - c).abs() for a, c in zip(found, line, strict=True)) / len(x)

        z = x.clone().requires_grad_()
        start = nll(net(z), y)
        (g,) = torch.autograd.grad(start.sum(), z)
        start = start.detach()
        e = boxed(EPS * coins(x), x)

        def climb(z):
            out = net(z)
            s, each = out.softmax(1), nll(out, y)
            m = (largest_other(s, y) - at_label(s, y)).mean() if attack == "margin" else each.mean()
            return m + weight * lin(each, start + (e * g).flatten(1).sum(1))

        d = cut(e + EPS * slope(climb, x + e).sign(), x)
        attacked, z = nll(net(x + d), y), x.clone().requires_grad_()
        clean = nll(net(z), y)
        if form == "paper":
            (g,) = torch.autograd.grad(clean.sum(), z, create_graph=True)
        off = lin(attacked, clean + (d * g).flatten(1).sum(1))
        return x + d, (attacked.mean() - b).abs() + b + weight * off

    follow(load("seat")(eps=EPS, form=form, attack=attack, lam=lam, b=b), formula)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_seat_without_its_terms_from_uniform_noise_is_fgsm_rs(tiny, monkeypatch, form):
    monkeypatch.setattr("methods.seat.corner", uniform)
    one = trained(tiny, make(tiny, "seat", lam=0.0, attack="ce", form=form))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm_rs", alpha=1.0)))


@pytest.mark.parametrize("form", ["code", "paper"])
def test_seat_asks_nothing_of_an_affine_loss(tiny, form):
    x, y = torch.full((2, 1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([0, 0])
    net = LossIs()
    seen = tiny.step(make(tiny, "seat", lam=1e3, form=form), net, x, y)
    value = seen["loss"](seen["at"]).item()
    assert value == pytest.approx(nll(net(seen["at"]), y).mean().item(), abs=1e-9)


# CURE


@pytest.mark.parametrize(("form", "h", "gamma"), [("code", 0.345, 0.8), ("paper", 0.86, 4.0)])
@pytest.mark.parametrize(("t", "risen"), [(0.0, 1 / 30), (0.25, 8 / 30), (0.4, 1), (0.99, 1)])
def test_cure_is_its_formula(form, h, gamma, t, risen):
    def formula(net, x, y, k):
        fit = nll(net(x), y).mean()
        net.eval()
        g = curved(lambda z: nll(net(z), y).sum(), x)
        signs = g.detach().sign()
        length = signs.square().flatten(1).sum(1).sqrt()[:, None, None, None]
        size = h * EPS * torch.tensor(risen)  # float32, as the method's state
        z = size * 2 * (signs + 1e-7) / (length + 1e-7)  # sqrt(4 pixels) is 2
        turn = curved(lambda z: nll(net(z), y).sum(), x + z) - g
        net.train()
        r = squares(turn)
        return x, fit + gamma * (r.sqrt() if form == "code" else r).sum() / len(x)

    follow(load("cure")(eps=EPS, form=form), formula, t=t)


def test_cure_without_penalty_is_standard(tiny):
    one = trained(tiny, make(tiny, "cure", gamma=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "standard")), atol=1e-6)


# LLR


@pytest.mark.parametrize("steps", [1, 2])
def test_llr_is_its_formula(steps):
    def formula(net, x, y, k):
        z = x.clone().requires_grad_()
        clean = nll(net(z), y)
        (g,) = torch.autograd.grad(clean.sum(), z, create_graph=True)

        def off(z, clean, g):
            return (nll(net(z), y) - clean - ((z - x) * g).flatten(1).sum(1)).abs()

        d = boxed(noise(x, EPS), x)
        for _ in range(steps):
            up = slope(lambda z: off(z, clean.detach(), g.detach()).sum(), x + d)
            d = cut(d + EPS / 2 * up.sign(), x)
        along = (d * g).flatten(1).sum(1).abs()
        return x + d, (clean + 4 * off(x + d, clean, g) + 3 * along).sum() / len(x)

    follow(load("llr")(eps=EPS, steps=steps), formula)


def test_llr_without_penalties_is_standard(tiny):
    one = trained(tiny, make(tiny, "llr", lam=0.0, mu=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "standard")), atol=1e-6)


# Fast-BAT


@pytest.mark.parametrize("lam", [10.0, 0.1, math.inf])
def test_fast_bat_is_its_formula(lam):
    """At lam = inf it is two plain gradient steps."""
    alpha = 0.05

    def formula(net, x, y, k):
        def total(z):
            return nll(net(z), y).sum()

        z = boxed(noise(x, EPS), x)
        d1 = cut(z + alpha * slope(total, x + z), x)
        g1 = curved(total, x + d1)
        d2 = cut(d1 + alpha * g1.detach(), x)
        inside = torch.zeros_like(x)
        for i in range(x.numel()):
            low, high = max(-x.flatten()[i], -EPS) + 1e-7, min(1 - x.flatten()[i], EPS) - 1e-7
            inside.view(-1)[i] = float(low < d2.flatten()[i] < high)
        assert 0 < inside.mean() < 1
        at = (x + d2).requires_grad_()
        fit = total(at)
        (g2,) = torch.autograd.grad(fit, at, retain_graph=True)
        cross = (g1 * inside * g2.detach()).sum()
        return at, fit / len(x) + (0 if lam == math.inf else cross / (lam * len(x)))

    follow(load("fast_bat")(eps=EPS, alpha=alpha, lam=lam), formula)


def test_fast_bat_at_the_walls_has_no_implicit_gradient(tiny):
    one, two = (
        trained(tiny, make(tiny, "fast_bat", alpha=1e9, lam=lam)) for lam in (1e-3, math.inf)
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize(("eps", "alpha"), [(4, 5000), (8, 5000), (9, 2000), (16, 2000)])
def test_fast_bat_steps_as_published(eps, alpha):
    assert load("fast_bat")(eps=eps / 255).published_alpha == pytest.approx(alpha / 255)


@pytest.mark.parametrize(
    ("which", "passes"), [("seat", 4), ("cure", 1), ("llr", 4), ("fast_bat", 3)]
)
def test_batch_statistics_see_the_passes_the_source_says(which, passes):
    assert passes_in_training_mode(load(which)(eps=EPS)) == passes


@pytest.mark.parametrize(
    ("which", "settings"), [("seat", {"form": "paper"}), ("llr", {"steps": 1})]
)
def test_cost_of_other_settings_is_as_declared(tiny, which, settings):
    check_cost(tiny, make(tiny, which, **settings))
