"""GradAlign: keep the input gradient the same all over the eps-ball."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from bench.method import Cost, Method, State
from bench.ops import box, ce, grad, project, ramp, uniform


@dataclass(frozen=True, kw_only=True)
class GradAlign(Method):
    """Single-step attack, and a penalty on gradients that turn between two points.

    Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617; code
        tml-epfl/understanding-fast-adv-training.
    Cite: andriushchenko2020understanding
    Family: regularised

        g_1 = grad_x CE(f(x), y)              g_2 = grad_x CE(f(x + eta), y)
        d   = P(alpha sign(g_1))              eta = U[-eps, eps], not cut to [0, 1]
        R   = 1 - mean cos(g_1, g_2)          over images where neither is 0; g_1 is a constant
        L   = CE(f(x + d), y) + lam(eps) R
        lam(eps) = lam growth^(min(255 eps, 16) / 8 - 1)
        attack pgd2: d = two steps of eps / 2 from x;  ramp: steps grow with t from 0

    Shapes: x, eta, g_1, g_2, d (B, C, H, W); R ().
    Cost: 3 forward, 4 backward: g_2 is differentiated once more, for the weights; pgd2 one of
        each more.
    Differs: works on the [0, 1] scale. On SVHN the authors' step grows over the first 5 epochs
        (ramp); here none does unless told. lam(eps) ends where the authors' does. Their g_1 passes
        a cut to [0, 1] by torch.max and torch.min, which halve the gradient of pixels that are 0 or
        1; here it is whole. Variant sora_bench cuts eta to the image and steps from it along g_2,
        which is FGSM-RS; for its one lam at all radii set growth = 1. Its release also loses the
        pixels of g_2 where eta was cut; here they stay, and images without gradient are left out.
    """

    alpha: float = 1.25  # step, in units of eps; from x the projection makes it 1
    lam: float = 0.2  # weight of R at 8/255; 0 is off
    growth: float = 10.0  # factor of lam from each 8/255 to the next; 1 keeps lam the same
    variant: Literal["official", "sora_bench"] = "official"  # where the attack starts
    attack: Literal["fgsm", "pgd2"] = "fgsm"  # of variant official
    ramp: float = 0.0  # share of the training in which the step grows

    added = ("attack", "ramp")
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "svhn": {"lam": 2.5, "growth": 1.6},  # sh/exps_diff_eps_svhn.sh
    }
    twice: ClassVar[bool] = True

    @property
    def cost(self):
        more = self.attack == "pgd2"
        return Cost(forward=3 + more, backward=4 + more)

    @property
    def weight(self):
        """Weight of R at this radius."""
        return self.lam * self.growth ** (min(255 * self.eps, 16) / 8 - 1)

    def init(self, run):
        if self.attack == "pgd2" and self.variant == "sora_bench":
            raise ValueError("variant sora_bench attacks by one step; leave out attack or variant")
        return State()

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        length = self.eps * (0.5 if self.attack == "pgd2" else self.alpha)
        alpha, lam = length * ramp(batch.t, self.ramp), self.weight
        if self.variant == "official":
            g1 = grad(loss, at=x)
            d = project(alpha * g1.sign(), x, self.eps)
            if self.attack == "pgd2":
                d = project(d + alpha * grad(loss, at=x + d).sign(), x, self.eps)
            eta = uniform(x, self.eps)
            descend(lambda z: loss(z) + lam * turn(g1, curved(loss, x + eta)), at=x + d, g=g1)
        else:
            eta = box(uniform(x, self.eps), x)
            g2 = curved(loss, at=x + eta)
            g1 = grad(loss, at=x)
            d = project(eta + alpha * g2.detach().sign(), x, self.eps)
            descend(lambda z: loss(z) + lam * turn(g1, g2), at=x + d, g=g2.detach())


def curved(loss, at):
    """Return d loss / d at with its graph, so that it can be differentiated again."""
    z = at.detach().requires_grad_()
    return torch.autograd.grad(loss(z), z, create_graph=True)[0]


def turn(a, b):
    """Return the mean of 1 - cos over images where neither gradient is 0, () in [0, 2]."""
    a, b = a.flatten(1), b.flatten(1)
    m, n = a.norm(dim=1), b.norm(dim=1)
    kept = (m > 0) & (n > 0)
    cos = (a / m.where(kept, 1)[:, None] * (b / n.where(kept, 1)[:, None])).sum(1)
    return (kept * (1 - cos)).sum() / kept.sum().clamp(min=1)
