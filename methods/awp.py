"""AWP: climb in the weights before each update, and go back after it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method
from bench.ops import (
    box,
    ce,
    eval_mode,
    grad,
    in_norm,
    kl,
    moved,
    pgd,
    project,
    statistics_kept,
    uniform,
    weight_grads,
)


@dataclass(frozen=True, kw_only=True)
class AWP(Method):
    """Adversarial weight perturbation, over FGSM-RS, PGD or TRADES.

    Source: Wu et al., NeurIPS 2020, arXiv:2004.05884; code csdongxian/AWP at a7acf5d.
    Cite: wu2020adversarial
    Family: regularised

        d  = the attack of the base;  fgsm_rs: FGSM-RS, pgd: PGD-10, trades: TRADES
        J  = CE(f(x + d), y);  trades: CE(f(x), y) + beta KL(f(x) || f(x + d))
        G  = grad_w J,  v_l = |w_l|_2 G_l / |G_l|_2, 0 for biases and BatchNorm
        w <- w + gamma v;  an update on J;  w <- w - gamma v
        before the share ``start`` of the training: v = 0

    Shapes: x, d (B, C, H, W); w, G, v as the weights.
    Cost: fgsm_rs 3 forward, 3 backward; pgd 12, 12; trades 15, 14.
    Differs: the code finds v by a step of SGD in a copy of the network; only its direction counts.
        The copy's statistics of BatchNorm are lost there, and here. Weight decay acts on the moved
        weights, as there. The pass for G runs before ``start``, too, where the code has none, so
        that all steps are alike. Of a ViT its positions and its class token are moved with the
        weights.
    """

    base: Literal["fgsm_rs", "pgd", "trades"] = "fgsm_rs"
    gamma: float = -1.0  # size of the move; negative: 0.01, trades 0.005
    start: float = -1.0  # share of the training; negative: 0, trades 0.045 (epoch 10 of 200)
    steps: int = 10  # of the attack of pgd and trades
    alpha: float = 0.25  # their step, in units of eps
    beta: float = 6.0  # weight of the divergence, in trades

    @property
    def cost(self):
        if self.base == "trades":
            return Cost(forward=self.steps + 5, backward=self.steps + 4)
        steps = 1 if self.base == "fgsm_rs" else self.steps
        return Cost(forward=steps + 2, backward=steps + 2)

    @property
    def published(self):
        """The gamma and start in use."""
        table = (0.005, 0.045) if self.base == "trades" else (0.01, 0.0)
        given = (self.gamma, self.start)
        return tuple(b if a < 0 else a for a, b in zip(given, table, strict=True))

    def step(self, net, batch, state, descend):
        x, y, (gamma, start) = batch.x, batch.y, self.published
        d, g = self.attack(net, x, y)

        def loss(z):
            if self.base != "trades":
                return F.cross_entropy(net(z), y)
            clean, attacked = net(x), net(z)
            return F.cross_entropy(clean, y) + self.beta * kl(clean, attacked)

        with statistics_kept(net):
            v = in_norm(net, weight_grads(net, loss, x + d))
        size = gamma * (batch.t >= start).to(x.dtype)
        with moved(net, [size * one for one in v]):
            descend(loss, at=x + d, g=g)

    def attack(self, net, x, y):
        """The perturbation of the base, and its first gradient."""
        eps = self.eps
        if self.base == "trades":
            with eval_mode(net):
                with torch.no_grad():
                    clean = net(x)
                start = 0.001 * torch.randn_like(x)
                return self.climb(lambda z: kl(clean, net(z)), x, start)
        eta = box(uniform(x, eps), x)
        if self.base == "pgd":
            return self.climb(ce(net, y), x, eta)
        g = grad(ce(net, y), at=x + eta)
        return project(eta + 1.25 * eps * g.sign(), x, eps), g

    def climb(self, loss, x, d):
        """The attack of pgd and trades, from d, and its first gradient."""
        return pgd(loss, x, d, threat=self.threat, alpha=self.alpha, steps=self.steps)
