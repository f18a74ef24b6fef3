"""ResNet-34 for small images; 21,282,122 parameters for CIFAR-10.

Source: He et al., CVPR 2016, arXiv:1512.03385; stem, block and initialisation of resnet18. SEAT
attacks by images of it (transfer).
"""

from torch import nn

from bench.models.resnet18 import Block

WIDTH = 64
BLOCKS = (3, 4, 6, 3)  # of each stage


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: stem, stages of 1, 2, 4 and 8 times width."""
    stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU()]
    inputs = width
    for stage, blocks in enumerate(BLOCKS):
        outputs = width * 2**stage
        layers.append(Block(inputs, outputs, 1 if stage == 0 else 2))
        layers += [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
