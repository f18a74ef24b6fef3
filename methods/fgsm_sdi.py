"""FGSM-SDI: a small network learns where FGSM starts, to make its attack stronger."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from bench.method import Cost, Method, State
from bench.ops import ce, grad, learn, learner, soft, statistics_kept

NAMES = ("stem", "scale", "shift", "one", "two", "last", "bias")
WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class FGSMSDI(Method):
    """FGSM from a start that a generator makes of image and gradient.

    Source: Jia et al., IEEE TIP 2022, arXiv:2110.05007; code jiaxiaojunQAQ/FGSM-SDI at d54cac6.
    Cite: jia2022boosting
    Family: single-step

        s  = sign grad_x CE(f(x), y)
        n  = eps tanh(h([x, s]))              h: the generator
        g  = grad_x CE(f(x + n), y)
        d  = clip(n + eps sign(g), -eps, eps)
        L  = SCE(f(x + d), y)
        in the first and every 20th batch, h climbs L by a step of Adam, through n alone
        h: convolution to 64 channels, BN, ReLU, a + conv(ReLU(conv(a))), BN, convolution to C
        SCE: a of the target on the label, the rest shared by the others

    Shapes: x, s, n, g, d (B, C, H, W).
    Cost: 4 forward, 4 backward, one of each for h.
    Differs: the pass for h runs in every batch, and counts in every 20th alone, so that all steps
        are alike; the authors' costs are 3.05 and 3.05. BatchNorm does not see it. How the
        residual block is made inside is our choice; h's BatchNorm takes the statistics of its
        batch, the last one without scale and shift. x + d is not cut to [0, 1], as there.
    """

    a: float = 0.5  # of the target, on the label
    lr: float = 0.001  # of the generator
    every: int = 20  # batches between its steps

    smooths: ClassVar[bool] = True
    cost = Cost(forward=4, backward=4)

    @property
    def boxed(self):
        return False

    def init(self, run):
        channels, device = run.batch[1], run.device
        sizes = {"stem": (2 * channels, WIDTH), "one": (WIDTH, WIDTH), "two": (WIDTH, WIDTH)}
        layers = {k: nn.Conv2d(*v, 3, bias=False, device=device) for k, v in sizes.items()}
        last = nn.Conv2d(WIDTH, channels, 3, device=device)
        weights = {name: layer.weight.detach() for name, layer in layers.items()}
        weights |= {"last": last.weight.detach(), "bias": last.get_parameter("bias").detach()}
        weights |= {"scale": torch.ones(WIDTH, device=device)}
        weights |= {"shift": torch.zeros(WIDTH, device=device)}
        batches = torch.zeros(1, dtype=torch.int64, device=device)
        return State(learner(**weights), batches=batches)

    def step(self, net, batch, state, descend):
        x, y, eps = batch.x, batch.y, self.eps
        s = grad(ce(net, y), at=x).sign()
        n = self.generate(state, x, s)
        g = grad(ce(net, y), at=x + n)
        d = (n + eps * g.sign()).clamp(-eps, eps)

        def loss(z):
            out = net(z)
            return F.cross_entropy(out, soft(y, self.a, out.shape[1]))

        def fall(own):
            return -loss(x + (self.generate(own, x, s) + eps * g.sign()).clamp(-eps, eps))

        with statistics_kept(net):
            learn(fall, state, NAMES, lr=self.lr, on=state.batches[0] % self.every == 0)
        state.batches.add_(1)
        descend(loss, at=x + d, g=g)

    def generate(self, own, x, s):
        """n, by a generator's weights."""
        a = F.conv2d(torch.cat([x, s], 1), own.stem, padding=1)
        a = F.relu(F.batch_norm(a, None, None, own.scale, own.shift, training=True))
        a = a + F.conv2d(F.relu(F.conv2d(a, own.one, padding=1)), own.two, padding=1)
        a = F.batch_norm(a, None, None, training=True)
        return self.eps * F.conv2d(a, own.last, own.bias, padding=1).tanh()
