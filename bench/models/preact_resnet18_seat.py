"""PreActResNet-18 as SEAT and Sub-AT train it; 11,172,170 parameters for CIFAR-10.

Source: He et al., ECCV 2016, arXiv:1603.05027, in the variant of devicerxx/SEAT at 2368704 and
nblt/Sub-AT at 9f3bcd5: as preact_resnet18, but the 1x1 projection takes the activated input.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models import preact_resnet18
from bench.models._residual import stages

WIDTH = 64


class Block(preact_resnet18.Block):
    """Two 3x3 convolutions, each behind BatchNorm and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        shortcut = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(a)
        return self.conv2(F.relu(self.bn2(self.conv1(a)))) + shortcut


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width, two blocks each."""
    outputs = [width, 2 * width, 4 * width, 8 * width]
    return nn.Sequential(
        nn.Conv2d(shape[0], width, 3, padding=1, bias=False),
        *stages(Block, width, outputs, [2] * 4),
        nn.BatchNorm2d(outputs[-1]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(outputs[-1], classes),
    )
