"""Limits of methods that remember something of every image: MMA's margins, ATTA's perturbations."""

import dataclasses

import pytest
import torch
from formulas import EPS, boxed, cut, follow, nll, noise, run_of, slope
from torch import nn

from bench.method import State
from bench.ops import ce, grad, project
from methods import load
from methods.mma import margin


class Linear(nn.Module):
    """Two classes, logits linear in the image."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = nn.Parameter(w), nn.Parameter(b)

    def forward(self, x):
        z = x.flatten(1) @ self.w + self.b
        return torch.stack([z, -z], 1)


def trained(tiny, method):
    torch.manual_seed(7)
    trainer = tiny.trainer(method)
    torch.manual_seed(7)
    trainer.fit()
    return tiny.weights(trainer.net), trainer


def test_margin_is_negative_where_the_label_has_more_than_half():
    logits, y = torch.tensor([[2.0, 1.9, 0.0], [3.0, 0.0, 0.0]]), torch.tensor([0, 0])
    assert (margin(logits, y) < 0).tolist() == (logits.softmax(1)[:, 0] > 0.5).tolist()
    assert (margin(logits, y) < 0).tolist() == [False, True]


def test_mma_finds_the_distance_to_the_decision_of_a_linear_network(tiny):
    w = torch.tensor([0.3, -0.2, 0.1, 0.4])
    net = Linear(w, torch.tensor(0.0))
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 0, 0])
    net.b.data = torch.tensor(-0.3 + 0.02)  # z = 0.02 everywhere, so t = 0.02 / |w|_1
    method = load("mma")(eps=0.05)
    state = State(t=torch.zeros(3))
    seen = tiny.step(method, net, x, y, state)
    exact = 0.02 / w.abs().sum().item()
    assert state.t.tolist() == pytest.approx([exact] * 3, abs=method.reach * 0.05 / 2**10)
    assert torch.allclose(seen["d"], -exact * w.sign().view(1, 1, 2, 2).expand(3, -1, -1, -1),
                          atol=method.reach * 0.05 / 2**10)  # fmt: skip


def test_mma_leaves_wrong_images_where_they_are_and_forgets_their_margin(tiny):
    net = Linear(torch.tensor([0.3, -0.2, 0.1, 0.4]), torch.tensor(-0.28))
    x, y = torch.full((2, 1, 2, 2), 0.5), torch.tensor([1, 0])
    state = State(t=torch.full((2,), 0.07))
    seen = tiny.step(load("mma")(eps=0.05), net, x, y, state)
    assert not seen["d"][0].any()
    assert seen["d"][1].any()
    assert state.t[0] == 0
    assert state.t[1] > 0


def test_mma_drops_images_whose_margin_exceeds_d_max(tiny):
    w = torch.tensor([0.3, -0.2, 0.1, 0.4])
    net, x, y = Linear(w, torch.tensor(5.0)), torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 0])
    method = load("mma")(eps=0.01, clean=0.0)
    seen = tiny.step(method, net, x, y, State(t=torch.zeros(2)))
    assert seen["loss"](seen["at"]).item() == 0
    assert not seen["h"].any()


def test_mma_with_all_images_wrong_is_standard_training(tiny):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wrong(load("mma")):
        def boundary(self, net, x, y, v, e):
            return torch.zeros_like(e)  # where a wrong image stays

    method = Wrong(eps=tiny.eps)
    net, (x, y) = tiny.net(norm=False), tiny.data()
    x, y = x[:8].float() / 255, y[:8]
    seen = tiny.step(method, net, x, y, State(t=torch.zeros(8)))
    assert seen["loss"](x).item() == pytest.approx(ce(net, y)(x).item(), rel=1e-6)


def test_mma_attacks_a_right_image_in_the_ball_of_its_last_margin(tiny):
    w = torch.tensor([0.3, -0.2, 0.1, 0.4])
    net, x, y = Linear(w, torch.tensor(-0.28)), torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 0])
    method, radii = load("mma")(eps=0.05), []

    class Seen(type(method)):
        def climb(self, net, x, y, r):
            radii.extend(r.flatten().tolist())
            return super().climb(net, x, y, r)

    tiny.step(Seen(eps=0.05), net, x, y, State(t=torch.tensor([0.0, 0.031])))
    assert radii == pytest.approx([0.16 * 0.05, 0.031])


def test_atta_takes_up_where_the_image_was_left(tiny):
    net, (x, y) = tiny.net(), tiny.data()
    x, y = x[:4].float() / 255, y[:4]
    method = load("atta")(eps=tiny.eps)
    state = State(d=torch.zeros(4, 3, 8, 8))
    state.d.uniform_(-tiny.eps, tiny.eps, generator=torch.Generator().manual_seed(3))
    before = project(state.d.clone(), x, 1.0)
    g = grad(ce(net.eval(), y), at=x + before)
    seen = tiny.step(method, net.train(), x, y, state)
    wanted = project(before + 0.48 * tiny.eps * g.sign(), x, tiny.eps)
    assert torch.allclose(seen["d"], wanted, atol=1e-6)
    assert torch.allclose(state.d, wanted, atol=1e-6)


def test_atta_begins_anew_at_each_reset(tiny):
    _, trainer = trained(tiny, load("atta")(eps=tiny.eps, reset=1))
    trainer.method.on_epoch(trainer.net, trainer.state, 0)
    assert trainer.state.d.std().item() == pytest.approx(0.001, rel=0.05)
    trainer.state.d.fill_(1.0)
    load("atta")(eps=tiny.eps).on_epoch(trainer.net, trainer.state, 8)
    assert trainer.state.d.min() == 1
    load("atta")(eps=tiny.eps).on_epoch(trainer.net, trainer.state, 9)
    assert trainer.state.d.max() < 1


def test_atta_scaled_divides_its_loss_by_the_batch_once_more(tiny):
    net, (x, y) = tiny.net().eval(), tiny.data()
    x, y = x[:4].float() / 255, y[:4]

    def loss(**settings):
        method, state = load("atta")(eps=tiny.eps, **settings), State(d=torch.zeros(4, 3, 8, 8))
        seen = tiny.step(method, net, x, y, state)
        return seen["loss"](seen["at"]).item()

    assert loss(scaled=True) == pytest.approx(loss() / 4, rel=1e-6)
    assert loss(form="trades", beta=0.0) == pytest.approx(ce(net, y)(x).item(), rel=1e-6)


PARTS = (slice(0, 3), slice(3, 5), slice(1, 4))  # the second is short, the third comes again


@pytest.mark.parametrize("clean", [1 / 3, 0.0])
@pytest.mark.parametrize("d_max", [4.0, 0.5])
def test_mma_is_its_formula(clean, d_max):
    kept, met = torch.full((5,), 0.05, dtype=torch.float64), set()
    state = State(t=kept.clone())

    def margins(out, y):
        return torch.stack([
            torch.cat([row[:c], row[c + 1 :]]).logsumexp(0) - row[c]
            for row, c in zip(out, y.tolist(), strict=True)
        ])  # fmt: skip

    def formula(net, x, y, k):
        rows = torch.arange(5)[PARTS[k % 3]]
        right = (margins(net(x), y) < 0).tolist()
        e = [max(0.16 * EPS, kept[i].item()) for i in rows]
        r = torch.tensor(e, dtype=x.dtype)[:, None, None, None]
        net.eval()
        d = boxed(r * noise(x, 1), x)
        for _ in range(10):
            g = slope(lambda z: margins(net(z), y).sum(), x + d)
            d = boxed((d + 2.5 * r / 10 * g.sign()).clamp(-r, r), x)
        net.train()
        v, t = d / r, e
        limits = [[0.0, 1.05 * d_max * EPS] for _ in e]
        for _ in range(10):
            with torch.no_grad():
                there = torch.stack([x[i] + t[i] * v[i] for i in range(len(x))]).clamp(0, 1)
                m = margins(net(there), y)
            for i, limit in enumerate(limits):
                limit[0 if m[i] < 0 else 1] = t[i]
            t = [sum(limit) / 2 for limit in limits]
        at = torch.stack([x[i] + (t[i] if right[i] else 0) * v[i] for i in range(len(x))])
        plain = nll(net(x), y).mean()
        losses, total = nll(net(at), y), 0
        for i, own in enumerate(losses):
            counts = not right[i] or t[i] < d_max * EPS
            met.add((right[i], counts))
            total = total + (own if counts else 0 * own)
            kept[rows[i]] = t[i] if right[i] else 0
        return at, (1 - clean) * total / len(x) + clean * plain

    follow(
        load("mma")(eps=EPS, d_max=d_max, clean=clean), formula, state=state, parts=PARTS, steps=6
    )
    assert torch.allclose(state.t, kept, atol=1e-10, rtol=0)
    assert {(True, True), (False, True)} <= met
    assert d_max > 1 or (True, False) in met


@pytest.mark.parametrize("settings", [{}, {"scaled": True}, {"form": "trades"}])
def test_atta_is_its_formula(settings):
    method = load("atta")(eps=EPS, **settings)
    state = method.init(run_of())
    state["d"] = state.d.double().uniform_(-EPS, EPS)
    kept = state.d.clone()

    def formula(net, x, y, k):
        rows = torch.arange(5)[PARTS[k % 3]]
        eta = boxed(kept[rows], x)
        net.eval()
        d = cut(eta + 0.48 * EPS * slope(lambda z: nll(net(z), y).mean(), x + eta).sign(), x)
        net.train()
        kept[rows] = d
        if settings.get("form") != "trades":
            return x + d, nll(net(x + d), y).mean() / (len(x) if settings else 1)
        clean, attacked = net(x), net(x + d)
        p, q = clean.log_softmax(1), attacked.log_softmax(1)
        return x + d, nll(clean, y).mean() + 6 * (p.exp() * (p - q)).sum() / len(x)

    follow(method, formula, state=state, parts=PARTS)
    assert torch.allclose(state.d, kept, atol=1e-10, rtol=0)
