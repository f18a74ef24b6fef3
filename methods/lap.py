"""LAP: every update moves the weights of early layers first, and leaves them moved."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from bench.method import Cost, Method
from bench.ops import all_grads, box, ce, in_norm, move, project, uniform

BETAS = {  # by base, at these radii in 1/255
    "v": {8: 0.03, 12: 0.058, 16: 0.07, 32: 0.48},
    "r": {8: 0.002, 12: 0.03, 16: 0.05, 32: 0.3},
    "n": {8: 0.001, 12: 0.002, 16: 0.005, 32: 0.75},
}


@dataclass(frozen=True, kw_only=True)
class LAP(Method):
    """Layer-aware perturbation of the weights, over FGSM, FGSM-RS or N-FGSM.

    Source: Lin et al., ICML 2024, arXiv:2405.16262; code tmllab/2024_ICML_LAP at 5a4bd23.
    Cite: lin2024layer
    Family: regularised

        e    = 0 (v), U[-eps, eps] (r), U[-2 eps, 2 eps] (n)
        g, G = gradients of CE(f(x + e), y) to x and to the weights, of one pass
        d    = P(e + a eps sign(g)), a = 1 (v), 1.25 (r);  n: e + eps sign(g)
        u    = -(mu v + G + decay w), where the optimiser, with velocity v, would move
        w_l <- w_l + beta (1 - (ln l / ln n)^0.3) |w_l|_2 u_l / |u_l|_2,  l = 1 .. n: the tensors
               of two dimensions and more
        an update on CE(f(x + d), y); the move is kept

    Shapes: x, e, g, d (B, C, H, W); w, G, v, u as the weights.
    Cost: 2 forward, 2 backward.
    Differs: direction: the paper perturbs against the weights, and the released code moves with the
        optimiser, down the loss: ``released``; ``ascent`` is the opposite. The code takes a real
        step of its optimiser and puts it back, which in today's torch leaves the velocity changed;
        here u is its formula. SGD alone. beta is the README's at the nearest radius.
    """

    base: Literal["v", "r", "n"] = "v"
    beta: float = -1.0  # size of the move at the first layer; negative: published
    direction: Literal["released", "ascent"] = "released"

    moves: ClassVar[bool] = True
    known_to: ClassVar[float] = 32.0
    cost = Cost(forward=2, backward=2)

    @property
    def reach(self):
        return 3.0 if self.base == "n" else 1.0

    @property
    def published_beta(self):
        """The beta in use."""
        if self.beta >= 0:
            return self.beta
        betas = BETAS[self.base]
        return betas[min(betas, key=lambda k: abs(k - 255 * self.eps))]

    def step(self, net, batch, state, descend):
        x, eps, loss = batch.x, self.eps, ce(net, batch.y)
        width = {"v": 0, "r": 1, "n": 2}[self.base]
        e = box(uniform(x, width * eps), x)
        g, of_weights = all_grads(net, loss, at=x + e)
        if self.base == "n":
            d = box(e + eps * g.sign(), x)
        else:
            d = project(e + (1.25 if self.base == "r" else 1) * eps * g.sign(), x, eps)
        u = in_norm(net, descend.ahead(of_weights))
        layers = [k for k, one in enumerate(u) if one.dim() > 1]
        sign = 1 if self.direction == "released" else -1
        for order, k in enumerate(layers, 1):
            share = 1 - (math.log(order) / math.log(max(len(layers), 2))) ** 0.3
            u[k] = sign * self.published_beta * share * u[k]
        move(net, u)
        descend(loss, at=x + d, g=g)
