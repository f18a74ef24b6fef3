"""FGSM-UAP: start from a perturbation that all images share, or all of a class."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import corner, grad, labels, project, smooth


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

    Shapes: x, e, g, d (B, C, H, W); u, m (classes or 1, C, H, W). |g|_1 is of the whole batch; MSE
        is the mean over all logits.
    Cost: 3 forward, 3 backward: f(x + e) is computed once more for the loss, which goes through it.
    Differs: per = one is their One-UAP, and per = class their Class-UAP (FGSM-CUAP); the form by
        features (FGSM-FUAP) is not here. All r of 1 and more train alike, because u only takes -r,
        0 and r and is cut to the ball. Weight averaging, 0.9995, is the protocol's.
    """

    per: Literal["class", "one"] = "class"  # who shares a perturbation
    r: float = 1.25  # size of u and of its step, in units of eps: 10/255 at 8/255
    lam: float = 10.0  # weight of the penalty
    mu: float = 0.3  # decay of m
    s: float = 0.4  # share of the target that is spread over all classes

    smooths: ClassVar[bool] = True
    cost = Cost(forward=3, backward=3)

    def init(self, run):
        shape = (run.classes if self.per == "class" else 1, *run.batch[1:])
        u = corner(torch.empty(shape, device=run.device), self.r * self.eps)
        return State(u=u, m=torch.zeros_like(u))

    def step(self, net, batch, state, descend):
        x, y, eps, r = batch.x, batch.y, self.eps, self.r * self.eps
        u, m = state.u, state.m
        k = labels(y) if self.per == "class" else torch.zeros_like(batch.rows)
        e = project(u[k], x, eps)

        def sce(out):
            return F.cross_entropy(out, smooth(y, self.s, out.shape[1]))

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
