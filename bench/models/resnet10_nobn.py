"""ResNet-10 without BatchNorm, the network of SOAR; 4,900,362 parameters for CIFAR-10.

Source: Ma et al., arXiv:2004.01832, without code: one block a stage, no BatchNorm. The rest is our
choice: stem and basic block of resnet18, a bias in every convolution as no BatchNorm follows, and
a beginning as Kaiming normal over the fan-in with zero biases. PyTorch's default gives all images
nearly the same logits (a spread of 0.002), and training hardly starts.
"""

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 64


class Block(nn.Module):
    """Two 3x3 convolutions, ReLU after the first and after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width, one block each."""
    layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1), nn.ReLU()]
    inputs = width
    for stage in range(4):
        outputs = width * 2**stage
        layers.append(Block(inputs, outputs, 1 if stage == 0 else 2))
        inputs = outputs
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(module.get_parameter("bias"))
    return net
