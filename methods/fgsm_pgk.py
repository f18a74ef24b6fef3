"""FGSM-PGK: FGSM-MEP whose prior and averaged weights follow how much the attack still fools."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import corner, grad, labels, project, soft


@dataclass(frozen=True, kw_only=True)
class FGSMPGK(Method):
    """FGSM from a prior of each image, and an average of weights that weak attacks hardly move.

    Source: Jia et al., TPAMI 2024, arXiv:2304.00202; code jiaxiaojunQAQ/FGSM-PGK at ef58b3c.
    Cite: jia2024improving
    Family: regularised

        D_i  = eps r at the start and every ``reset`` epochs, r = -1 or 1;  m_i = 0
        z_0  = f(x + D),  g = grad SCE(z_0, y)
        d    = P(D + eps sign(g))
        L    = SCE(f(x + d), y) + lam MSE(f(x + d), z_0)
        q    = acc(x + d) / acc(x + D)        shares of the batch that are right
        m   <- (2 - q) g / |g|_1 + mu m,  D <- P(D + eps sign(m))
        average of the weights: tau if q < r, else 0.99999 q / r, and no more than
               (k + 1) / (k + 10) after k updates
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, g, d (B, C, H, W); all D and m (N, C, H, W); z_0 (B, classes); q, tau ().
    Cost: 3 forward, 3 backward: z_0 is computed once more for the loss, which goes through it.
    Differs: q is 1 where nothing is right at x + D, for which the code divides by 0. The averaged
        network is what the authors evaluate; it stands beside the last one. D is added to an
        image's crop as it is, and x + D is not clipped, as there.
    """

    lam: float = 5.6  # weight of the penalty
    a: float = 0.5  # of the target, on the label
    mu: float = 0.3  # decay of m
    reset: int = 10  # epochs between resets
    r: float = 0.82  # q from which the average hardly moves
    tau: float = 0.999  # share of the past that the average keeps below r

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {"lam": 1.0, "a": 0.8, "reset": 40, "mu": 0.1, "r": 0.9},
        "tiny_imagenet": {"lam": 1.0, "a": 0.8, "reset": 40, "mu": 0.1, "r": 0.9},
    }
    smooths: ClassVar[bool] = True
    averages: ClassVar[bool] = True
    cost = Cost(forward=3, backward=3)

    def init(self, run):
        D = corner(torch.empty((run.images, *run.batch[1:]), device=run.device), self.eps)
        tau, done = torch.zeros((), device=run.device), torch.zeros(1, device=run.device)
        return State(D=D, m=torch.zeros_like(D), q=torch.ones_like(tau), tau=tau, done=done)

    def on_epoch(self, net, state, epoch):
        if epoch and epoch % self.reset == 0:
            state.D.copy_(corner(state.D, self.eps))
            state.m.zero_()

    def step(self, net, batch, state, descend):
        x, y, i, eps = batch.x, batch.y, batch.rows, self.eps
        D = state.D[i]

        def sce(out):
            return F.cross_entropy(out, soft(y, self.a, out.shape[1]))

        g = grad(lambda z: sce(net(z)), at=x + D)
        d = project(D + eps * g.sign(), x, eps)

        def loss(z):
            z_0, out = net(x + D), net(z)
            self.judge(state, labels(y), before=z_0, after=out)
            return sce(out) + self.lam * F.mse_loss(out, z_0)

        descend(loss, at=x + d, g=g)
        m = (2 - state.q) * g / g.abs().sum().clamp(min=1e-30) + self.mu * state.m[i]
        state.m[i] = m
        state.D[i] = project(D + eps * m.sign(), x, eps)

    def judge(self, state, y, before, after):
        """Set q, and how much of the past the average of the weights keeps."""
        before, after = ((out.argmax(1) == y).float().mean() for out in (before, after))
        q = torch.where(before > 0, after / before.clamp(min=1e-30), 1.0)
        state.q.copy_(q)
        slow = 0.99999 * q / self.r
        k = state.done[0]
        state.tau.copy_(torch.where(q < self.r, self.tau, slow).minimum((k + 1) / (k + 10)))
        state.done.add_(1)
