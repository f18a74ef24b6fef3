"""WideResNet-28-10 with dropout 0.3; 36,479,194 parameters for CIFAR-10.

Source: Zagoruyko and Komodakis, BMVC 2016, arXiv:1605.07146, in the variant of the SORA code: the
1x1 projection takes the activated input (unlike preact_resnet18), and convolutions begin as Kaiming
normal over their fan-out. All else begins as PyTorch does by default. As in the authors' code
(szagoruyko/wide-residual-networks at 04d8058), dropout stands directly before the second
convolution of a block. It draws from torch's default generator.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 16
WIDEN = 10
BLOCKS = 4  # a group: 28 = 6 * 4 + 4 layers
DROPOUT = 0.3


class Block(nn.Module):
    """Two 3x3 convolutions behind BatchNorm and ReLU, with dropout between them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(DROPOUT)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs
        self.projection = None if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.bn1(x))
        shortcut = x if self.projection is None else self.projection(a)
        return self.conv2(self.dropout(F.relu(self.bn2(self.conv1(a))))) + shortcut


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem of width, groups of 10, 20 and 40 times width, four blocks each."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1, bias=False)]
    inputs = width
    for group in range(3):
        outputs = width * WIDEN * 2**group
        layers.append(Block(inputs, outputs, 1 if group == 0 else 2))
        layers += [Block(outputs, outputs, 1) for _ in range(BLOCKS - 1)]
        inputs = outputs
    net = nn.Sequential(
        *layers,
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(inputs, classes),
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
