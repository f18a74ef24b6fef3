"""MI-FGSM: steps along a running mean of normalised gradients, from the clean image."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from bench.ops import ce, grad
from bench.threat import PIXELS
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class MIFGSM(Attack):
    """Steps of fixed length along the steepest direction of accumulated gradients.

    Source: Dong et al., CVPR 2018, arXiv:1710.06081; settings as in SEAT's library, torchattacks.
    Cite: dong2018boosting
    Meaning: % right under MI-FGSM of {steps} steps of {alpha} eps

        m = mu m + g / mean |g|,  g = grad_x CE(f(x + d), y)
        d = P(d + alpha eps steepest(m)),  steps times, from d = 0 and m = 0

    Shapes: x, d, m, g (B, C, H, W); the mean is over the pixels of an image.
    Cost: steps forward and backward.
    Differs: the paper takes 10 steps of eps / steps and divides by the sum, which changes no step.
    """

    norms = ("Linf", "L2")

    steps: int = 5
    mu: float = 1.0  # share of the mean so far that is kept
    alpha: float = 0.25  # step, in units of eps

    @property
    def cost(self):
        return Cost(self.steps, self.steps)

    def perturb(self, net, x, y, threat, draw):
        d, m = torch.zeros_like(x), torch.zeros_like(x)
        for _ in range(self.steps):
            g = grad(ce(net, y), at=x + d)
            m = self.mu * m + g / g.abs().mean(PIXELS, keepdim=True).clamp(min=1e-30)
            d = threat.project(d + self.alpha * threat.eps * threat.steepest(m), x)
        return x + d
