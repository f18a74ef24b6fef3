"""ResNet-18 for small images; 11,173,962 parameters for CIFAR-10.

Source: He et al., CVPR 2016, arXiv:1512.03385, in the variant of the SORA code: 3x3 stem of stride
1 without pooling at every image size, so images of 224 pixels cross the first stage at full
resolution, and a 1x1 convolution with BatchNorm as shortcut where the shape changes. Initialised
as PyTorch does by default.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 64


class Block(nn.Module):
    """Two 3x3 convolutions, BatchNorm behind each, ReLU after the first and after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(a)) + self.shortcut(x))


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width, two blocks each."""
    stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers += [Block(inputs, outputs, 1 if stage == 0 else 2), Block(outputs, outputs, 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
