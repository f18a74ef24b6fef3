"""Methods that start where an earlier visit ended, or that share a start: formulas and limits."""

import pytest
import torch
from formulas import (
    CLASSES,
    EPS,
    IMAGES,
    Small,
    at_label,
    boxed,
    climb,
    cut,
    follow,
    mse,
    nll,
    noise,
    passes_in_training_mode,
    run_of,
    sce,
    slope,
    squares,
)
from limits import make, trained

from bench.ops import noisy, smooth, soft
from methods import load

PARTS = (slice(0, 3), slice(3, 5), slice(1, 4))  # the second is short, the third comes again


def fresh(method):
    """State in double precision, so that formulas can be followed to the last digits."""
    torch.manual_seed(11)
    state = method.init(run_of())
    for name, tensor in state.items():
        if tensor.dim() > 1:
            state[name] = tensor.double()
    return state


@pytest.mark.parametrize(
    ("which", "passes"),
    [
        ("tdat", 3),
        ("fgsm_mep", 3),
        ("fgsm_uap", 3),
        ("fgsm_pco", 4),
        ("converge_smooth", 3),
        ("liet", 3),
        ("fgsm_pgk", 3),
    ],
)
def test_batch_statistics_see_the_passes_the_source_says(which, passes):
    assert passes_in_training_mode(load(which)(eps=EPS)) == passes


# TDAT


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("epoch", [0, 4, 9])
def test_tdat_is_its_formula(form, epoch):
    method = load("tdat")(eps=EPS, form=form)
    state = fresh(method)
    method.on_epoch(None, state, epoch)
    left = torch.tensor(1 - epoch / 10)
    gam = max(0.15, 0.6 * (left.tan() if form == "code" else left.tanh()).item())
    assert state.gam.item() == pytest.approx(gam, rel=1e-6)
    gam, kept = state.gam.clone(), state.M.clone()

    def formula(net, x, y, k):
        start = kept[: len(x)].clone()
        g = slope(lambda z: sce(net(z), soft(y, gam, CLASSES)), x + start)
        d = cut(start + EPS * g.sign(), x)
        first = net(x + start)
        out = net(x + d)
        doubt = (1 - at_label(first.softmax(1), y)).tanh()
        penalty = (doubt * squares(first - out)).sum() / len(x)
        kept[: len(x)] = d if form == "code" else 0.75 * start + 0.25 * d
        return x + d, sce(out, smooth(y, 1 - gam, CLASSES)) + 0.6 * penalty

    follow(method, formula, state=state, parts=PARTS)
    assert torch.allclose(state.M, kept, atol=1e-10, rtol=0)


def test_tdat_without_its_terms_is_fgsm(tiny, monkeypatch):
    monkeypatch.setattr("methods.tdat.corner", lambda x, r: torch.zeros_like(x))

    class Still(load("tdat")):
        def step(self, net, batch, state, descend):
            state.M.zero_()
            super().step(net, batch, state, descend)

    one = trained(tiny, Still(eps=tiny.eps, gmin=1.0, lam=0.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "fgsm")), atol=1e-6)


# FGSM-MEP


@pytest.mark.parametrize("prior", ["momentum", "epoch", "batch"])
def test_fgsm_mep_is_its_formula(prior):
    method = load("fgsm_mep")(eps=EPS, prior=prior)
    state = fresh(method)
    kept, m = state.D.clone(), torch.zeros_like(state.D)

    def formula(net, x, y, k):
        rows = torch.arange(len(x)) if prior == "batch" else torch.arange(5)[PARTS[k % 3]]
        start, t = kept[rows], soft(y, 0.6, CLASSES)
        g = slope(lambda z: sce(net(z), t), x + start)
        d = cut(start + EPS * g.sign(), x)
        first = net(x + start)
        out = net(x + d)
        m[rows] = g / g.abs().sum() + 0.3 * m[rows]
        kept[rows] = cut(start + EPS * m[rows].sign(), x) if prior == "momentum" else d
        return x + d, sce(out, t) + 10 * mse(out, first)

    follow(method, formula, state=state, parts=PARTS)
    assert torch.allclose(state.D, kept, atol=1e-10, rtol=0)
    if prior == "momentum":
        assert torch.allclose(state.m, m, atol=1e-10, rtol=0)


def test_fgsm_mep_without_a_prior_is_fgsm(tiny, monkeypatch):
    monkeypatch.setattr("methods.fgsm_mep.corner", lambda x, r: torch.zeros_like(x))
    one = trained(tiny, make(tiny, "fgsm_mep", lam=0.0, a=1.0, reset=1))
    assert torch.allclose(one, trained(tiny, make(tiny, "fgsm")), atol=1e-6)


@pytest.mark.parametrize(
    ("which", "names"), [("fgsm_mep", "Dm"), ("converge_smooth", "Dm"), ("fgsm_pgk", "Dm")]
)
def test_priors_are_reset_in_the_epochs_of_the_source(which, names):
    method = load(which)(eps=EPS, reset=2)
    state = method.init(run_of())
    for epoch in range(5):
        for name in names:
            state[name].fill_(9)
        method.on_epoch(None, state, epoch)
        reset = epoch in (2, 4)
        assert (state.D.abs() == torch.tensor(EPS)).all() == reset
        assert (state.m == 0).all() == reset


def test_fgsm_mep_moves_its_prior_with_the_image_if_told(tiny):
    trainer = tiny.trainer(make(tiny, "fgsm_mep", aligned=True, prior="epoch"))
    canvas = trainer.batches.canvas
    assert trainer.state.D.shape == torch.Size(canvas)
    batch = trainer.batches.take(0, 0, torch.zeros(()))
    seen = []

    def descend(loss, at, g=None, edit=None):
        seen.append(at - batch.x)

    trainer.method.step(trainer.net, batch, trainer.state, descend)
    assert torch.equal(batch.view(trainer.state.D[batch.rows]), seen[0])


# FGSM-UAP


@pytest.mark.parametrize("per", ["one", "class"])
def test_fgsm_uap_is_its_formula(per):
    method = load("fgsm_uap")(eps=EPS, per=per, r=0.7)
    state = fresh(method)
    u, m, r = state.u.clone(), torch.zeros_like(state.u), 0.7 * EPS
    assert (u.abs() - r).abs().max() < 1e-7

    def formula(net, x, y, k):
        group = [label if per == "class" else 0 for label in y.tolist()]
        t = smooth(y, 0.4, CLASSES)
        e = cut(torch.stack([u[j] for j in group]), x)
        g = slope(lambda z: sce(net(z), t), x + e)
        d = cut(e + EPS * g.sign(), x)
        first = net(x + e)
        out = net(x + d)
        climb(u, m, g, group, r)
        return x + d, sce(out, t) + 10 * mse(out, first)

    follow(method, formula, state=state, parts=PARTS)
    assert torch.allclose(state.u, u, atol=1e-10, rtol=0)
    assert torch.allclose(state.m, m, atol=1e-10, rtol=0)


def test_fgsm_uap_without_its_terms_is_fgsm(tiny):
    one = trained(tiny, make(tiny, "fgsm_uap", r=0.0, lam=0.0, s=0.0))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm")))


@pytest.mark.parametrize("per", ["one", "class"])
def test_fgsm_uap_trains_alike_with_every_r_of_1_and_more(tiny, per):
    one, two = (trained(tiny, make(tiny, "fgsm_uap", per=per, r=r)) for r in (1.25, 12.5))
    assert torch.equal(one, two)


def test_fgsm_uap_of_one_class_is_that_of_all(tiny):
    (x, _), y = tiny.data(), torch.full((8,), 2)
    x, ends = x[:8] / 255, {}
    for per in ("one", "class"):
        method, net = make(tiny, "fgsm_uap", per=per), tiny.net()
        torch.manual_seed(3)
        run = run_of(x)._replace(classes=4)
        state = method.init(run)
        state.u.copy_(state.u[:1].clone().abs())  # the same start
        seen = [tiny.step(method, net, x, y, state) for _ in range(3)]
        ends[per] = [one["at"] for one in seen], state.u[2 if per == "class" else 0]
    assert all(map(torch.equal, ends["one"][0], ends["class"][0]))
    assert torch.equal(ends["one"][1], ends["class"][1])


# FGSM-PCO


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_fgsm_pco_is_its_formula(factor):
    method = load("fgsm_pco")(eps=EPS, factor=factor)
    state = fresh(method)
    kept, gaps = state.D.clone(), []

    def formula(net, x, y, k):
        rows = torch.arange(5)[PARTS[k % 3]]
        start, t = kept[rows], soft(y, 0.6, CLASSES)
        g = slope(lambda z: sce(net(z), t), x + start)
        d = cut(start + EPS * g.sign(), x)
        first = net(x + start)
        c = 1 - at_label(first.softmax(1), y)[:, None, None, None]
        mixed = net(c * (x + start) + (1 - c) * (x + factor * d))
        out = net(x + d)
        kept[rows] = d
        gap = mse(out, first) - mse(out, mixed)
        gaps.append(gap.item())
        return x + factor * d, sce(mixed, t) + 10 * gap.abs()

    follow(method, formula, state=state, parts=PARTS)
    assert factor < 2 or min(gaps) < 0
    assert torch.allclose(state.D, kept, atol=1e-10, rtol=0)


def test_fgsm_pco_sure_of_the_new_attack_is_fgsm_ep(tiny, monkeypatch):
    """c = 0 and factor = 1: the mixture is x + d, and what is left is FGSM-MEP by epochs."""
    monkeypatch.setattr("methods.fgsm_pco.own", lambda p, y: torch.ones(len(p)))
    one = trained(tiny, make(tiny, "fgsm_pco", factor=1.0))
    assert torch.allclose(one, trained(tiny, make(tiny, "fgsm_mep", prior="epoch")), atol=1e-5)


# ConvergeSmooth


@pytest.mark.parametrize("base", ["mep", "rs"])
@pytest.mark.parametrize("epoch", [1, 2, 8, 9])
def test_converge_smooth_is_its_formula(base, epoch):
    """In a run of ten epochs the term acts in those from 2 to 8, counted from 0."""
    method = load("converge_smooth")(eps=EPS, base=base, gamma=0.1)
    state = fresh(method)
    state.total.fill_(6.0), state.seen.fill_(5.0)  # mean 1.2 in the epoch before
    method.on_epoch(None, state, epoch)
    assert state.prev.item() == pytest.approx(1.2)
    assert state.total.item() == state.seen.item() == 0
    kept = state.D.clone() if base == "mep" else None
    m, signs, total, images = torch.zeros_like(IMAGES), [], 0, 0

    def formula(net, x, y, k):
        nonlocal total, images
        rows, t = torch.arange(5)[PARTS[k % 3]], soft(y, 0.6, CLASSES)
        if base == "mep":
            start, where = kept[rows], x
            g = slope(lambda z: sce(net(z), t), x + start)
            at = x + cut(start + EPS * g.sign(), x)
            m[rows] = g / g.abs().sum() + 0.3 * m[rows]
            kept[rows] = cut(start + EPS * m[rows].sign(), x)
        else:
            where = x + boxed(noise(x, EPS), x)
            g = slope(lambda z: nll(net(z), y).mean(), where)
            at = (where + EPS * g.sign()).clamp(0, 1)
        before, total_before = sce(net(where), t), total
        total, images = total_before + before.item() * len(x), images + len(x)
        gap = before.item() - state.prev.item()
        acts = 2 <= epoch <= 8 and abs(gap) > 0.1
        signs.append(acts * (1 if gap > 0 else -1))
        return at, sce(net(at), t) + signs[-1] * before

    follow(method, formula, state=state, parts=PARTS, steps=12)
    assert state.total.item() == pytest.approx(total, rel=1e-6)
    assert state.seen.item() == images
    assert len(set(signs)) > 1 if 2 <= epoch <= 8 else set(signs) == {0}


@pytest.mark.parametrize("settings", [{"gamma": 1e9}, {"w": 0.0}])
def test_converge_smooth_that_never_acts_is_fgsm_mep_without_penalty(tiny, settings):
    one = trained(tiny, make(tiny, "converge_smooth", **settings))
    two = trained(tiny, make(tiny, "fgsm_mep", lam=0.0))
    assert torch.allclose(one, two, atol=1e-5)


def test_reach_of_fgsm_rs_cs_is_twice_eps(tiny):
    method = make(tiny, "converge_smooth", base="rs")
    reach = max(epoch.reach for epoch in tiny.trainer(method).fit().curves)
    assert 1.5 < reach <= method.reach + 1e-4


# FGSM-PGK


def test_fgsm_pgk_is_its_formula():
    method = load("fgsm_pgk")(eps=EPS, r=0.9, tau=0.4)
    state = fresh(method)
    kept, m, kinds = state.D.clone(), torch.zeros_like(state.D), set()

    def formula(net, x, y, k):
        rows = torch.arange(5)[PARTS[k % 3]]
        start, t = kept[rows], soft(y, 0.5, CLASSES)
        g = slope(lambda z: sce(net(z), t), x + start)
        d = cut(start + EPS * g.sign(), x)
        first = net(x + start)
        out = net(x + d)
        before, after = (sum(o.argmax(1) == y).item() for o in (first, out))
        q = after / before if before else 1.0
        tau = 0.4 if q < 0.9 else min(1, 0.99999 * q / 0.9)
        kinds.add((q < 0.9, q > 1, tau > (k + 1) / (k + 10)))
        assert state.q.item() == pytest.approx(q)
        assert state.tau.item() == pytest.approx(min(tau, (k + 1) / (k + 10)))
        m[rows] = (2 - state.q) * g / g.abs().sum() + 0.3 * m[rows]
        kept[rows] = cut(start + EPS * m[rows].sign(), x)
        return x + d, sce(out, t) + 5.6 * mse(out, first)

    follow(method, formula, state=state, parts=PARTS, steps=12)
    assert torch.allclose(state.D, kept, atol=1e-10, rtol=0)
    assert torch.allclose(state.m, m, atol=1e-10, rtol=0)
    assert len(kinds) > 1


def test_fgsm_pgk_of_a_constant_ratio_is_fgsm_mep(tiny):
    class Even(load("fgsm_pgk")):
        def judge(self, state, y, before, after):
            pass

    one = trained(tiny, Even(eps=tiny.eps))
    two = trained(tiny, make(tiny, "fgsm_mep", lam=5.6, a=0.5, reset=10))
    assert torch.equal(one, two)


# LIET


def liet(net, **settings):
    """LIET in double precision, and its state after the start of an epoch, 2 of 10."""
    method = load("liet")(**settings)
    state = fresh(method)
    torch.manual_seed(21)
    method.on_epoch(net, state, 2)
    return method, state


@pytest.mark.parametrize("eps", [0.02, 0.1])
def test_liet_is_its_formula(eps):
    """At most 8/255, and above."""
    far, net = eps > 8.5 / 255, Small()
    method, state = liet(net, eps=eps)
    weight, s, low, high = (20, 0.4, 0, 1) if far else (100, 0.6, 0.1, 0.5)
    assert state.lam.item() == pytest.approx(weight * 3 / 10)
    v, lam = state.v.clone(), state.lam.clone()

    def formula(net, x, y, k):
        def nce(z):
            out = net(z)
            return sce(out, noisy(y, s, CLASSES))

        rho = x.new_empty(1).uniform_(low, high)
        coin = 2 * x.new_empty(1).bernoulli_() - 1
        r = (2 if far else 1) * eps
        from_noise = noise(x, r)
        mask = torch.rand_like(x) < rho
        e = torch.where(mask, from_noise, torch.stack([v[label] for label in y]))
        start = (x + coin * e).clamp(0, 1)
        g = slope(nce, start)
        at = (
            (start + eps * g.sign()).clamp(0, 1)
            if far
            else x + cut(start - x + eps * g.sign(), x, eps)
        )
        first = net(start)
        out = net(at)
        p, q = first.softmax(1), out.softmax(1)
        m = (p + q) / 2
        apart = (p * (p / m).log()).sum() + (q * (q / m).log()).sum()
        return at, sce(out, noisy(y, s, CLASSES)) + lam * apart / (2 * len(x))

    follow(method, formula, state=state, parts=PARTS, net=net)
    assert state.batches.item() == 3


def test_liet_looks_at_grey_images_with_batchnorm_frozen():
    net = Small()
    _, state = liet(net, eps=EPS)
    torch.manual_seed(21)
    net.eval()
    grey = torch.full((CLASSES, 1, 2, 2), 0.5, dtype=torch.float64)
    target = noisy(torch.arange(CLASSES), 0.4, CLASSES)
    v = EPS * slope(lambda z: sce(net(z), target), grey).sign()
    assert torch.allclose(state.v, v)
    assert net.features[4].num_batches_tracked.item() == 0


def test_liet_looks_anew_after_every_20_batches_of_an_epoch(tiny, monkeypatch):
    method, net = make(tiny, "liet"), tiny.net()
    (x, y), looks = tiny.data(), []
    state = method.init(run_of(x)._replace(classes=4))
    monkeypatch.setattr(type(method), "look", lambda *_: looks.append(state.batches.item()))
    method.on_epoch(net, state, 0)
    for _ in range(45):
        tiny.step(method, net, x / 255, y, state)
    method.on_epoch(net, state, 1)
    assert looks == [0, 20, 40, 0]


def test_liet_of_noise_alone_is_fgsm_rs(tiny, monkeypatch):
    """lam 0, all pixels noise, no noise of labels; the coin turns symmetric noise, so it is 1."""
    (x, y), net = tiny.data(), tiny.net()
    x = x / 255
    method = make(tiny, "liet", lam=0.0, low=1.0, high=1.0, s=0.0)
    state = method.init(run_of(x)._replace(classes=4))
    made = tiny.step(method, net, x, y, state)
    torch.manual_seed(5)
    rho = x.new_empty(1).uniform_(1, 1)
    coin = 2 * torch.empty_like(rho).bernoulli_() - 1
    eta = boxed(coin * noise(x, tiny.eps), x)
    monkeypatch.setattr("bench.threat.uniform", lambda *_: eta)
    base = tiny.step(make(tiny, "fgsm_rs", alpha=1.0), net, x, y)
    assert torch.allclose(made["at"], base["at"], atol=1e-6)
    one, two = (seen["loss"](seen["at"]).item() for seen in (made, base))
    assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize(
    ("eps", "settings", "used"),
    [
        (8, {}, (100, 0.6, 0.1, 0.5)),
        (8, {"tuned": "cifar100"}, (200, 0.8, 0.1, 0.5)),
        (16, {"tuned": "cifar100"}, (20, 0.4, 0, 1)),
        (16, {"lam": 0.0, "high": 0.3}, (0, 0.4, 0, 0.3)),
    ],
)
def test_liet_takes_the_published_numbers_unless_told(eps, settings, used):
    assert load("liet")(eps=eps / 255, **settings).published == used
