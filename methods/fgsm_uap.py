"""FGSM-UAP: start from a perturbation that all images share, or those of a class or a group."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from bench.method import Cost, Method, State
from bench.ops import (
    box,
    corner,
    featured,
    grad,
    labels,
    learn,
    learner,
    project,
    smooth,
    uniform,
)


@dataclass(frozen=True, kw_only=True)
class FGSMUAP(Method):
    """FGSM from universal perturbations, and a penalty on logits that move from there.

    Source: Pan, Li and Yao, AAAI 2024; code fzjcdt/fgsm_uap at 48be879.
    Cite: pan2024adversarial
    Family: regularised

        u_k  = r s at the start, s = -1 or 1;  m_k = 0;  k_i = y_i, per = one: 0
        e    = P(u_k),  g = grad SCE(f(x + e), y)
        d    = P(e + eps sign(g))
        L    = SCE(f(x + d), y) + lam MSE(f(x + d), f(x + e))
        for each k of the batch:  m_k <- mean_{i: k_i = k} g_i / |g|_1 + mu m_k
                                  u_k <- clip(u_k + r sign(m_k), -r, r)
        SCE: smoothed as in torch
        per = feature: n = U[-eps, eps], p what the last linear layer reads of x + n,
            k_i = argmax_j a_j(p), a linear of M outputs;  e = P(n + u_k);  then one step of Adam
            for a and h, h linear of classes, down SCE(h(relu(a(p))), y)

    Shapes: x, n, e, g, d (B, C, H, W); u, m (classes, 1 or M, C, H, W); p (B, features). |g|_1 is
        of the whole batch; MSE is the mean over all logits.
    Cost: 3 forward, 3 backward: f(x + e) is computed once more for the loss, which goes through it;
        by feature 4 forward.
    Differs: per = one is their One-UAP, per = class their Class-UAP (FGSM-CUAP) and per = feature
        FGSM-FUAP. All r of 1 and more train alike in the first two, because u only takes -r, 0 and
        r and is cut to the ball. Weight averaging, 0.9995, is the protocol's.
    """

    per: Literal["class", "one", "feature"] = "class"  # who shares a perturbation
    r: float = 1.25  # size of u and of its step, in units of eps: 10/255 at 8/255
    lam: float = 10.0  # weight of the penalty
    mu: float = 0.3  # decay of m
    s: float = 0.4  # share of the target that is spread over all classes
    M: int = 50  # groups by feature
    lr: float = 0.001  # of a and h

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {"M": 200},
        "tiny_imagenet": {"M": 300},
    }
    smooths: ClassVar[bool] = True

    @property
    def cost(self):
        return Cost(forward=4 if self.per == "feature" else 3, backward=3)

    def init(self, run):
        groups = {"class": run.classes, "one": 1, "feature": self.M}[self.per]
        u = corner(torch.empty((groups, *run.batch[1:]), device=run.device), self.r * self.eps)
        state = State(u=u, m=torch.zeros_like(u))
        if self.per != "feature":
            return state
        if run.features is None:
            raise ValueError(
                "FGSM-UAP by feature groups images by what a network's last linear layer reads, "
                "and this network does not end in one; choose per: class, or another network"
            )
        a = nn.Linear(run.features, groups, device=run.device)
        h = nn.Linear(groups, run.classes, device=run.device)
        parts = {"a": a.weight, "b": a.bias, "h": h.weight, "c": h.bias}
        return State(state | learner(**{name: w.detach() for name, w in parts.items()}))

    def step(self, net, batch, state, descend):
        x, y, eps, r = batch.x, batch.y, self.eps, self.r * self.eps
        u, m = state.u, state.m

        def sce(out):
            return F.cross_entropy(out, smooth(y, self.s, out.shape[1]))

        if self.per == "feature":
            n = box(uniform(x, eps), x)
            k = self.group(net, x + n, state, sce)
            e = project(n + u[k], x, eps)
        else:
            k = labels(y) if self.per == "class" else torch.zeros_like(batch.rows)
            e = project(u[k], x, eps)

        g = grad(lambda z: sce(net(z)), at=x + e)
        d = project(e + eps * g.sign(), x, eps)

        def loss(z):
            start, out = net(x + e), net(z)
            return sce(out) + self.lam * F.mse_loss(out, start)

        descend(loss, at=x + d, g=g)
        member = (k == torch.arange(len(u), device=x.device)[:, None]).to(g.dtype)
        count = member.sum(1)[:, None, None, None]
        mean = (member @ g.flatten(1)).view_as(u) / count.clamp(min=1)
        moved = mean / g.abs().sum().clamp(min=1e-30) + self.mu * m
        m.copy_(torch.where(count > 0, moved, m))
        u.copy_(torch.where(count > 0, (u + r * m.sign()).clamp(-r, r), u))

    def group(self, net, at, state, sce):
        """Choose the group of each image (B,), and teach the classifier that chooses."""
        with torch.no_grad():
            _, p = featured(net, at)
            k = F.linear(p, state.a, state.b).argmax(1)

        def wrong(own):
            return sce(F.linear(F.linear(p, own.a, own.b).relu(), own.h, own.c))

        learn(wrong, state, ("a", "b", "h", "c"), lr=self.lr)
        return k
