"""VGG-11 with BatchNorm for small images; 9,231,114 parameters for CIFAR-10.

Source: Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556, configuration A, with BatchNorm behind
every convolution and one linear layer instead of three, as is usual for images of 32 pixels. SEAT
attacks by images of a "VGG-11" and says no more: that it is this one is our choice.
"""

from torch import nn

WIDTH = 64
CHANNELS = ((1,), (2,), (4, 4), (8, 8), (8, 8))  # in units of width; each group ends in pooling


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: eight convolutions; sizes are halved, rounded up, behind each group."""
    layers: list[nn.Module] = []
    inputs = shape[0]
    for group in CHANNELS:
        for channels in group:
            outputs = width * channels
            conv = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
