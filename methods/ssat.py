"""SSAT: go along the attack only as far as it takes to fool the network."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method
from bench.ops import box, ce, eval_mode, labels, project, uniform


@dataclass(frozen=True, kw_only=True)
class SSAT(Method):
    """FGSM-RS whose perturbation is cut, image by image, where the prediction first turns wrong.

    Source: Kim et al., AAAI 2021, arXiv:2010.01799; code Harry24k/catastrophic-overfitting at
        049809b.
    Cite: kim2021understanding
    Family: single-step

        eta = U[-eps, eps]
        d   = P(eta + alpha sign grad_x CE(f(x + eta), y))
        s_i = 0 if f(x + eta) is wrong,  else j/c for the smallest j < c where f(x + j/c d) is,
              else 1
        L   = CE(f(x + s d), y)               all but this with BN frozen

    Shapes: x, eta, d (B, C, H, W); s (B, 1, 1, 1).
    Cost: c + 1 forward, 2 backward; one forward more where the clean image is tested.
    Differs: which image decides whether s is 0: x + eta [code], or x [paper]; test_at says it. All
        c - 1 points are tried for all images, and the nearest wrong one is taken.
    """

    alpha: float = 1.25  # step, in units of eps
    c: int = 3  # parts of the perturbation
    test_at: Literal["noisy", "clean"] = "noisy"  # the image that, wrong already, stays clean

    @property
    def cost(self):
        return Cost(forward=self.c + 1 + (self.test_at == "clean"), backward=2)

    def step(self, net, batch, state, descend):
        x, y, c = batch.x, batch.y, self.c
        eta = box(uniform(x, self.eps), x)

        def wrong(out):
            return (out.argmax(1) != labels(y))[:, None, None, None]

        with eval_mode(net):
            z = (x + eta).requires_grad_()
            first = net(z)
            (g,) = torch.autograd.grad(F.cross_entropy(first, y), z)
            d = project(eta + self.alpha * self.eps * g.sign(), x, self.eps)
            with torch.no_grad():
                s = torch.ones_like(x[:, :1, :1, :1])
                for j in range(c - 1, 0, -1):
                    s = torch.where(wrong(net(x + j / c * d)), j / c, s)
                s = torch.where(wrong(first if self.test_at == "noisy" else net(x)), 0.0, s)
        descend(ce(net, y), at=x + s * d, g=g)
