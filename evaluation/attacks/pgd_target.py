"""targeted PGD: projected gradient descent on the loss of another class, from a random start."""

from dataclasses import dataclass
from typing import Literal

import torch

from bench.method import Cost
from bench.ops import box, ce, pgd
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class PGDTarget(Attack):
    """Steps towards one class: the least likely one on the clean image, or a random one.

    Source: Kurakin et al., ICLR 2017, arXiv:1611.01236; with a random start as in SEAT, D.1.
    Cite: kurakin2017adversarial
    Meaning: % right under PGD of {steps} steps of {alpha} eps towards the {target} class

        t = argmin f(x), or U(classes but y)
        d = U(ball of eps)
        d = P(d - alpha eps steepest(grad_x CE(f(x + d), t))),  steps times

    Shapes: x, d (B, C, H, W); t (B,).
    Cost: steps forward and backward, and 1 forward for the target.
    Differs: nothing.
    """

    norms = ("Linf", "L2")
    names = {"pgd_target_{target}_{steps}": "PGD-{steps} to {target}"}

    target: Literal["least_likely", "random"] = "least_likely"
    steps: int = 10
    alpha: float = 0.25  # step, in units of eps

    @property
    def cost(self):
        return Cost(self.steps + 1, self.steps)

    def perturb(self, net, x, y, threat, draw):
        t = self._target(net, x, y, draw)
        start = box(draw(threat.uniform, x), x)
        near = ce(net, t)
        d, _ = pgd(lambda z: -near(z), x, start, threat=threat, alpha=self.alpha, steps=self.steps)
        return x + d

    @torch.no_grad()
    def _target(self, net, x, y, draw):
        logits = net(x)
        if self.target == "least_likely":
            return logits.argmin(1)
        t = draw(lambda z: torch.randint(logits.shape[1] - 1, (len(z),)), x)
        return t + (t >= y)
