"""Settings that methods gained later: GradAlign's PGD and Free-AT, SORA's ablations."""

import copy
import math

import pytest
import torch
from formulas import EPS, boxed, cut, follow, nll, noise, slope
from limits import check_cost, make, trained

from bench.method import State
from bench.runs import catalogue
from methods import load


@pytest.mark.parametrize("which", ["pgd10", "grad_align", "free_at", "sora"])
def test_ids_of_published_runs_do_not_name_later_settings(which):
    assert (
        catalogue.added_settings(which).keys()
        == {
            "pgd10": {"corner", "start", "bn", "ramp"},
            "grad_align": {"attack", "ramp"},
            "free_at": {"fresh"},
            "sora": {"draw", "adapt", "cap"},
        }[which]
    )


@pytest.mark.parametrize(
    ("which", "settings"),
    [("grad_align", {"attack": "pgd2"}), ("free_at", {"fresh": True, "m": 3})],
)
def test_cost_of_later_settings_is_as_declared(tiny, which, settings):
    check_cost(tiny, make(tiny, which, **settings))


# PGD


@pytest.mark.parametrize("start", ["uniform", "zero"])
@pytest.mark.parametrize("bn", ["train", "eval"])
@pytest.mark.parametrize(("corner", "ramp"), [(False, 0.0), (True, 0.5)])
def test_pgd_is_its_formula(start, bn, corner, ramp):
    t = 0.25
    eps = EPS * (t / ramp if ramp else 1)

    def formula(net, x, y, k):
        net.train(bn == "train")
        d = boxed(noise(x, EPS) * eps / EPS, x) if start == "uniform" else torch.zeros_like(x)
        for _ in range(3):
            g = slope(lambda z: nll(net(z), y).mean(), x + d)
            d = cut(d + 0.25 * eps * g.sign(), x, eps)
        net.train()
        d = cut(eps * d.sign(), x, eps) if corner else d
        return x + d, nll(net(x + d), y).mean()

    settings = {"start": start, "bn": bn, "corner": corner, "ramp": ramp}
    follow(load("pgd10")(eps=EPS, steps=3, **settings), formula, t=t)


def test_pgd_from_zero_by_one_step_of_eps_is_fgsm(tiny):
    one = trained(tiny, make(tiny, "pgd10", start="zero", steps=1, alpha=1.0))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm")))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("start", ["zero", "uniform"])
def test_a_ramp_of_pgd_begins_at_the_image_and_ends_at_eps(tiny, norm, start):
    net, (x, y) = tiny.net(), tiny.data()
    method = make(tiny, "pgd10", norm=norm, start=start, ramp=0.5, corner=True)
    first = tiny.step(method, net, 0.3 + 0.4 * x / 255, y)  # t = 0
    assert first["d"].isfinite().all()
    assert first["d"].abs().max() < 1e-6
    whole = load("pgd10")(eps=tiny.eps, norm=norm, ramp=1e-9, start=start, corner=True)
    trainer = tiny.trainer(whole)
    batch = trainer.batches.take(0, 0, torch.tensor(0.5))
    seen = []
    trainer.method.step(
        trainer.net, batch, trainer.state, lambda loss, at, g=None: seen.append(at - batch.x)
    )
    assert whole.threat.length(seen[0]).max().item() == pytest.approx(tiny.eps, rel=1e-3)


# GradAlign


@pytest.mark.parametrize("attack", ["fgsm", "pgd2"])
@pytest.mark.parametrize(("t", "ramp"), [(0.0, 0.0), (0.25, 0.5)])
def test_grad_align_is_its_formula(attack, t, ramp):
    def formula(net, x, y, k):
        grown = t / ramp if ramp else 1
        g1 = slope(lambda z: nll(net(z), y).mean(), x)
        if attack == "fgsm":
            d = cut(1.25 * EPS * grown * g1.sign(), x)
        else:
            d = cut(0.5 * EPS * grown * g1.sign(), x)
            g = slope(lambda z: nll(net(z), y).mean(), x + d)
            d = cut(d + 0.5 * EPS * grown * g.sign(), x)
        z = (x + noise(x, EPS)).requires_grad_()
        fit = nll(net(x + d), y).mean()
        (g2,) = torch.autograd.grad(nll(net(z), y).mean(), z, create_graph=True)
        a, b = g1.flatten(1), g2.flatten(1)
        cos = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        lam = 0.2 * 10 ** (min(255 * EPS, 16) / 8 - 1)
        return x + d, fit + lam * (1 - cos).mean()

    follow(load("grad_align")(eps=EPS, attack=attack, ramp=ramp), formula, t=t)


def test_grad_align_off_with_pgd2_is_pgd_of_two_steps_from_the_image(tiny):
    one = trained(tiny, make(tiny, "grad_align", lam=0.0, attack="pgd2"))
    two = trained(tiny, make(tiny, "pgd10", start="zero", steps=2, alpha=0.5))
    assert torch.allclose(one, two, atol=1e-6)


def test_grad_aligns_variant_refuses_the_other_attack(tiny):
    with pytest.raises(ValueError, match="leave out attack or variant"):
        tiny.trainer(make(tiny, "grad_align", attack="pgd2", variant="sora_bench"))


# Free-AT


def test_free_at_that_attacks_anew_is_its_formula():
    """Of one replay, as the helper follows one update a step; d is carried over."""
    kept = torch.zeros(5, 1, 2, 2, dtype=torch.float64)

    def formula(net, x, y, k):
        g = slope(lambda z: nll(net(z), y).mean(), (x + kept).clamp(0, 1))
        kept.copy_(cut(kept + EPS * g.sign(), x))
        return x + kept, nll(net(x + kept), y).mean()

    state = State(d=torch.zeros_like(kept))
    follow(load("free_at")(eps=EPS, m=1, fresh=True), formula, state=state)
    assert torch.allclose(state.d, kept, atol=1e-10, rtol=0)


def test_free_at_fresh_attacks_each_replay(tiny):
    trainer = tiny.trainer(make(tiny, "free_at", fresh=True, m=3))
    batch = trainer.batches.take(0, 0, torch.zeros(()))
    seen = []

    def descend(loss, at, g=None, edit=None):
        seen.append(g)
        return torch.full_like(at, torch.nan)  # is of no use to it

    trainer.method.step(trainer.net, batch, trainer.state, descend)
    assert len(seen) == 3
    assert all(g.isfinite().all() for g in seen)
    assert trainer.state.d.isfinite().all()


# SORA


@pytest.mark.parametrize("draw", ["pixel", "image", "none"])
@pytest.mark.parametrize(("adapt", "cap"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("rule", ["code", "paper"])
def test_sora_is_its_formula(draw, adapt, cap, rule):
    c = torch.tensor(0.99, dtype=torch.float64)
    sizes = []

    def formula(net, x, y, k):
        eta = boxed(noise(x, EPS), x)
        g = slope(lambda z: nll(net(z), y).mean(), x + eta)
        shape = {"pixel": x.shape, "image": (len(x), 1, 1, 1), "none": ()}[draw]
        u = torch.rand(shape, dtype=x.dtype) if shape else 1
        a = (0.02 * 2 * EPS if rule == "code" else 0.02) / (1 - c)
        a = min(a, 2 * EPS) if cap else a
        a = a if adapt else 2 * EPS
        sizes.append(float(a))
        d = boxed(eta + a * u * g.sign(), x)
        twin = copy.deepcopy(net)  # BatchNorm sees the pass at x + d once
        h = slope(lambda z: nll(twin(z), y).mean(), x + d)
        r = [(g[i].sign() * h[i]).sum() / g[i].abs().sum() for i in range(len(x))]
        c.lerp_((sum(r) / len(x)).clamp(-1, 1), 0.05)
        return x + d, nll(net(x + d), y).mean()

    state = State(c=torch.tensor(0.99, dtype=torch.float64))
    follow(load("sora")(eps=EPS, draw=draw, adapt=adapt, cap=cap, rule=rule), formula, state=state)
    assert torch.allclose(state.c, c, atol=1e-10, rtol=0)
    assert cap or sizes[0] > 0.1


def test_sora_without_a_cap_stays_in_no_ball_but_in_the_box(tiny):
    method = make(tiny, "sora", cap=False, tau=100.0)
    assert method.reach == math.inf
    assert make(tiny, "sora", cap=False, adapt=False).reach == 3
    assert trained(tiny, method).isfinite().all()
    seen = tiny.step(method, tiny.net(), tiny.data()[0] / 255, tiny.data()[1],
                     State(c=torch.tensor(1.0)))  # fmt: skip
    assert seen["d"].abs().max() > 10 * tiny.eps


def test_sora_with_a_fixed_whole_step_is_fgsm_from_noise(tiny):
    (x, y), net = tiny.data(), tiny.net()
    state = State(c=torch.tensor(0.5))
    one = tiny.step(make(tiny, "sora", adapt=False, draw="none"), net, x / 255, y, state)
    two = tiny.step(make(tiny, "n_fgsm", k=1.0, alpha=2.0), net, x / 255, y)
    assert torch.allclose(one["at"], two["at"], atol=1e-6)


def test_sora_without_a_cap_stays_put_where_there_is_no_gradient(tiny):
    """With c = 1 the step has no end, and times a sign of 0 it would be no number."""

    class Flat(torch.nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :2]

    x, y = torch.full((2, 1, 1, 2), 0.5), torch.tensor([0, 1])
    seen = tiny.step(make(tiny, "sora", cap=False), Flat(), x, y, State(c=torch.tensor(1.0)))
    assert seen["d"].abs().max() <= tiny.eps + 1e-6
