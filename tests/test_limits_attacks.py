"""SSAT, GAT, MART, Lp-FGSM and DOM, whose attack is the point: formulas and limits."""

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

from bench.method import State
from methods import load


@pytest.mark.parametrize(
    ("which", "passes"), [("ssat", 1), ("gat", 3), ("mart", 2), ("lp_fgsm", 2), ("dom", 3)]
)
def test_batch_statistics_see_the_passes_the_source_says(which, passes):
    assert passes_in_training_mode(load(which)(eps=EPS)) == passes


@pytest.mark.parametrize(
    ("which", "settings"),
    [("ssat", {"test_at": "clean"}), ("ssat", {"c": 5}), ("mart", {"steps": 3})],
)
def test_cost_of_other_settings_is_as_declared(tiny, which, settings):
    check_cost(tiny, make(tiny, which, **settings))


# SSAT


@pytest.mark.parametrize("c", [1, 3, 6])
@pytest.mark.parametrize("test_at", ["noisy", "clean"])
def test_ssat_is_its_formula(c, test_at):
    cuts, eps = set(), 0.4

    def formula(net, x, y, k):
        net.eval()
        eta = boxed(noise(x, eps), x)
        g = slope(lambda z: nll(net(z), y).mean(), x + eta)
        d = cut(eta + 1.25 * eps * g.sign(), x, eps)
        at = x.clone()
        for i in range(len(x)):

            def wrong(image, i=i):
                return net(image[None]).argmax().item() != y[i].item()

            parts = [j / c for j in range(1, c) if wrong(x[i] + j / c * d[i])] + [1]
            share = 0 if wrong(x[i] + eta[i] if test_at == "noisy" else x[i]) else parts[0]
            cuts.add(share)
            at[i] = x[i] + share * d[i]
        net.train()
        return at, nll(net(at), y).mean()

    follow(load("ssat")(eps=eps, c=c, test_at=test_at), formula, steps=8)
    assert {0, 1} <= cuts
    assert c < 6 or len(cuts) > 2


# GAT


@pytest.mark.parametrize(("t", "lam"), [(0.0, 10), (0.85, 10), (0.86, 40), (0.99, 40)])
def test_gat_is_its_formula(t, lam):
    def formula(net, x, y, k):
        def apart(one, two):
            return squares(one.softmax(1) - two.softmax(1)).sum() / len(x)

        clean = net(x).detach()
        e = boxed(EPS / 2 * coins(x), x)

        def climb(z):
            out = net(z)
            return nll(out, y).mean() + (lam * apart(out, clean) if k % 2 else 0)

        net.eval()
        d = cut(e + EPS * slope(climb, x + e).sign(), x)
        net.train()
        attacked = net(x + d)
        clean = net(x)
        return x + d, nll(clean, y).mean() + lam * apart(clean, attacked)

    follow(load("gat")(eps=EPS), formula, t=t, steps=4)


def test_gat_starts_every_epoch_with_cross_entropy_alone():
    state = State(odd=torch.ones(()))
    load("gat")().on_epoch(None, state, 3)
    assert state.odd.item() == 0


def test_gat_without_distance_is_standard(tiny):
    one = trained(tiny, make(tiny, "gat", lam=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "standard")), atol=1e-6)


# MART


@pytest.mark.parametrize(("beta", "steps"), [(5.0, 10), (5.0, 3), (0.0, 10)])
def test_mart_is_its_formula(beta, steps):
    def formula(net, x, y, k):
        net.eval()
        d = 0.001 * torch.randn_like(x)
        for _ in range(steps):
            g = slope(lambda z: nll(net(z), y).mean(), x + d)
            d = cut(d + 0.2258 * EPS * g.sign(), x)
        net.train()
        clean, attacked = net(x), net(x + d)
        p, q = clean.softmax(1), attacked.softmax(1)
        total = 0
        for i in range(len(x)):
            boosted = nll(attacked, y)[i] - (1.0001 - largest_other(q, y)[i] + 1e-12).log()
            kl = sum(p[i, j] * (p[i, j].log() - (q[i, j] + 1e-12).log()) for j in range(3))
            total = total + boosted + beta * (1.0000001 - at_label(p, y)[i]) * kl
        return x + d, total / len(x)

    follow(load("mart")(eps=EPS, beta=beta, steps=steps), formula)


# Lp-FGSM


@pytest.mark.parametrize("noisy", [True, False])
def test_lp_fgsm_is_its_formula(noisy):
    p, q = 16, 16 / 15

    def steepest(v):
        length = v.abs().pow(q).flatten(1).sum(1).pow(1 / q)[:, None, None, None]
        return v.sign() * (1e-12 + v.abs() / length) ** (q - 1)

    def formula(net, x, y, k):
        u = noise(x, 1) if noisy else torch.zeros_like(x)
        start = steepest(u) if noisy else u
        g = slope(lambda z: nll(net(z), y).mean(), x + EPS * start)
        at = x + EPS * u + EPS * steepest(g)
        assert at.min() < 0 or at.max() > 1 or k
        return at, nll(net(at), y).mean()

    follow(load("lp_fgsm")(eps=EPS, p=p, noise=noisy), formula)


@pytest.mark.parametrize("p", [2.0, 16.0, 64.0])
def test_lp_fgsm_steps_by_eps_in_its_norm(p):
    v = torch.randn(7, 3, 4, 4, dtype=torch.float64)
    steps = load("lp_fgsm")(p=p).steepest(v)
    assert torch.allclose(steps.flatten(1).norm(p, dim=1), torch.ones(7).double(), atol=1e-6)
    if p == 2:
        unit = v / v.flatten(1).norm(dim=1)[:, None, None, None]
        assert torch.allclose(steps, unit, atol=1e-9)


def test_lp_fgsm_with_p_without_bound_is_fgsm(tiny):
    (x, y), net = tiny.data(), tiny.net()
    x = 0.3 + 0.4 * x / 255  # no step leaves [0, 1]
    seen = [
        tiny.step(method, net, x, y)["at"]
        for method in (make(tiny, "lp_fgsm", p=1e9, noise=False), make(tiny, "fgsm"))
    ]
    assert torch.allclose(*seen, atol=1e-6)


def test_lp_fgsm_takes_no_step_without_a_gradient():
    steps = load("lp_fgsm")().steepest(torch.zeros(2, 1, 2, 2))
    assert torch.equal(steps, torch.zeros(2, 1, 2, 2))


# DOM


@pytest.mark.parametrize(("t", "on"), [(0.0, False), (0.49, False), (0.5, True), (0.9, True)])
def test_dom_is_its_formula(t, on):
    kept = []

    def formula(net, x, y, k):
        clean = nll(net(x), y)
        eta = boxed(noise(x, EPS), x)
        d = cut(eta + 1.25 * EPS * slope(lambda z: nll(net(z), y).mean(), x + eta).sign(), x)
        attacked, total = nll(net(x + d), y), 0
        for i in range(len(x)):
            keep = not on or clean[i] >= 0.7
            kept.append(bool(keep))
            total = total + (attacked[i] if keep else 0 * attacked[i])
        return x + d, total / len(x)  # by all images

    follow(load("dom")(eps=EPS, T=0.7), formula, t=t)
    assert any(kept)
    assert all(kept) != on


@pytest.mark.parametrize("settings", [{"T": 0.0, "start": 0.0}, {"T": math.inf, "start": 1.0}])
def test_dom_that_keeps_all_is_fgsm_rs(tiny, settings):
    one = trained(tiny, make(tiny, "dom", **settings))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm_rs")))


def test_dom_that_keeps_none_asks_nothing_of_the_weights(tiny):
    (x, y), net = tiny.data(), tiny.net()
    seen = tiny.step(make(tiny, "dom", T=math.inf, start=0.0), net, x / 255, y)
    value = seen["loss"](seen["at"])
    assert value.item() == 0
    assert all(not g.any() for g in torch.autograd.grad(value, [*net.parameters()]))
