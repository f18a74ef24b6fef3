"""ConvergeSmooth: hold the loss to what it was an epoch ago where it has jumped."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, ce, corner, grad, project, soft, uniform


@dataclass(frozen=True, kw_only=True)
class ConvergeSmooth(Method):
    """FGSM-MEP or FGSM-RS, and a term against jumps of the loss from epoch to epoch.

    Source: Zhao et al., ICCV 2023, arXiv:2308.12857; code Mengnan-Zhao-Happy/ConvergeSmooth at
        d94f6bc.
    Cite: zhao2023fast
    Family: regularised

        base mep: x_0 = x + D,  d = P(D + eps sign g),  g = grad SCE(f(x_0), y)
                  m <- g / |g|_1 + mu m,  D <- P(D + eps sign m);  reset as in FGSM-MEP
                  l_0 = SCE(f(x), y)
        base rs:  x_0 = x + U[-eps, eps] cut to [0, 1],  g = grad CE(f(x_0), y)
                  x + d = x_0 + eps sign(g) cut to [0, 1]
                  l_0 = SCE(f(x_0), y)
        gap  = l_0 - its mean over the images of the epoch before
        on   = |gap| > gamma, and the epoch is at least ``stride`` + 1 from first and end
        L    = SCE(f(x + d), y) + w sign(gap) l_0 on
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, g, d (B, C, H, W); all D and m (N, C, H, W); l_0, gap, on ().
    Cost: 3 forward, 3 backward.
    Differs: [code] stays away from drops of the learning rate, too; here every schedule is taken as
        one without. Its penalty of FGSM-MEP is off there by default, and not here; neither is its
        multi-step term, which has no gradient. Weight centralisation is in the paper alone. Its
        script for FGSM-RS does not run; values are those of the other. They are for 16/255; those
        for 8/255 were not available.
    """

    base: Literal["mep", "rs"] = "mep"  # FGSM-MEP-CS or FGSM-RS-CS
    gamma: float = 0.03  # least jump, in nats
    w: float = 1.0  # weight of the term
    stride: int = 1  # epochs, beside one, without the term at both ends
    a: float = 0.6  # of the target, on the label
    mu: float = 0.3  # decay of m
    reset: int = 40  # epochs between resets of D and m

    smooths: ClassVar[bool] = True
    cost = Cost(forward=3, backward=3)

    @property
    def reach(self):
        return 1.0 if self.base == "mep" else 2.0

    def init(self, run):
        last = torch.tensor([run.epochs - 1 - self.stride], device=run.device)  # without the term
        numbers = {name: torch.zeros(1, device=run.device) for name in ("total", "seen", "acts")}
        state = State(prev=torch.zeros((), device=run.device), last=last, **numbers)
        if self.base == "mep":
            empty = torch.empty((run.images, *run.batch[1:]), device=run.device)
            state |= State(D=corner(empty, self.eps), m=torch.zeros_like(empty))
        return state

    def on_epoch(self, net, state, epoch):
        state.prev.copy_((state.total / state.seen.clamp(min=1))[0])
        state.acts.copy_((self.stride < epoch) & (epoch <= state.last))
        state.total.zero_(), state.seen.zero_()
        if self.base == "mep" and epoch and epoch % self.reset == 0:
            state.D.copy_(corner(state.D, self.eps))
            state.m.zero_()

    def step(self, net, batch, state, descend):
        x, y, i, eps = batch.x, batch.y, batch.rows, self.eps

        def sce(out):
            return F.cross_entropy(out, soft(y, self.a, out.shape[1]))

        if self.base == "mep":
            D, where = state.D[i], x
            g = grad(lambda z: sce(net(z)), at=x + D)
            d = project(D + eps * g.sign(), x, eps)
        else:
            eta = box(uniform(x, eps), x)
            where = x + eta
            g = grad(ce(net, y), at=where)
            d = box(eta + eps * g.sign(), x)

        def loss(z):
            l_0 = sce(net(where))
            state.total.add_(len(x) * l_0.detach())
            gap = l_0.detach() - state.prev
            on = (gap.abs() > self.gamma) * state.acts[0]
            return sce(net(z)) + self.w * gap.sign() * on * l_0

        descend(loss, at=x + d, g=g)
        state.seen.add_(len(x))
        if self.base == "mep":
            m = g / g.abs().sum().clamp(min=1e-30) + self.mu * state.m[i]
            state.m[i] = m
            state.D[i] = project(D + eps * m.sign(), x, eps)
