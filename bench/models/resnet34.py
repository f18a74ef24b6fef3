"""ResNet-34 for small images; 21,282,122 parameters for CIFAR-10.

Source: He et al., CVPR 2016, arXiv:1512.03385; stem, block and initialisation of resnet18. SEAT
attacks by images of it (transfer).
"""

from torch import nn

from bench.models._residual import stages
from bench.models.resnet18 import Block

WIDTH = 64
BLOCKS = (3, 4, 6, 3)  # of each stage


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width."""
    stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    outputs = [width, 2 * width, 4 * width, 8 * width]
    return nn.Sequential(
        stem,
        nn.BatchNorm2d(width),
        nn.ReLU(),
        *stages(Block, width, outputs, BLOCKS),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(outputs[-1], classes),
    )
