"""Small CNN: three convolutions; about 57,000 parameters for 8x8 digits at the default width."""

from torch import nn

WIDTH = 32


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: conv-BN-ReLU at width, 2 width and 2 width channels, halving twice."""
    channels, height, columns = shape
    pixels = -(-height // 4) * -(-columns // 4)  # two convolutions of stride 2, rounded up

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(channels, width, 1),
        *block(width, 2 * width, 2),
        *block(2 * width, 2 * width, 2),
        nn.Flatten(),
        nn.Linear(2 * width * pixels, classes),
    )
