"""SENet-18, a pre-activation ResNet with squeeze-excitation; 11,260,354 parameters for CIFAR-10.

Source: Hu et al., CVPR 2018, arXiv:1709.01507, in the variant of the SORA code: 3x3 stem with
BatchNorm and ReLU at every image size, the 1x1 projection takes the activated input (unlike
preact_resnet18), the scale is applied before the shortcut is added, and neither BatchNorm nor ReLU
stands before the pooling. Initialised as PyTorch does by default.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 64
REDUCTION = 16  # channels of a block for each channel inside its excitation


class Block(nn.Module):
    """Two 3x3 convolutions behind BatchNorm and ReLU, each channel scaled by what all hold."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        squeezed = max(1, outputs // REDUCTION)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(outputs, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, outputs, 1),
            nn.Sigmoid(),
        )
        same = inputs == outputs and stride == 1
        self.projection = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(a)
        out = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return out * self.scale(out) + shortcut


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
