"""C&W: the least L2 distance with which the network errs, by Adam on a weighted sum."""

from dataclasses import dataclass

import torch

from bench.method import Cost
from bench.ops import per_image
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class CW(Attack):
    """Adam on pixels that tanh keeps in [0, 1]; the nearest image that is wrong counts.

    Source: Carlini and Wagner, S&P 2017, arXiv:1608.04644; settings as SEAT's, of torchattacks.
    Cite: carlini2017towards
    Meaning: % right under C&W in L2 of {steps} steps with c = {c}, at any distance

        z = (tanh(w) + 1) / 2,  from z = x
        m = max(f(z)_y - max_{j != y} f(z)_j, -kappa)
        w = Adam_lr(w, grad_w (||z - x||_2^2 + c m)),  steps times

    An image's steps end where its cost has not fallen over a tenth of them.

    Shapes: x, z, w (B, C, H, W).
    Cost: steps forward and backward.
    Differs: no search over c, which is so small that many images stand. An image ends by its own
        cost: torchattacks sums the batch, and is the same on batches of one. There a logit below 0
        counts as 0 in the margin; here it does not.
    """

    norms = ("Linf", "L2")  # of runs; it goes as far as it needs
    bounded = False

    steps: int = 1000
    c: float = 0.0001  # weight of the margin against the squared distance
    kappa: float = 0.0  # margin by which it is to be wrong
    lr: float = 0.01

    @property
    def cost(self):
        return Cost(self.steps, self.steps)

    def perturb(self, net, x, y, threat, draw):
        w = torch.atanh(2 * x - 1).requires_grad_()
        adam = torch.optim.Adam([w], lr=self.lr)
        found, least = x.clone(), torch.full((len(x),), torch.inf, device=x.device)
        before, going = least, torch.ones_like(y, dtype=torch.bool)
        for step in range(self.steps):
            z = (w.tanh() + 1) / 2
            far, margin = per_image((z - x) ** 2), _margin(net(z), y)
            cost = far + self.c * margin.clamp(min=-self.kappa)
            (w.grad,) = torch.autograd.grad(cost.sum(), w)
            adam.step()
            better = going & (margin < 0) & (far < least)
            found[better], least[better] = z.detach()[better], far.detach()[better]
            if step % max(self.steps // 10, 1) == 0:
                going = going & (cost.detach() <= before)
                before = cost.detach()
                if not going.any():
                    break
        return found


def _margin(logits, y):
    own = logits.gather(1, y[:, None])
    return (own - logits.scatter(1, y[:, None], -torch.inf).amax(1, keepdim=True))[:, 0]
