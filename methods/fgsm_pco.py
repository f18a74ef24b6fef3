"""FGSM-PCO: train between the image's last attack and its new one, as sure of it as the network."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import corner, grad, own, project, soft


@dataclass(frozen=True, kw_only=True)
class FGSMPCO(Method):
    """FGSM from the image's last attack, mixed with it by the network's confidence.

    Source: Wang et al., ECCV 2024, arXiv:2407.12443; code HandingWangXDGroup/FGSM-PCO at 1424ba3.
    Cite: wang2024preventing
    Family: regularised

        D_i  = eps r at the start, r = -1 or 1
        z_0  = f(x + D),  g = grad SCE(z_0, y)
        d    = P(D + eps sign(g))
        c_i  = 1 - softmax(z_0)_iy            with its gradient
        x_m  = c (x + D) + (1 - c) (x + factor d)
        L    = SCE(f(x_m), y) + lam |MSE(f(x + d), z_0) - MSE(f(x + d), f(x_m))|
        D_i <- d_i
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, g, d, x_m (B, C, H, W); all D (N, C, H, W); z_0 (B, K); c (B, 1, 1, 1). MSE is the
        mean over all B K logits.
    Cost: 4 forward, 4 backward: z_0 is computed once more for the loss, which goes through it.
    Differs: [code] for CIFAR-10 alone is released. x_m lies neither in the ball nor in [0, 1], and
        D is added to an image's crop as it is, as there.
    """

    lam: float = 10.0  # weight of the difference
    factor: float = 1.5  # how far beyond d the mixture begins
    a: float = 0.6  # of the target, on the label

    smooths: ClassVar[bool] = True
    cost = Cost(forward=4, backward=4)

    @property
    def reach(self):
        return self.factor

    @property
    def boxed(self):
        return False

    def init(self, run):
        empty = torch.empty((run.images, *run.batch[1:]), device=run.device)
        return State(D=corner(empty, self.eps))

    def step(self, net, batch, state, descend):
        x, y, eps = batch.x, batch.y, self.eps
        D = state.D[batch.rows]

        def sce(out):
            return F.cross_entropy(out, soft(y, self.a, out.shape[1]))

        g = grad(lambda z: sce(net(z)), at=x + D)
        d = project(D + eps * g.sign(), x, eps)

        def loss(z):
            z_0 = net(x + D)
            c = (1 - own(z_0.softmax(1), y))[:, None, None, None]
            z_m, z_d = net(c * (x + D) + (1 - c) * z), net(x + d)
            gap = F.mse_loss(z_d, z_0) - F.mse_loss(z_d, z_m)
            return sce(z_m) + self.lam * gap.abs()

        descend(loss, at=x + self.factor * d, g=g)
        state.D[batch.rows] = d
