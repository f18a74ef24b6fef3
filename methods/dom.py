"""DOM-RE: leave out, in the second half of the training, what the network knows by heart."""

from dataclasses import dataclass

import torch

from bench.method import Cost, Method
from bench.ops import box, each, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class DOM(Method):
    """FGSM-RS without the images whose clean loss is small.

    Source: Lin et al., ICLR 2024, arXiv:2310.08847; code tmllab/2024_ICLR_DOM at 9b4cadb.
    Cite: lin2024over
    Family: single-step

        eta = U[-eps, eps]
        d   = P(eta + alpha sign grad_x CE(f(x + eta), y))
        w_i = 1 if t < start or l_i(x) >= T, else 0          t: share of the training done
        L   = 1/B sum_i w_i l_i(x + d)        by all images, not only those that are kept

    Shapes: x, eta, d (B, C, H, W); l, w (B,).
    Cost: 3 forward, 2 backward.
    Differs: the clean pass runs in the first half, too, where the code has none, so that all steps
        are alike; BatchNorm's statistics see it. In the code the pass of an epoch's first batch is
        in evaluation mode, a leftover; here none is. Removal alone is here (DOM-RE), not the
        forms that replace images by AugMix (DOM-A) or RandAugment (DOM-R), which need 8-bit
        pictures.
    """

    T: float = 2.0  # least clean loss, in nats, of an image that is kept
    start: float = 0.5  # share of the training after which images are left out
    alpha: float = 1.25  # step, in units of eps

    cost = Cost(forward=3, backward=2)

    def step(self, net, batch, state, descend):
        x, losses = batch.x, each(net, batch.y)
        with torch.no_grad():
            w = ((batch.t < self.start) | (losses(x) >= self.T)).float()
        eta = box(uniform(x, self.eps), x)
        g = grad(lambda z: losses(z).mean(), at=x + eta)
        d = project(eta + self.alpha * self.eps * g.sign(), x, self.eps)
        descend(lambda z: (w * losses(z)).mean(), at=x + d, g=g)
