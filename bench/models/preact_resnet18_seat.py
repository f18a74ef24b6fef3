"""PreActResNet-18 as SEAT and Sub-AT train it; 11,172,170 parameters for CIFAR-10.

Source: He et al., ECCV 2016, arXiv:1603.05027, in the variant of devicerxx/SEAT at 2368704 and
nblt/Sub-AT at 9f3bcd5: as preact_resnet18, but the 1x1 projection takes the activated input.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 64


class Block(nn.Module):
    """Two 3x3 convolutions, each behind BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.projection = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(a)
        return self.conv2(F.relu(self.bn2(self.conv1(a)))) + shortcut


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width, two blocks each."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(
        *layers,
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, classes),
    )
