"""ATTA: an image keeps its perturbation from epoch to epoch, and takes a short step a visit."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, ce, eval_mode, grad, kl, project


@dataclass(frozen=True, kw_only=True)
class ATTA(Method):
    """One step from the image's last perturbation; MAT(ATTA-1) or TRADES(ATTA-1).

    Source: Zheng et al., CVPR 2020, arXiv:1912.11969; code haizhongzheng/ATTA at 2c987de.
    Cite: zheng2020efficient
    Family: single-step

        d_i  = 0.001 N(0, I) at the start and at each reset
        d_i <- P(d_i + alpha sign grad_x CE(f(x + d), y)), BN frozen
        mat:    L = CE(f(x + d), y)
        trades: L = CE(f(x), y) + beta KL(f(x) || f(x + d))

    Shapes: x (B, C, H, W); all d (N, C, S, S) on the padded canvas, of which a batch sees and
        replaces the crops.
    Cost: mat 2 forward, 2 backward; trades one of each more; N canvases of state.
    Differs: keeps perturbations where the authors keep attacked images, which is the same but for
        the cut of the start to [0, 1]. Their mat loss is divided by B once more, which makes weight
        decay B times as strong beside it: ``scaled``. TRADES attacks CE, as in the code.
    """

    form: Literal["mat", "trades"] = "mat"
    alpha: float = 0.48  # step, in units of eps; 0.015 of 0.031
    reset: int = 10  # epochs between resets: 10, 20, ..., counted from 1
    beta: float = 6.0  # weight of the divergence, in trades
    scaled: bool = False  # divide the loss of mat by B once more, as the released code

    @property
    def cost(self):
        more = self.form == "trades"
        return Cost(forward=2 + more, backward=2 + more)

    def init(self, run):
        if run.canvas is None:
            raise ValueError(
                "ATTA keeps a perturbation of every image on its padded canvas, and the "
                "augmentation of this data set has none; leave atta out, or crop and flip instead"
            )
        return State(d=0.001 * torch.randn(run.canvas, device=run.device))

    def on_epoch(self, net, state, epoch):
        if (epoch + 1) % self.reset == 0:
            state.d.normal_().mul_(0.001)

    def step(self, net, batch, state, descend):
        x, y, i = batch.x, batch.y, batch.rows
        kept = state.d[i]
        eta = box(batch.view(kept), x)
        with eval_mode(net):
            g = grad(ce(net, y), at=x + eta)
        d = project(eta + self.alpha * self.eps * g.sign(), x, self.eps)

        def loss(z):
            if self.form == "mat":
                return F.cross_entropy(net(z), y) / (len(x) if self.scaled else 1)
            clean, attacked = net(x), net(z)
            return F.cross_entropy(clean, y) + self.beta * kl(clean, attacked)

        descend(loss, at=x + d, g=g)
        state.d[i] = batch.view.inverse(d, kept)
