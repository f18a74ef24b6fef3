"""WideResNet-34-10 as TRADES trains it; 46,160,474 parameters for CIFAR-10.

Source: Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146, in the variant of yaodongyu/TRADES:
five blocks a group, no dropout, the 1x1 projection takes the activated input, convolutions begin as
Kaiming normal over their fan-out, the last bias at zero.
"""

from torch import nn

from bench.models.preact_resnet18_seat import Block

WIDTH = 16
WIDEN = 10
BLOCKS = 5  # a group: 34 = 6 * 5 + 4 layers


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem of width, groups of 10, 20 and 40 times width, five blocks each."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
    inputs = width
    for group in range(3):
        outputs = width * WIDEN * 2**group
        layers.append(Block(inputs, outputs, 1 if group == 0 else 2))
        layers += [Block(outputs, outputs, 1) for _ in range(BLOCKS - 1)]
        inputs = outputs
    linear = nn.Linear(inputs, classes)
    net = nn.Sequential(
        *layers, nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(linear.bias)
    return net
