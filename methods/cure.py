"""CURE: keep the input gradient the same a short way along its own sign."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import each, eval_mode, per_image, tangent

RISE = (1 / 30, 4 / 30, 8 / 30, 18 / 30, 1)  # of h, in the first tenths of the training [code]


@dataclass(frozen=True, kw_only=True)
class CURE(Method):
    """Clean training with a penalty on the curvature of the loss.

    Source: Moosavi-Dezfooli et al., CVPR 2019, arXiv:1811.09716; code F-Salehi/CURE_robustness at
        daeef24.
    Cite: moosavidezfooli2019robustness
    Family: regularised

        g_i = gradient of CE of image i at x,  g'_i at x + z         BN frozen
        z   = h eps sqrt(C H W) (sign g + 1e-7) / (|sign g|_2 + 1e-7)
        R_i = |g'_i - g_i|_2                  form paper: its square
        L   = CE(f(x), y) + gamma mean_i R_i
        h grows over the first half of the training: 1/30, 4/30, 8/30, 18/30, then all of it

    Shapes: x, g, z (B, C, H, W); R (B,).
    Cost: 3 forward, 5 backward: g and g' are differentiated once more, for the weights.
    Differs: the authors fine-tune a trained network for 10 epochs with Adam, without augmentation;
        here it is a method like others. [code] measures images in units of their deviation, about
        0.2: its h = 3 is 0.6 in pixels, 0.345 of a corner of the ball at 8/255 in CIFAR-10, and
        gamma = 4 on its gradients is 0.8 on ours. h grows by shares of the training instead of
        epochs. [known] form paper: gamma = 4, h to 1.5 in pixels, 0.86 of that corner. x + z
        leaves the ball and is not clipped. The released gradient call fails in today's torch; its
        intent is the gradient of each image's own loss. At the learning rates of other methods it
        may not become robust, diverge, or end in one answer to all images, from trained weights,
        too: there R's gradient is hundreds of times that of CE. ELLE's version of it is not here.
    """

    h: float = -1.0  # length of z, in that of a corner of the ball; negative: of the form
    gamma: float = -1.0  # weight of R, by gradients in pixels; negative: of the form
    form: Literal["code", "paper"] = "code"  # norm or squared norm, and their h and gamma

    twice = True
    tunes = True
    cost = Cost(forward=3, backward=5)

    @property
    def reach(self):
        return 0.0

    @property
    def published(self):
        """The h and gamma in use."""
        given, of_form = (self.h, self.gamma), {"code": (0.345, 0.8), "paper": (0.86, 4.0)}
        return tuple(b if a < 0 else a for a, b in zip(given, of_form[self.form], strict=True))

    def init(self, run):
        return State(rise=torch.tensor(RISE, device=run.device))

    def step(self, net, batch, state, descend):
        x, y, losses, (h, gamma) = batch.x, batch.y, each(net, batch.y), self.published
        h = h * self.eps * state.rise.take((10 * batch.t).long().clamp(max=len(RISE) - 1))

        def loss(z):
            fit = F.cross_entropy(net(z), y)
            with eval_mode(net):
                _, g = tangent(losses, at=x, twice=True)
                there = x + h * direction(g.detach().sign())
                _, other = tangent(losses, at=there, twice=True)
            turn = other - g
            r = turn.flatten(1).norm(dim=1) if self.form == "code" else per_image(turn.square())
            return fit + gamma * r.mean()

        descend(loss, at=x)


def direction(sign):
    """Return signs (B, C, H, W) made as long as a corner of the unit ball, as in the code."""
    length = sign.flatten(1).norm(dim=1)[:, None, None, None]
    return sign[0].numel() ** 0.5 * (sign + 1e-7) / (length + 1e-7)
