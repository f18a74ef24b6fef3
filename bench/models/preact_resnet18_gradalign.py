"""PreActResNet-18 as GradAlign trains it; 11,171,146 parameters for CIFAR-10.

Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617, code
tml-epfl/understanding-fast-adv-training at 95c4d86: stem and blocks of preact_resnet18, no last
BatchNorm and ReLU, inputs in [0, 1] as they are; convolutions begin as Kaiming normal over the
fan-out, the linear layer over the fan-in, biases at zero. Theirs computes in half precision, ours
in the suite's.
"""

from torch import nn

from bench.models._residual import begin_over_fan_out, stages
from bench.models.preact_resnet18 import Block

WIDTH = 64
NORMALISED = False


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width, two blocks each."""
    outputs = [width, 2 * width, 4 * width, 8 * width]
    stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    blocks = stages(Block, width, outputs, [2] * 4)
    linear = nn.Linear(outputs[-1], classes)
    net = nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    begin_over_fan_out(net)
    nn.init.kaiming_normal_(linear.weight, mode="fan_in", nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    return net
