"""Free-AT: batches are replayed, and the gradient of one update is the attack of the next."""

from dataclasses import dataclass

import torch

from bench.method import Cost, Method, State
from bench.ops import ce, grad, project


@dataclass(frozen=True, kw_only=True)
class FreeAT(Method):
    """Attack and update from one backward pass; "adversarial training for free".

    Source: Shafahi et al., NeurIPS 2019, arXiv:1904.12843; codes
        mahyarnajibi/FreeAdversarialTraining (ImageNet) and locuslab/fast_adversarial (CIFAR).
    Cite: shafahi2019adversarial
    Family: single-step

        d = 0 at the start of the run; it passes from batch to batch
        m times a batch:
            one update on CE(f(x + d), y), which yields h = grad_x CE(f(x + d), y)
            d <- P(d + eps sign(h))
        fresh: d <- P(d + eps sign grad_x CE(f(x + d), y)) first, then one update at this d

    Shapes: x, d, h (B, C, H, W).
    Cost: m forward, m backward for m updates, fresh twice that; one batch of perturbations of
        state.
    Differs: the first replay cuts x + d to [0, 1], as the ImageNet code does and the CIFAR code
        does not; every later d is cut to its image, as the CIFAR code does. Both keep a learning
        rate of their own (CIFAR: at most 0.04, 80 epochs of updates); here it is the protocol's,
        with as many updates as other methods have, at half the passes. PertAlign compares the
        gradients of successive replays, one update apart; the first replay of a batch has none.
        GradAlign runs it fresh, by 12 passes over the data at a learning rate of 0.04; that d
        passes from batch to batch there, too, is our reading.
    """

    m: int = 8  # replays of each batch; 4 in the ImageNet code
    fresh: bool = False  # attack by a pass of its own in each replay, as GradAlign runs it

    added = ("fresh",)

    @property
    def cost(self):
        passes = self.m * (2 if self.fresh else 1)
        return Cost(forward=passes, backward=passes)

    @property
    def replays(self):
        return self.m

    def init(self, run):
        return State(d=torch.zeros(run.batch, device=run.device))

    def step(self, net, batch, state, descend):
        x, loss, h = batch.x, ce(net, batch.y), None
        d = state.d[: len(x)]  # the last batch of an epoch is short
        for _ in range(self.m):
            if self.fresh:
                h = grad(loss, at=(x + d).clamp(0, 1))
                self.climb(d, h, x)
            h = descend(loss, at=(x + d).clamp(0, 1), g=h)
            if not self.fresh:
                self.climb(d, h, x)

    def climb(self, d, h, x):
        """Step along a gradient, in place."""
        d.copy_(project(d + self.eps * h.sign(), x, self.eps))
