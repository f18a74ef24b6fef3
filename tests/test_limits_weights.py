"""AWP and LAP, which move the weights themselves: formulas and limits."""

import math

import pytest
import torch
from formulas import EPS, boxed, cut, follow, nll, noise, slope
from limits import check_cost, make, trained

from methods import load
from methods.lap import BETAS


def grown(net, by):
    with torch.no_grad():
        for weight, v in zip(net.parameters(), by, strict=True):
            weight += v


def kl(p, q):
    """KL(softmax p || softmax q), mean over the batch."""
    p, q = p.log_softmax(1), q.log_softmax(1)
    return (p.exp() * (p - q)).sum() / len(p)


# AWP


BASES = ["fgsm_rs", "pgd", "trades"]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("t", [0.0, 0.044, 0.5])
def test_awp_is_its_formula(base, t):
    by = []

    def formula(net, x, y, k):
        def loss():
            if base != "trades":
                return nll(net(x + d), y).mean()
            clean, attacked = net(x), net(x + d)
            return nll(clean, y).mean() + 6 * kl(clean, attacked)

        if base == "trades":
            net.eval()
            clean, d = net(x).detach(), 0.001 * torch.randn_like(x)
            for _ in range(3):
                g = slope(lambda z: kl(clean, net(z)), x + d)
                d = cut(d + 0.25 * EPS * g.sign(), x)
            net.train()
        else:
            d = boxed(noise(x, EPS), x)
            for _ in range(3 if base == "pgd" else 1):
                g = slope(lambda z: nll(net(z), y).mean(), x + d)
                d = cut(d + (0.25 if base == "pgd" else 1.25) * EPS * g.sign(), x)
        before = [b.clone() for b in net.buffers()]
        weights = [*net.parameters()]
        climb = torch.autograd.grad(loss(), weights)
        for b, old in zip(net.buffers(), before, strict=True):
            b.copy_(old)  # the climb's statistics are lost
        gamma = 0.005 * (t >= 0.045) if base == "trades" else 0.01
        by[:] = [
            gamma * w.detach().norm() * v / v.norm() if w.dim() > 1 else torch.zeros_like(w)
            for w, v in zip(weights, climb, strict=True)
        ]
        grown(net, by)
        return x + d, loss()

    def back(net):
        grown(net, [-v for v in by])

    follow(load("awp")(eps=EPS, base=base, steps=3), formula, t=t, after=back)
    assert any(v.any() for v in by) == (base != "trades" or t >= 0.045)


@pytest.mark.parametrize("base", BASES)
def test_awp_costs_what_it_says(tiny, base):
    check_cost(tiny, make(tiny, "awp", base=base, steps=3))


@pytest.mark.parametrize(("base", "name"), [("fgsm_rs", "fgsm_rs"), ("pgd", "pgd10")])
@pytest.mark.parametrize("off", [{"gamma": 0.0}, {"start": 1.0}])
def test_awp_that_does_not_move_is_its_base(tiny, base, name, off):
    """Statistics of BatchNorm, too: those of the climb are lost."""
    nets = []
    for method in (make(tiny, "awp", base=base, **off), make(tiny, name)):
        trainer = tiny.trainer(method)
        trainer.fit()
        nets.append(trainer.net.state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])


def test_awp_over_trades_that_does_not_move_is_trades(tiny):
    one = trained(tiny, make(tiny, "awp", base="trades", gamma=0.0))
    assert torch.equal(one, trained(tiny, make(tiny, "trades")))


# LAP


@pytest.mark.parametrize("base", ["v", "r", "n"])
@pytest.mark.parametrize("direction", ["released", "ascent"])
def test_lap_is_its_formula(base, direction):
    """The helper's optimiser has no velocity and no decay: u = -G. Others are in test_trainer."""

    def formula(net, x, y, k):
        width = {"v": 0, "r": 1, "n": 2}[base]
        e = boxed(noise(x, width * EPS), x)
        z = (x + e).requires_grad_()
        weights = [*net.parameters()]
        g, *grads = torch.autograd.grad(nll(net(z), y).mean(), [z, *weights])
        if base == "n":
            d = boxed(e + EPS * g.sign(), x)
        else:
            d = cut(e + {"v": 1, "r": 1.25}[base] * EPS * g.sign(), x)
        big = [k for k, w in enumerate(weights) if w.dim() > 1]
        for order, k in enumerate(big):
            share = 1 - (math.log(order + 1) / math.log(len(big))) ** 0.3
            u = -grads[k] / grads[k].norm()
            u = u if direction == "released" else -u
            with torch.no_grad():
                weights[k] += 0.3 * share * weights[k].norm() * u
        return x + d, nll(net(x + d), y).mean()

    follow(load("lap")(eps=EPS, base=base, beta=0.3, direction=direction), formula)


@pytest.mark.parametrize(("base", "name"), [("v", "fgsm"), ("r", "fgsm_rs"), ("n", "n_fgsm")])
def test_lap_without_a_move_is_its_base(tiny, base, name):
    one = trained(tiny, make(tiny, "lap", base=base, beta=0.0))
    assert torch.equal(one, trained(tiny, make(tiny, name)))


def test_lap_moves_the_first_layer_by_beta_and_the_last_not_at_all(tiny):
    trainer = tiny.trainer(make(tiny, "lap", beta=0.25))
    trainer.advance(2)  # the optimiser has a velocity
    trainer.rates[:, 0] = 0  # from now on the move alone counts
    before = [w.detach().clone() for w in trainer.net.parameters()]
    trainer.advance(1)
    far = [
        ((w - old).norm() / old.norm()).item()
        for w, old in zip(trainer.net.parameters(), before, strict=True)
    ]
    layers = [k for k, w in enumerate(before) if w.dim() > 1]
    assert far[layers[0]] == pytest.approx(0.25, rel=1e-4)
    assert 0 < far[layers[1]] < 0.25
    assert far[layers[-1]] == 0
    assert all(far[k] == 0 for k in range(len(far)) if k not in layers)


@pytest.mark.parametrize("level", [8, 12, 16, 32, 9, 51])
def test_lap_takes_the_published_beta_of_the_nearest_radius(level):
    method = load("lap")(eps=level / 255, base="r")
    near = {9: 8, 51: 32}.get(level, level)
    assert method.published_beta == BETAS["r"][near]
