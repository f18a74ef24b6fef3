"""FGSM-LAW: hold outputs and features still under attack, and average only where it succeeds."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, corner, featured, grad, labels, project, soft


@dataclass(frozen=True, kw_only=True)
class FGSMLAW(Method):
    """FGSM-RS with a Lipschitz regulariser, and weights averaged after strong attacks alone.

    Source: Jia et al., 2023, arXiv:2308.11443; code jiaxiaojunQAQ/FGSM-LAW at 290fba3.
    Cite: jia2023fast
    Family: regularised

        e   = eps / 2 s, s = -1 or 1
        g   = grad_x CE(softmax f(x + e), y): the softmax is taken for logits
        d   = P(e + eps sign(g))
        R   = [MSE(softmax f(x + d), softmax f(o)) + MSE(softmax p(x + d), softmax p(o))]
              / (MSE(x + d, o) + 0.125)      o = x, p: what the last linear layer reads
        L   = SCE(f(x + d), y) + lam R
        q   = right at x + d / right at o
        average of the weights: taken where q < r, of tau, and no more than (k + 1) / (k + 10)
              after k averages
        anchor noisy: o = x + e, and one more image right there
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, e, g, d (B, C, H, W); f (B, classes), p (B, features); q, tau ().
    Cost: 3 forward, 3 backward.
    Differs: where nothing is right at o = x, for which the code divides by 0, nothing is averaged.
        Cutout of 4 (CIFAR) or 6 pixels and Tiny-ImageNet's clipped weight gradients are not here.
        The averaged network is what the authors evaluate; it stands beside the last one. arXiv's
        number is as generally known [known].
    """

    lam: float = 12.0  # weight of R
    a: float = 0.7  # of the target, on the label
    r: float = 0.82  # q from which nothing is averaged
    tau: float = 0.999  # share of the past that the average keeps
    anchor: Literal["clean", "noisy"] = "clean"  # o

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "cifar100": {"lam": 42.0, "a": 0.5, "r": 0.55, "tau": 0.9998, "anchor": "noisy"},
        "tiny_imagenet": {"lam": 38.0, "a": 0.3, "r": 0.55, "anchor": "noisy"},
    }
    smooths: ClassVar[bool] = True
    averages: ClassVar[bool] = True
    cost = Cost(forward=3, backward=3)

    def init(self, run):
        if run.features is None:
            raise ValueError(
                "FGSM-LAW compares what a network's last linear layer reads, and this network does "
                "not end in one; leave fgsm_law out, or choose another network"
            )
        one = torch.ones((), device=run.device)
        return State(q=one, tau=one.clone(), done=torch.zeros(1, device=run.device))

    def step(self, net, batch, state, descend):
        x, y, eps = batch.x, batch.y, self.eps
        e = box(corner(x, eps / 2), x)
        g = grad(lambda z: F.cross_entropy(net(z).softmax(1), y), at=x + e)
        d = project(e + eps * g.sign(), x, eps)
        anchor = x if self.anchor == "clean" else x + e

        def loss(z):
            there, at_z = featured(net, anchor), featured(net, z)
            self.judge(state, labels(y), before=there[0], after=at_z[0])
            apart = sum(
                F.mse_loss(b.softmax(1), a.softmax(1)) for a, b in zip(there, at_z, strict=True)
            )
            penalty = apart / (F.mse_loss(z.detach(), anchor) + 0.125)
            out = at_z[0]
            return F.cross_entropy(out, soft(y, self.a, out.shape[1])) + self.lam * penalty

        descend(loss, at=x + d, g=g)

    def judge(self, state, y, before, after):
        """Set q, and how much of the past the average of the weights keeps."""
        before, after = ((out.argmax(1) == y).float().sum() for out in (before, after))
        before = before + (self.anchor == "noisy")
        q = torch.where(before > 0, after / before.clamp(min=1e-30), torch.inf)
        k, taken = state.done[0], q < self.r
        tau = ((k + 1) / (k + 10)).clamp(max=self.tau)
        state.tau.copy_(torch.where(taken, tau, 1.0))
        state.q.copy_(q.clamp(max=1e6))
        state.done.add_(taken)
