"""A seeded network and 50 images on which attacks were compared with torchattacks once.

That library pins old packages, so it is not installed; its numbers are in the attacks' tests.
"""

from types import SimpleNamespace

import torch
from torch import nn


class Smooth(nn.Module):
    """Ten logits from 8 x 8 x 3 pixels, all above 0, where torchattacks' margin is the papers'."""

    def __init__(self):
        super().__init__()
        state = torch.get_rng_state()
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(72, 10)
        self.body = nn.Sequential(*layers)
        torch.set_rng_state(state)

    def forward(self, x):
        return 10 * self.body(x) + 100


def _seen():
    net = Smooth().eval().requires_grad_(requires_grad=False)
    x = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return SimpleNamespace(net=net, x=x, y=net(x).argmax(1))


TANH = _seen()


def judged(at):
    """Say which images stand, as text of 0 and 1, and how far in L2 each is from its own."""
    right = TANH.net(at).argmax(1) == TANH.y
    return "".join(map(str, right.int().tolist())), (at - TANH.x).flatten(1).norm(dim=1).tolist()
