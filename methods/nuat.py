"""NuAT: the logits of a batch may not move far, measured all at once by their nuclear norm."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, eval_mode, grad, project


@dataclass(frozen=True, kw_only=True)
class NuAT(Method):
    """Single-step attack on, and penalty of, the nuclear norm of the change of a batch's logits.

    Source: Sriramanan et al., NeurIPS 2021, OpenReview kuK2VARZGnI; code val-iisc/NuAT.
    Cite: sriramanan2021towards
    Family: regularised

        e = k eps r                           r = -1 or 1, a fair coin per pixel
        A = CE(f(x + e), y) + odd lam |f(x + e) - f(x)|_* / B        f(x + e) with BN frozen
        d = P(e + alpha sign grad_e A)
        L = CE(f(x), y) + lam |f(x) - f(x + d)|_* / B
        lam grows from 0, epoch by epoch, to its full value ``hold`` epochs before the end

    Shapes: x, e, d (B, C, H, W); f(x) (B, classes); odd is 1 in every second batch of an epoch.
    Cost: 4 forward, 3 backward. No CUDA graph: singular values wait for the host.
    Differs: divides by the size of the batch at hand, also of the short last one. In a run of
        ``hold`` epochs or fewer the authors' lam would stay 0; here it is full from the second.
        Variant sora_bench does not freeze BN, has lam full and odd 1 in all batches, and does not
        project, so that d reaches (k + alpha) eps; set lam = 4 too. Its release takes f(x) thrice.
    """

    k: float = 0.5  # size of the noise, in units of eps
    alpha: float = 1.0  # step, in units of eps
    lam: float = 4.5  # full weight of the nuclear norm, for ResNet-18; the SORA benchmark has 4
    hold: int = 10  # last epochs, trained at the full weight
    variant: Literal["official", "sora_bench"] = "official"  # BN, lam, odd and projection

    graph: ClassVar[bool] = False
    cost = Cost(forward=4, backward=3)

    @property
    def reach(self):
        return 1.0 if self.variant == "official" else self.k + self.alpha

    def init(self, run):
        on = float(self.variant == "sora_bench")
        ramp = torch.full((1,), max(run.epochs - self.hold, 1), device=run.device)  # no curve
        odd, lam = (torch.full((), value, device=run.device) for value in (on, on * self.lam))
        return State(odd=odd, lam=lam, ramp=ramp)

    def on_epoch(self, net, state, epoch):
        if self.variant == "official":
            state.odd.zero_()
            state.lam.copy_(self.lam * (epoch / state.ramp[0]).clamp(max=1))

    def step(self, net, batch, state, descend):
        x, y, official = batch.x, batch.y, self.variant == "official"
        with torch.no_grad():
            clean = net(x)

        def attack(z):
            out = net(z)
            return F.cross_entropy(out, y) + state.odd * state.lam * nuclear(out - clean)

        e = box(self.k * self.eps * (2 * torch.empty_like(x).bernoulli_() - 1), x)
        with eval_mode(net) if official else nullcontext():
            g = grad(attack, at=x + e)
        d = project(e + self.alpha * self.eps * g.sign(), x, self.reach * self.eps)

        def loss(z):
            attacked, clean = net(z), net(x)
            return F.cross_entropy(clean, y) + state.lam * nuclear(clean - attacked)

        descend(loss, at=x + d, g=g)
        if official:
            state.odd.copy_(1 - state.odd)


def nuclear(change):
    """Return the sum of the singular values of (B, classes), per image."""
    return torch.linalg.matrix_norm(change, ord="nuc") / len(change)
