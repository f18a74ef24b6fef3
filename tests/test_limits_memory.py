"""Limits of methods that remember something of every image: MMA's margins, ATTA's perturbations."""

import dataclasses

import pytest
import torch
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
