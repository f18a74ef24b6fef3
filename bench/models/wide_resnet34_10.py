"""WideResNet-34-10 as TRADES trains it; 46,160,474 parameters for CIFAR-10.

Source: Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146, in the variant of yaodongyu/TRADES:
five blocks a group, no dropout, the 1x1 projection takes the activated input, convolutions begin as
Kaiming normal over their fan-out, the last bias at zero.
"""

from torch import nn

from bench.models._residual import begin_over_fan_out, stages
from bench.models.preact_resnet18_seat import Block

WIDTH = 16
WIDEN = 10
BLOCKS = 5  # a group: 34 = 6 * 5 + 4 layers


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem of width, groups of 10, 20 and 40 times width, five blocks each."""
    outputs = [WIDEN * width, 2 * WIDEN * width, 4 * WIDEN * width]
    stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    blocks = stages(Block, width, outputs, [BLOCKS] * 3)
    norm, linear = nn.BatchNorm2d(outputs[-1]), nn.Linear(outputs[-1], classes)
    net = nn.Sequential(
        stem, *blocks, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear
    )
    begin_over_fan_out(net)
    nn.init.zeros_(linear.bias)
    return net
