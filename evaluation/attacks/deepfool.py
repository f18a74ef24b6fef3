"""DeepFool: steps to the nearest face of the class, as if the network were affine."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from bench.threat import PIXELS
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """Minimal L2 steps, each a little too long, until the network errs.

    Source: Moosavi-Dezfooli et al., CVPR 2016, arXiv:1511.04599.
    Cite: moosavidezfooli2016deepfool
    Meaning: % right under DeepFool of at most {steps} steps, whatever their length

        f_k = f(z)_k - f(z)_y,  w_k = grad_z f_k,  k of the largest logits but y's
        l = argmin_k |f_k| / ||w_k||_2
        z = clamp(z + (1 + overshoot) |f_l| w_l / ||w_l||_2^2),  until argmax f(z) != y, from z = x

    Shapes: x, z, w_k (B, C, H, W); f_k (B,).
    Cost: a step: 1 forward, classes - 1 backward.
    Differs: pixels stay in [0, 1], as in torchattacks, whose DeepFool does not leave classes out.
    """

    norms = ("Linf", "L2")  # of runs; it goes as far as it needs
    bounded = False

    steps: int = 50
    overshoot: float = 0.02
    classes: int = 10  # with the largest logits, that are tried

    @property
    def cost(self):
        return Cost(self.steps, self.steps * (self.classes - 1))

    def perturb(self, net, x, y, threat, draw):
        at, left = x.clone(), torch.arange(len(x), device=x.device)
        for _ in range(self.steps):
            z = at[left].requires_grad_()
            logits = net(z)
            stands = (logits.argmax(1) == y[left]).nonzero()[:, 0]
            if len(stands) == 0:
                break
            f, w = self._faces(logits, z, y[left])
            f, w, left = f[:, stands], w[:, stands], left[stands]
            length = w.flatten(2).norm(dim=2).clamp(min=1e-12)  # (classes - 1, B)
            nearest = (f.abs() / length).argmin(0), torch.arange(len(left), device=x.device)
            far = (f.abs() / length**2)[nearest].view(-1, *[1] * len(PIXELS))
            step = (1 + self.overshoot) * far * w[nearest]
            at[left] = (at[left] + step).clamp(0, 1)
        return at

    def _faces(self, logits, z, y):
        """Return f (classes - 1, B) and w (classes - 1, B, C, H, W)."""
        own = logits.gather(1, y[:, None])
        others = logits.detach().scatter(1, y[:, None], -torch.inf)
        best = others.topk(min(self.classes, logits.shape[1]) - 1).indices
        f = (logits.gather(1, best) - own).T
        w = [torch.autograd.grad(each.sum(), z, retain_graph=True)[0] for each in f]
        return f.detach(), torch.stack(w)
