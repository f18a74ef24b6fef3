"""A method with its own term off is its base method: the best oracle without foreign code."""

import dataclasses

import pytest
import torch
from torch import nn

from bench.method import State
from bench.ops import box, ce, grad, project, uniform
from methods import load


def trained(tiny, method):
    torch.manual_seed(7)
    trainer = tiny.trainer(method)
    torch.manual_seed(7)
    trainer.fit()
    return tiny.weights(trainer.net)


def make(tiny, name, **settings):
    return load(name)(**({"eps": tiny.eps} | settings))


L2 = {"norm": "L2", "eps": 0.5}


class Linear(nn.Module):
    """Logits linear in the image, so that the loss's gradient has the same sign everywhere."""

    def __init__(self, pixels):
        super().__init__()
        self.w = nn.Parameter(torch.randn(pixels, generator=torch.Generator().manual_seed(3)))

    def forward(self, x):
        z = x.flatten(1) @ self.w
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize("threat", [{}, L2], ids=["Linf", "L2"])
def test_n_fgsm_without_noise_is_fgsm(tiny, threat):
    # fmod of rounding apart: N-FGSM does not clamp to eps before the box
    one = trained(tiny, make(tiny, "n_fgsm", k=0.0, **threat))
    two = trained(tiny, make(tiny, "fgsm", **threat))
    assert torch.allclose(one, two, atol=1e-6)


def test_fgsm_with_radius_zero_is_standard(tiny):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Still(load("fgsm")):
        def step(self, net, batch, state, descend):
            descend(ce(net, batch.y), at=batch.x + project(torch.zeros_like(batch.x), batch.x, 0.0))

    one, two = trained(tiny, Still(eps=tiny.eps)), trained(tiny, make(tiny, "standard"))
    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("threat", [{}, L2], ids=["Linf", "L2"])
def test_pgd_with_one_step_is_fgsm_rs(tiny, threat):
    one = trained(tiny, make(tiny, "pgd10", steps=1, alpha=1.25, **threat))
    assert torch.equal(one, trained(tiny, make(tiny, "fgsm_rs", **threat)))


@pytest.mark.parametrize("threat", [{}, L2], ids=["Linf", "L2"])
def test_fgsm_alpha_beyond_one_is_cut_to_the_ball(tiny, threat):
    one = trained(tiny, make(tiny, "fgsm", alpha=1.25, **threat))
    two = trained(tiny, make(tiny, "fgsm", **threat))
    assert torch.allclose(one, two, atol=1e-6)
    assert threat or torch.equal(one, two)


def test_methods_differ_from_each_other(tiny):
    names = ["standard", "fgsm", "fgsm_rs", "n_fgsm", "pgd10", "sora"]
    results = [trained(tiny, make(tiny, name)) for name in names]
    for i, one in enumerate(results):
        assert not any(torch.allclose(one, two, atol=1e-6) for two in results[:i])


def test_fgsm_reaches_the_exact_maximum_of_a_linear_loss(tiny):
    x, y, net = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]), Linear(4)
    seen = tiny.step(make(tiny, "fgsm"), net, x, y)
    signs = torch.stack([-net.w.sign(), net.w.sign()]).view(2, 1, 2, 2)
    assert torch.allclose(seen["at"], x + tiny.eps * signs, atol=1e-7)


def test_fgsm_in_l2_is_the_exact_maximum_of_a_linear_loss(tiny):
    x, y, net = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1]), Linear(4)
    seen = tiny.step(make(tiny, "fgsm", norm="L2", eps=0.1), net, x, y)
    w = (net.w / net.w.norm()).detach()
    assert torch.allclose(seen["d"], 0.1 * torch.stack([-w, w]).view(2, 1, 2, 2), atol=1e-6)


@pytest.mark.parametrize("which", ["fgsm", "fgsm_rs", "n_fgsm", "sora"])
def test_pert_align_of_a_linear_loss_is_one(tiny, which):
    from bench.ops import cosine

    method, x, y = make(tiny, which), torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
    state = State(c=torch.tensor(0.99))
    seen = tiny.step(method, Linear(4), x, y, state)
    assert cosine(seen["g"], seen["h"]).item() == pytest.approx(1.0)


def test_n_fgsm_leaves_the_ball_and_fgsm_rs_does_not(tiny):
    x, y = torch.full((64, 1, 2, 2), 0.5), torch.arange(64) % 2
    far = {
        name: tiny.step(make(tiny, name), Linear(4), x, y)["at"] for name in ("n_fgsm", "fgsm_rs")
    }
    reach = {name: ((at - x).abs().max() / tiny.eps).item() for name, at in far.items()}
    assert reach["fgsm_rs"] <= 1 + 1e-5
    assert 2 < reach["n_fgsm"] <= 3 + 1e-5


# SORA's feedback, against the published rule written out plainly.


@pytest.mark.parametrize("c", [1.0, 0.99, 0.98, 0.95, 0.9, 0.7, 0.5, 0.0, -1.0])
@pytest.mark.parametrize("k", [3, 8, 16])
@pytest.mark.parametrize("rule", ["code", "paper"])
def test_sora_step_follows_the_published_rule(tiny, rule, k, c):
    eps = k / 255
    method = load("sora")(eps=eps, rule=rule)
    if rule == "code":
        expected = 2 * eps * (1.0 if c == 1 else min(1.0, 0.02 / (1 - c)))
    else:
        expected = 2 * eps if c == 1 else min(2 * eps, 0.02 / (1 - c))
    x, y, net = torch.full((512, 1, 2, 2), 0.5), torch.zeros(512, dtype=torch.long), Linear(4)
    torch.manual_seed(5)
    seen = tiny.step(method, net, x, y, State(c=torch.tensor(c)))
    torch.manual_seed(5)
    eta = box(uniform(x, eps), x)
    u = torch.rand_like(x)
    d = box(eta + expected * u * grad(ce(net, y), at=x + eta).sign(), x)
    assert torch.allclose(seen["at"], x + d, atol=1e-6)


def test_sora_rules_agree_where_alpha_max_is_one_pixel_unit(tiny):
    for c in (0.9, 0.5, 0.0):
        code = load("sora")(eps=0.5, alpha_max=2.0, rule="code")
        paper = load("sora")(eps=0.5, alpha_max=2.0, rule="paper")
        x, y = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.long)
        ats = []
        for method in (code, paper):
            torch.manual_seed(5)
            ats.append(tiny.step(method, Linear(4), x, y, State(c=torch.tensor(c)))["at"])
        assert torch.equal(*ats)


def test_sora_feedback_is_the_hand_computed_average(tiny):
    """Two images of two pixels: r = mean(<sign g, h> / |g|_1), c <- 0.95 c + 0.05 clip(r)."""
    x, y = torch.full((2, 1, 1, 2), 0.5), torch.tensor([0, 1])
    net = Linear(2)
    state = State(c=torch.tensor(0.99))
    seen = tiny.step(make(tiny, "sora"), net, x, y, state)
    g, h = seen["g"].flatten(1), seen["h"].flatten(1)
    ratios = [
        sum((1 if g[i, j] > 0 else -1) * h[i, j].item() for j in range(2))
        / sum(abs(g[i, j].item()) for j in range(2))
        for i in range(2)
    ]
    r = max(-1.0, min(1.0, sum(ratios) / 2))
    assert state.c.item() == pytest.approx(0.95 * 0.99 + 0.05 * r, abs=1e-6)


def test_sora_in_l2_steps_and_learns_as_published(tiny):
    """d = box(eta + a u g/|g|), u one draw an element; r = mean(<g, h> / |g|_2^2)."""
    x, y, net = torch.rand(8, 1, 2, 2), torch.arange(8) % 2, Linear(4)
    method, state = make(tiny, "sora", **L2), State(c=torch.tensor(0.5))
    seen = tiny.step(method, net, x, y, state)
    torch.manual_seed(5)
    eta = box(method.threat.uniform(x), x)
    g = grad(ce(net, y), at=x + eta)
    a, u = 2 * 0.5 * 0.02 / (1 - 0.5), torch.rand_like(x)
    d = box(eta + a * u * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1), x)
    assert torch.allclose(seen["d"], d, atol=1e-6)
    g, h = seen["g"].flatten(1), seen["h"].flatten(1)
    r = ((g * h).sum(1) / g.square().sum(1)).mean().clamp(-1, 1).item()
    assert state.c.item() == pytest.approx(0.95 * 0.5 + 0.05 * r, abs=1e-6)


def test_sora_forgets_a_nan(tiny):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2] * torch.nan

    state = State(c=torch.tensor(0.5))
    x = torch.full((2, 1, 1, 2), 0.5)
    tiny.step(make(tiny, "sora"), Flat(), x, torch.tensor([0, 1]), state)
    assert state.c.item() == pytest.approx(0.95 * 0.5 + 0.05)
