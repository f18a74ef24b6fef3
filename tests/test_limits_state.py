"""Limits and closed forms of ATAS, ELLE, AAER, Free-AT and PGD-2."""

import dataclasses
import importlib
import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench import threat
from bench.method import Batch, Run
from bench.view import Moved
from methods import load

CLASSES = 4  # of the tiny data
MIDDLE = torch.full((2, 1, 1, 2), 0.5, dtype=torch.float64)  # two grey images of two pixels


class Seen(NamedTuple):
    """What a call of descend was given, and the gradients there."""

    loss: float
    at: Any
    g: Any
    h: Any
    w: Any


def make(tiny, name, **settings):
    return load(name)(**({"eps": tiny.eps} | settings))


def trained(tiny, method):
    trainer = tiny.trainer(method)
    torch.manual_seed(7)
    trainer.fit()
    return tiny.weights(trainer.net)


def run_of(x, epochs=30, canvas=True):
    return Run(x.device, x.shape, x.shape if canvas else None, epochs, len(x), CLASSES)


def step(method, net, x, y, state=None):
    """Run one step on whole images without an optimiser; returns every descent, and the state."""
    state = method.init(run_of(x)) if state is None else state
    seen = []

    def descend(loss, at, g=None, edit=None):
        z = at.detach().requires_grad_()
        value = loss(z)
        h, *w = torch.autograd.grad(value, [z, *net.parameters()])
        w = torch.cat([part.flatten() for part in w])
        seen.append(Seen(value.item(), z.detach(), g, h, w))
        return h

    corner = torch.zeros(len(x), dtype=torch.long)
    view = Moved.crop(corner, corner, corner.bool(), size=x.shape[2:], width=x.shape[3])
    method.step(net, Batch(x, y, torch.arange(len(x)), view, torch.zeros(())), state, descend)
    return seen, state


def fed(monkeypatch, module, *noises):
    """Hand a method chosen noise for its draws of uniform, in this order."""
    draws = iter(noises)
    own = importlib.import_module(f"methods.{module}")
    monkeypatch.setattr(
        own if hasattr(own, "uniform") else threat,  # which Threat.uniform draws by
        "uniform",
        lambda x, r, _=None: torch.tensor(next(draws), dtype=x.dtype).view_as(x),
    )


class Linear(nn.Module):
    """Logits linear in the image, so that the loss's gradient has the same sign everywhere."""

    def __init__(self, pixels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(pixels, generator=torch.Generator().manual_seed(3)))

    def forward(self, x):
        z = x.flatten(1) @ self.w.to(x.dtype)
        return torch.stack([z, -z], 1)


class LossIs(nn.Module):
    """Two logits whose cross-entropy against label 0 is w times a chosen function, above 0."""

    def __init__(self, of):
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.of = of

    def forward(self, x):
        z = -torch.expm1(self.w * self.of(x.flatten(1))).log()
        return torch.stack([z, torch.zeros_like(z)], 1)


def norm2(z):
    return z.square().sum(1)


def inner(tiny):
    """Images so grey that no step leaves [0, 1], and their labels."""
    x, y = tiny.data()
    return 0.3 + 0.4 * x / 255, y


# PGD-2


def test_pgd2_is_pgd10_with_two_half_steps(tiny):
    other = trained(tiny, make(tiny, "pgd10", steps=2, alpha=0.5))
    assert torch.equal(trained(tiny, make(tiny, "pgd2")), other)


def test_pgd2_walks_eps_uphill_or_to_the_wall_on_a_linear_loss(tiny, monkeypatch):
    net, start = Linear(2), [[-0.9, 0.4], [0.2, -1.0]]
    fed(monkeypatch, "pgd2", [[tiny.eps * a for a in row] for row in start])
    (seen,), _ = step(make(tiny, "pgd2"), net, MIDDLE, torch.tensor([0, 1]))
    for i, sign in enumerate((-1, 1)):
        for j in range(2):
            up = sign * math.copysign(1, net.w[j].item())
            wanted = max(-1, min(1, start[i][j] + up))
            assert seen.at[i, 0, 0, j].item() == pytest.approx(0.5 + tiny.eps * wanted, abs=1e-7)


# Free-AT


def test_free_at_with_one_replay_from_zero_is_standard_on_its_first_batch(tiny):
    one, two = tiny.trainer(make(tiny, "free_at", m=1)), tiny.trainer("standard")
    one.advance(1), two.advance(1)
    assert torch.equal(tiny.weights(one.net), tiny.weights(two.net))


def test_free_at_carries_the_perturbation_into_the_next_batch(tiny):
    (x, y), method, net = inner(tiny), make(tiny, "free_at", m=1), tiny.net()
    (first,), state = step(method, net, x[:8], y[:8])
    (second,), state = step(method, net, x[8:16], y[8:16], state)
    d = tiny.eps * first.h.sign()
    assert torch.allclose(second.at, (x[8:16] + d).clamp(0, 1), atol=1e-6)
    wanted = (d + tiny.eps * second.h.sign()).clamp(-tiny.eps, tiny.eps)
    assert torch.allclose(state.d, wanted, atol=1e-6)


def test_free_at_uses_the_first_rows_for_a_short_batch(tiny):
    (x, y), method, net = inner(tiny), make(tiny, "free_at"), tiny.net()
    _, state = step(method, net, x[:8], y[:8])
    before = state.d.clone()
    seen, state = step(method, net, x[16:], y[16:], state)
    assert torch.equal(seen[0].at, (x[16:] + before[:4]).clamp(0, 1))
    assert torch.equal(state.d[4:], before[4:])
    assert not torch.equal(state.d[:4], before[:4])


def test_free_at_replays_the_gradient_of_the_replay_before(tiny):
    seen, _ = step(make(tiny, "free_at", m=3), tiny.net(), *inner(tiny))
    assert seen[0].g is None
    assert seen[1].g is seen[0].h
    assert seen[2].g is seen[1].h


def test_free_at_cuts_the_perturbation_to_ball_and_image(tiny):
    x, y, net = torch.tensor([[0.0, 1.0], [0.5, 0.99]]), torch.tensor([0, 1]), Linear(2)
    x = x.view(2, 1, 1, 2)
    seen, state = step(make(tiny, "free_at"), net, x, y)
    wanted = (x + tiny.eps * seen[0].h.sign()).clamp(0, 1)
    assert torch.allclose(seen[1].at, wanted)
    assert torch.allclose(x + state.d, wanted)


def test_free_at_pays_its_replays_with_epochs(tiny):
    protocol = dataclasses.replace(tiny.brief, epochs=9)
    trainer = tiny.trainer("free_at", protocol=protocol)
    outcome = trainer.fit()
    assert (outcome.epochs, outcome.updates) == (2, 2 * 3 * 8)  # ceil(9 / 8) epochs of 3 batches
    assert len(trainer.log.table) == 3 * 8
    assert [curve.pert_align is None for curve in outcome.curves] == [False, False]


# ATAS


class Witness(nn.Module):
    """Notes what a network is shown, and whether BatchNorm learns from it."""

    def __init__(self, net):
        super().__init__()
        self.net, self.shown = net, []

    def forward(self, x):
        self.shown.append((x.detach().clone(), self.training))
        return self.net(x)


def test_atas_keeps_the_perturbation_where_crop_and_flip_took_it_from(tiny):
    trainer = tiny.trainer("atas", net=Witness(tiny.net()))
    d, shown = trainer.state.d, trainer.net.shown
    corners = set()
    for epoch in range(2):
        trainer.count(trainer.update, 0)
        for i in range(len(trainer.batches)):
            batch, before = trainer.batches.take(epoch, i, trainer.share), d.clone()
            trainer._step(epoch, i)
            (start, start_mode), (at, mode) = shown[-2:]
            assert (start_mode, mode) == (False, True)
            wanted = (batch.x + batch.view(before[batch.rows])).clamp(0, 1)
            assert torch.allclose(start, wanted, atol=1e-6)
            assert torch.allclose(batch.view(d[batch.rows]), at - batch.x, atol=1e-6)
            window = torch.zeros(len(d), d[0, 0].numel(), dtype=torch.bool)
            window[batch.rows[:, None], batch.view.place] = True
            window = window.view_as(d[:, :1]).expand_as(d)
            assert torch.equal(d[~window], before[~window])
            assert not torch.equal(d[window], before[window])
            corners |= set(batch.view.place[:, 0].tolist())
    assert len(shown) == 2 * 2 * 3
    assert len(corners) > 9, "no two images were cropped and flipped in different ways"


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("c", [0.01, 0.5, 100.0])
def test_atas_step_follows_the_gradients_seen_so_far(tiny, c, warm):
    net, x, y = Linear(2), MIDDLE.float(), torch.tensor([0, 1])
    method, w = make(tiny, "atas", c=c), net.w.detach()
    uphill = torch.stack([-w.sign(), w.sign()]).view_as(x)
    start, past = x - tiny.eps * uphill, (1e-4, 0.0)
    state = method.init(run_of(x))
    state.d.copy_(start - x), state.v.copy_(torch.tensor(past)), state.warm.fill_(warm)
    (seen,), _ = step(method, net, x, y, state)
    for i in range(2):
        margin = 2 * (1 - 2 * i) * (start[i].flatten() @ w).item()
        slope = w.norm().item() / (1 + math.exp(margin))  # of the mean over two images
        v = 0.5 * past[i] + 0.5 * (slope * 2 / 128) ** 2  # scaled to the mean over 128
        a = 1.0 if warm else min(1.75, max(0.5, 2 / (1 + math.sqrt(v) / c)))
        moved = (seen.at - start)[i] / tiny.eps * uphill[i]
        assert moved.flatten().tolist() == pytest.approx([a, a], abs=1e-4)
        assert state.v[i].item() == pytest.approx(past[i] if warm else v, rel=1e-4)


@pytest.mark.parametrize(
    ("variant", "epochs", "resets"),
    [
        ("official", 30, [10, 20]),
        ("official", 25, [10, 20]),
        ("sora_bench", 30, [10, 20, 30]),
    ],
)
def test_atas_resets_every_tenth_epoch_and_warms_up_for_five(tiny, variant, epochs, resets):
    method, x = make(tiny, "atas", variant=variant), torch.zeros(4, 1, 2, 2)
    state = method.init(run_of(x, epochs))
    state.v.fill_(3.0)
    found, warm, widths = [], [], [state.d.abs().max()]
    for epoch in range(epochs):
        before = state.d.clone()
        method.on_epoch(None, state, epoch)
        found += [epoch + 1] * (not torch.equal(state.d, before))
        warm += [epoch + 1] * bool(state.warm)
        widths.append(state.d.abs().max())
    assert (found, warm) == (resets, [1, 2, 3, 4, 5])
    assert state.v.tolist() == [3.0] * 4
    assert all(0.7 * tiny.eps < width <= tiny.eps for width in widths)


def test_atas_says_what_to_do_where_there_is_no_canvas(tiny):
    with pytest.raises(ValueError, match=r"canvas.*leave atas out"):
        make(tiny, "atas").init(run_of(torch.zeros(4, 1, 2, 2), canvas=False))


# ELLE


def test_elle_without_its_term_is_fgsm(tiny):
    one, _ = step(make(tiny, "elle", lam=0.0), tiny.net(), *inner(tiny))
    two, _ = step(make(tiny, "fgsm"), tiny.net(), *inner(tiny))
    for part in ("at", "h", "w"):
        assert torch.allclose(getattr(one[0], part), getattr(two[0], part), atol=1e-6)


def test_elle_of_sora_bench_without_its_term_is_fgsm_rs_with_one_step_of_eps(tiny):
    torch.manual_seed(5)
    one, _ = step(make(tiny, "elle", lam=0.0, variant="sora_bench"), tiny.net(), *inner(tiny))
    torch.manual_seed(5)
    two, _ = step(make(tiny, "fgsm_rs", alpha=1.0), tiny.net(), *inner(tiny))
    for part in ("at", "h", "w"):
        assert torch.allclose(getattr(one[0], part), getattr(two[0], part), atol=1e-6)


@pytest.mark.parametrize(("variant", "leaves"), [("official", True), ("sora_bench", False)])
def test_elle_clips_the_triplet_in_sora_bench_alone_and_the_attack_never(tiny, variant, leaves):
    net, y = Witness(LossIs(norm2)), torch.zeros(64, dtype=torch.long)
    x = torch.ones(64, 1, 1, 2, dtype=torch.float64)
    (seen,), _ = step(make(tiny, "elle", variant=variant), net, x, y)
    triplet = net.shown[-1][0]
    assert len(triplet) == 3 * 64
    assert bool(triplet.max() > 1) == leaves
    assert 0.9 < (triplet.min() - 1) / -tiny.eps <= 1 + 1e-9
    assert seen.at.max() > 1
    assert (seen.at - x).abs().max() <= tiny.eps + 1e-9


def test_elle_term_is_the_hand_computed_gap_below_a_chord(tiny, monkeypatch):
    """The loss |z|^2 lies a (1 - a) |x_a - x_b|^2 below its chords; two images of two pixels."""
    fed(monkeypatch, "elle", [[0.1, 0.0], [0.1, 0.1]], [[0.0, -0.1], [-0.1, -0.1]])
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.tensor([0.25, 0.5]).view_as(x))
    method, y = make(tiny, "elle", eps=0.1, lam=1000.0), torch.tensor([0, 0])
    (seen,), state = step(method, LossIs(norm2), MIDDLE, y)
    r = ((0.25 * 0.75 * 0.02) ** 2 + (0.5 * 0.5 * 0.08) ** 2) / 2
    fit = 0.6**2 + 0.6**2
    assert state.r.item() == pytest.approx(r, rel=1e-5)
    assert seen.loss == pytest.approx(fit + 1000 * r, rel=1e-5)
    assert seen.w.item() == pytest.approx(fit + 1000 * 2 * r, rel=1e-5)  # r goes with w squared


def test_elle_term_of_an_affine_loss_is_zero(tiny):
    net = LossIs(lambda z: 1 + z @ torch.tensor([0.3, -0.2], dtype=torch.float64))
    _, state = step(make(tiny, "elle"), net, MIDDLE, torch.tensor([0, 0]))
    assert state.r.item() < 1e-25
    _, curved = step(make(tiny, "elle"), LossIs(norm2), MIDDLE, torch.tensor([0, 0]))
    assert curved.r.item() > 1e-10


def test_elle_takes_each_loss_under_the_label_of_its_image(tiny):
    net, y = Witness(Linear(2)), torch.tensor([0, 1])
    _, state = step(make(tiny, "elle"), net, MIDDLE, y)
    triplet = net.shown[-1][0].chunk(3)
    a = ((triplet[2] - triplet[0]) / (triplet[1] - triplet[0])).flatten(1).mean(1)
    l_a, l_b, l_c = (cross_entropy(net(x), y, reduction="none") for x in triplet)
    r = (l_c - (1 - a) * l_a - a * l_b).square().mean()
    assert state.r.item() == pytest.approx(r.item(), rel=1e-4)


def test_elle_a_raises_lam_as_the_list_of_all_its_errors_says(tiny, monkeypatch):
    method, net, y = make(tiny, "elle", adaptive=True), LossIs(norm2), torch.tensor([0, 0])
    fed(monkeypatch, "elle", *[[[sign * tiny.eps] * 2] * 2 for sign in (1, -1)] * 8)
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    state, errors, lam, lams = method.init(run_of(MIDDLE)), [], 0.0, []
    # 81 comes too early; 95 lies between two population and two sample deviations off the mean
    for r in (1.0, 1.21, 81.0, 1.0, 95.0, 1.0, 4000.0, 1.0):
        net.w.data.fill_(math.sqrt(r))
        (seen,), state = step(method, net, MIDDLE, y, state)
        fit = math.sqrt(r) * 2 * (0.5 + tiny.eps) ** 2
        unit = (0.25 * 2 * (2 * tiny.eps) ** 2) ** 2
        assert seen.loss == pytest.approx(fit + lam * r * unit, rel=1e-4)
        centre = sum(errors) / max(len(errors), 1)
        std = math.sqrt(sum((e - centre) ** 2 for e in errors) / max(len(errors), 1))
        lam = 4000.0 if len(errors) > 2 and r > centre + 2 * std else 0.99 * lam
        errors.append(r)
        lams.append(lam)
        assert state.lam.item() == pytest.approx(lam)
    assert lams == pytest.approx([0, 0, 0, 0, 4000, 3960, 4000, 3960])


@pytest.mark.parametrize(
    ("eps", "settings", "lam"),
    [
        (8, {}, 1000),
        (10, {}, 5000),
        (20, {}, 5000),
        (22, {}, 10000),
        (22, {"variant": "sora_bench"}, 1000),
        (22, {"lam": 7.0}, 7),
        (22, {"adaptive": True}, 0),
    ],
)
def test_elle_starts_with_the_published_weight_unless_told(eps, settings, lam):
    state = load("elle")(eps=eps / 255, **settings).init(run_of(MIDDLE))
    assert state.lam.item() == lam


# AAER


@pytest.mark.parametrize("base", ["n_fgsm", "fgsm_rs"])
def test_aaer_without_its_terms_is_its_base(tiny, base):
    one = trained(tiny, make(tiny, "aaer", base=base, lam1=0.0))
    assert torch.equal(one, trained(tiny, make(tiny, base)))


def same(one, two):
    return one.loss == two.loss and torch.equal(one.w, two.w) and torch.equal(one.at, two.at)


def test_aaer_is_n_fgsm_where_the_attack_raises_every_loss(tiny):
    y, found = torch.tensor([0, 1]), []
    for name in ("aaer", "n_fgsm"):
        torch.manual_seed(5)
        settings = {"lam2": 1e3, "lam3": 1e3, "ce_grad": True} if name == "aaer" else {}
        found += step(make(tiny, name, **settings), Linear(2), MIDDLE, y)[0]
    assert same(*found)


class Valley(nn.Module):
    """Logits (u, 0), u = w (16 (p - 1/2)^2 + (q - 1/2) / 10) of an image's two pixels p, q.

    A step of 0.1 downhill for label 0 from beside the ridge of its loss at p = 1/2 crosses it.
    """

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x):
        p, q = (x.flatten(1) - 0.5).unbind(1)
        u = self.w * (16 * p.square() + 0.1 * q)
        return torch.stack([u, torch.zeros_like(u)], 1)


def ce(u, label):
    """Cross-entropy of logits (u, 0), and its derivative by w where u goes with w."""
    sign = 2 * label - 1
    return math.log1p(math.exp(sign * u)), sign * u / (1 + math.exp(-sign * u))


@pytest.mark.parametrize("ce_grad", [False, True])
def test_aaer_terms_are_the_hand_computed_ones(tiny, monkeypatch, ce_grad):
    """Image 0 goes from u = 0.0016 to 0.1196, its loss falls; image 1 from 0 to 0.01."""
    fed(monkeypatch, "aaer", [[0.01, 0.0], [0.0, 0.0]])
    method = make(tiny, "aaer", eps=0.1, lam1=2.0, lam2=3.0, lam3=5.0, ce_grad=ce_grad)
    (seen,), _ = step(method, Valley(), MIDDLE, torch.tensor([0, 1]))
    before, _ = ce(0.0016, 0)
    (l_0, g_0), (l_1, g_1) = ce(0.1196, 0), ce(0.01, 1)
    fall, variation = before - l_0, 0.118**2 - 0.01**2
    assert fall > 0
    assert seen.loss == pytest.approx((l_0 + l_1) / 2 + 2 * 0.5 * (3 * fall + 5 * variation))
    constant = (g_0 + g_1) / 2 + 2 * 0.5 * 5 * 2 * 0.118 * 0.1196  # z0 and v_n held fixed
    assert seen.w.item() == pytest.approx(constant - (2 * 0.5 * 3 * g_0 if ce_grad else 0))


def test_aaer_asks_nothing_of_logits_that_vary_less_than_the_normal(tiny, monkeypatch):
    """Image 0 goes from u = 0.0256 to 0.0476, its loss falls; image 1 from 0.04 to 0.37."""
    fed(monkeypatch, "aaer", [[0.04, 0.0], [0.05, 0.0]])
    method = make(tiny, "aaer", eps=0.1, lam2=3.0, lam3=5.0)
    (seen,), _ = step(method, Valley(), MIDDLE, torch.tensor([0, 1]))
    (l_0, g_0), (l_1, g_1) = ce(0.0476, 0), ce(0.37, 1)
    fall = ce(0.0256, 0)[0] - l_0
    assert seen.loss == pytest.approx((l_0 + l_1) / 2 + 0.5 * 3 * fall)
    assert seen.w.item() == pytest.approx((g_0 + g_1) / 2)


def test_aaer_is_n_fgsm_where_no_image_is_normal(tiny, monkeypatch):
    found = []
    for name in ("aaer", "n_fgsm"):
        fed(monkeypatch, name, [[0.01, 0.0], [0.02, 0.0]])
        settings = {"ce_grad": True} if name == "aaer" else {}
        method = make(tiny, name, eps=0.1, **settings)
        found += step(method, Valley(), MIDDLE, torch.tensor([0, 0]))[0]
    assert math.isfinite(found[0].w.item())
    assert same(*found)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"eps": 8}, (1.5, 0.15)),
        ({"eps": 16}, (8.5, 1.5)),
        ({"eps": 15}, (8.5, 1.5)),
        ({"eps": 3}, (1.5, 0.15)),
        ({"eps": 16, "base": "fgsm_rs", "tuned": "cifar100"}, (6.0, 2.25)),
        ({"eps": 16, "lam2": 1.5, "lam3": 0.0}, (1.5, 0.0)),
    ],
)
def test_aaer_takes_the_tuned_weights_unless_told(settings, weights):
    settings = settings | {"eps": settings["eps"] / 255}
    assert load("aaer")(**settings).weights == weights
