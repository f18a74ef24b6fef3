"""ELLE: FGSM, and a penalty on the loss for not being linear between neighbours of an image."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, ce, grad, uniform


@dataclass(frozen=True, kw_only=True)
class ELLE(Method):
    """Single-step attack with a regulariser of local linearity; ELLE-A with ``adaptive``.

    Source: Abad Rocamora et al., ICLR 2024, arXiv:2401.11618; code LIONS-EPFL/ELLE at 5fcb562.
    Cite: abadrocamora2024efficient
    Family: regularised

        d    = eps sign grad_x CE(f(x), y)
        x_a  = x + U[-eps, eps],  x_b likewise,  x_c = (1 - a) x_a + a x_b,  a = U[0, 1]
        r    = mean_i (l_c - (1 - a) l_a - a l_b)^2     l = CE of each image
        L    = CE(f(x + d), y) + lam r
        ELLE-A: lam = 0 at the start; after each batch, with mean and std of all r before it,
        lam <- lam_max if r > mean + s std and they are 3 or more, else decay lam

    Shapes: x, d, x_a, x_b, x_c (B, C, H, W); a, l (B,); r, lam ().
    Cost: 5 forward, 5 backward, 3 of each for the triplet; two numbers of state, ELLE-A five.
    Differs: one optimiser step a batch; the authors' trainer takes two on one gradient, nearly
        twice the learning rate, and sends the clean images once more through BatchNorm, to count
        hits. Running moments replace the list of r. Nothing is clipped to [0, 1], as there.
        Variant sora_bench: d starts from U[-eps, eps] cut to [0, 1] and is projected to the
        eps-ball, x_a and x_b are cut to [0, 1], x + d is not; lam = 1000 for any eps.
    """

    lam: float = -1.0  # weight of r; negative: published (1000 to 8/255, 5000 to 20/255, 10000)
    adaptive: bool = False  # ELLE-A: lam follows r instead
    lam_max: float = 4000.0  # lam after an outlier
    decay: float = 0.99  # of lam after any other batch
    s: float = 2.0  # sensitivity: an outlier's distance from the mean, in standard deviations
    variant: Literal["official", "sora_bench"] = "official"

    known_to = 26.0
    cost = Cost(forward=5, backward=5)

    @property
    def boxed(self):
        return False

    @property
    def published_lam(self):
        if self.variant == "sora_bench" or self.eps < 9 / 255:
            return 1000.0
        return 5000.0 if self.eps < 21 / 255 else 10000.0

    def init(self, run):
        names = ("lam", "r", "n", "mean", "m2") if self.adaptive else ("lam", "r")
        state = State({name: torch.zeros((), device=run.device) for name in names})
        if not self.adaptive:
            state.lam.fill_(self.lam if self.lam >= 0 else self.published_lam)
        return state

    def step(self, net, batch, state, descend):
        x, y, eps, clip = batch.x, batch.y, self.eps, self.variant == "sora_bench"
        eta = box(uniform(x, eps), x) if clip else torch.zeros_like(x)
        g = grad(ce(net, y), at=x + eta)
        d = (eta + eps * g.sign()).clamp(-eps, eps)
        x_a, x_b = x + uniform(x, eps), x + uniform(x, eps)
        if clip:
            x_a, x_b = x_a.clamp(0, 1), x_b.clamp(0, 1)
        a = torch.rand_like(x[:, :1, :1, :1])
        triplet = torch.cat([x_a, x_b, (1 - a) * x_a + a * x_b])
        a = a.flatten()

        def loss(z):
            fit = F.cross_entropy(net(z), y)
            l_a, l_b, l_c = F.cross_entropy(
                net(triplet), torch.cat([y] * 3), reduction="none"
            ).chunk(3)
            r = (l_c - (1 - a) * l_a - a * l_b).square().mean()
            state.r.copy_(r.detach())
            return fit + state.lam * r

        descend(loss, at=x + d, g=g)
        if self.adaptive:
            self.adapt(state)

    def adapt(self, state):
        r, n, mean, m2 = state.r, state.n, state.mean, state.m2
        outlier = (n > 2) & (r - mean > self.s * (m2 / n.clamp(min=1)).sqrt())
        state.lam.copy_(torch.where(outlier, self.lam_max, self.decay * state.lam))
        n.add_(1)
        off = r - mean  # Welford's moments
        mean.add_(off / n)
        m2.add_(off * (r - mean))
