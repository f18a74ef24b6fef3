"""FGSM-LAW, FGSM-SDI and FGSM-UAP by feature: second learners and features; formulas and limits."""

import pytest
import torch
import torch.nn.functional as F
from formulas import (
    CLASSES,
    EPS,
    boxed,
    climb,
    coins,
    cut,
    follow,
    mse,
    nll,
    noise,
    passes_in_training_mode,
    run_of,
    sce,
    slope,
)
from limits import make

from bench.ops import smooth, soft
from methods import load


def doubled(method, run=None):
    torch.manual_seed(11)
    state = method.init(run or run_of())
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor.double()
    return state


@pytest.mark.parametrize(
    ("which", "settings", "passes"),
    [("fgsm_law", {}, 3), ("fgsm_sdi", {}, 3), ("fgsm_uap", {"per": "feature"}, 4)],
)
def test_batch_statistics_see_the_passes_the_source_says(which, settings, passes):
    assert passes_in_training_mode(load(which)(eps=EPS, **settings)) == passes


@pytest.mark.parametrize(
    ("which", "settings"), [("fgsm_law", {}), ("fgsm_uap", {"per": "feature"})]
)
def test_networks_without_a_last_linear_layer_are_refused(tiny, which, settings):
    net = tiny.net()
    net.body.append(torch.nn.Identity())
    assert net.features is None
    with pytest.raises(ValueError, match="last linear layer reads"):
        tiny.trainer(make(tiny, which, **settings), net=net)


# FGSM-LAW


@pytest.mark.parametrize("anchor", ["clean", "noisy"])
def test_fgsm_law_is_its_formula(anchor):
    taus, qs = [], []

    def formula(net, x, y, k):
        e = boxed(EPS / 2 * coins(x), x)
        g = slope(lambda z: nll(net(z).softmax(1), y).mean(), x + e)
        d = cut(e + EPS * g.sign(), x)
        at = x if anchor == "clean" else x + e
        phi = net.features(at)
        out = net.head(phi)
        phi_d = net.features(x + d)
        out_d = net.head(phi_d)
        apart = mse(out_d.softmax(1), out.softmax(1)) + mse(phi_d.softmax(1), phi.softmax(1))
        before, after = ((o.argmax(1) == y).sum().item() for o in (out, out_d))
        before += anchor == "noisy"
        taken = sum(tau < 1 for tau in taus)
        q = after / before if before else float("inf")
        qs.append(q)
        taus.append(min(0.999, (taken + 1) / (taken + 10)) if q < r else 1.0)
        penalty = apart / (mse(x + d, at) + 0.125)
        return x + d, sce(out_d, soft(y, 0.7, CLASSES)) + 12 * penalty

    seen, r = [], 0.82 if anchor == "clean" else 0.6

    class Noting(load("fgsm_law")):
        def step(self, net, batch, state, descend):
            super().step(net, batch, state, descend)
            seen.append(state.tau.item())

    method = Noting(eps=EPS, anchor=anchor, r=r)
    follow(method, formula, state=doubled(method), steps=8)
    assert seen == pytest.approx(taus)
    assert min(qs) < r <= max(qs)


def test_fgsm_law_averages_nothing_where_nothing_is_right(tiny):
    method = make(tiny, "fgsm_law")
    state = method.init(run_of())
    zero, one = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    for before, after in ((zero, zero), (zero, one)):
        method.judge(state, torch.tensor([1]), before, after)
        assert state.tau == 1
        assert state.done == 0
    method.judge(state, torch.tensor([1]), one, zero)
    assert state.tau.item() == pytest.approx(0.1)
    assert state.done == 1


def test_fgsm_law_without_its_terms_is_fgsm_from_corners(tiny):
    net, (x, y) = tiny.net(), tiny.data()
    x = x / 255
    seen = tiny.step(make(tiny, "fgsm_law", lam=0.0, a=1.0), net, x, y, make(
        tiny, "fgsm_law").init(run_of(x)._replace(classes=4, features=32)))  # fmt: skip
    assert seen["loss"](seen["at"]).item() == pytest.approx(
        F.cross_entropy(net(seen["at"]), y).item(), rel=1e-5
    )


# FGSM-SDI


def normal(a):
    mean, var = a.mean((0, 2, 3), keepdim=True), a.var((0, 2, 3), keepdim=True, correction=0)
    return (a - mean) / (var + 1e-5).sqrt()


def test_fgsm_sdi_is_its_formula():
    method = load("fgsm_sdi")(eps=EPS, every=2)
    state = doubled(method)
    w = {k: v.clone().requires_grad_() for k, v in state.items()
         if k in ("stem", "scale", "shift", "one", "two", "last", "bias")}  # fmt: skip
    first = {k: v.detach().clone() for k, v in w.items()}
    adam = torch.optim.Adam(w.values(), lr=0.001, maximize=True)

    def generate(x, s):
        a = F.conv2d(torch.cat([x, s], 1), w["stem"], padding=1)
        a = normal(a) * w["scale"].view(1, -1, 1, 1) + w["shift"].view(1, -1, 1, 1)
        a = a.relu()
        a = a + F.conv2d(F.conv2d(a, w["one"], padding=1).relu(), w["two"], padding=1)
        return EPS * F.conv2d(normal(a), w["last"], w["bias"], padding=1).tanh()

    def formula(net, x, y, k):
        s = slope(lambda z: nll(net(z), y).mean(), x).sign()
        n = generate(x, s)
        g = slope(lambda z: nll(net(z), y).mean(), x + n.detach())
        t = soft(y, 0.5, CLASSES)
        moving = (n + EPS * g.sign()).clamp(-EPS, EPS)
        if k % 2 == 0:
            kept = [b.clone() for b in net.buffers()]
            climb = torch.autograd.grad(sce(net(x + moving), t), [*w.values()])
            for b, old in zip(net.buffers(), kept, strict=True):
                b.copy_(old)
            for weight, h in zip(w.values(), climb, strict=True):
                weight.grad = h
            adam.step()
        return x + moving.detach(), sce(net(x + moving.detach()), t)

    follow(method, formula, state=state, steps=4)
    assert all(torch.allclose(state[k], v, atol=1e-10, rtol=0) for k, v in w.items())
    assert not any(torch.equal(first[k], v) for k, v in w.items())


def test_fgsm_sdi_whose_generator_says_nothing_is_fgsm(tiny):
    method = make(tiny, "fgsm_sdi", a=1.0, lr=0.0)
    trainer = tiny.trainer(method)
    trainer.state["last"].zero_()
    trainer.state["bias"].zero_()
    (x, y), net = tiny.data(), tiny.net()
    x = 0.3 + 0.4 * x / 255  # no step leaves [0, 1]
    one = tiny.step(method, net, x, y, trainer.state)
    two = tiny.step(make(tiny, "fgsm"), net, x, y)
    assert torch.allclose(one["at"], two["at"], atol=1e-6)


def test_fgsm_sdi_teaches_its_generator_to_raise_the_loss(tiny):
    net, (x, y) = tiny.net(), tiny.data()
    x = x / 255
    method = make(tiny, "fgsm_sdi", lr=0.01, every=1)
    state = method.init(run_of(x)._replace(classes=4))
    losses = []
    for _ in range(10):
        seen = tiny.step(method, net, x, y, state)
        losses.append(seen["loss"](seen["at"]).item())
    assert losses[-1] > losses[0]


# FGSM-UAP by feature


def test_fgsm_uap_by_feature_is_its_formula():
    method = load("fgsm_uap")(eps=EPS, per="feature", r=1.5, M=3)
    state = doubled(method)
    w = {k: state[k].clone().requires_grad_() for k in ("a", "b", "h", "c")}
    adam = torch.optim.Adam(w.values(), lr=0.001)
    u, m, r = state.u.clone(), torch.zeros_like(state.u), 1.5 * EPS
    groups = set()

    def formula(net, x, y, k):
        t, n = smooth(y, 0.4, CLASSES), boxed(noise(x, EPS), x)
        p = net.features(x + n).detach()
        group = (p @ w["a"].t() + w["b"]).argmax(1).tolist()
        groups.update(group)
        adam.zero_grad()
        hidden = (p @ w["a"].t() + w["b"]).relu()
        sce(hidden @ w["h"].t() + w["c"], t).backward()
        adam.step()
        e = cut(n + torch.stack([u[j] for j in group]), x)
        g = slope(lambda z: sce(net(z), t), x + e)
        d = cut(e + EPS * g.sign(), x)
        first = net(x + e)
        out = net(x + d)
        climb(u, m, g, group, r)
        return x + d, sce(out, t) + 10 * mse(out, first)

    follow(method, formula, state=state)
    assert len(groups) > 1
    assert torch.allclose(state.u, u, atol=1e-10, rtol=0)
    assert all(torch.allclose(state[k], v, atol=1e-10, rtol=0) for k, v in w.items())


def test_fgsm_uap_of_one_group_without_noise_is_that_of_all(tiny, monkeypatch):
    import methods.fgsm_uap

    monkeypatch.setattr(methods.fgsm_uap, "uniform", lambda x, r: torch.zeros_like(x))
    (x, y), ends = tiny.data(), []
    x = x / 255
    run = run_of(x)._replace(classes=4, features=32)
    for settings in ({"per": "one"}, {"per": "feature", "M": 1}):
        method, net = make(tiny, "fgsm_uap", **settings), tiny.net().eval()
        torch.manual_seed(3)
        state = method.init(run)
        seen = [tiny.step(method, net, x, y, state)["at"] for _ in range(3)]
        ends.append([*seen, state.u])
    assert all(map(torch.equal, *ends))
