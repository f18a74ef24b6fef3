"""Single-layer CNN of GradAlign, on which FGSM training collapses; 41,082 parameters for CIFAR-10.

Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617, code
tml-epfl/understanding-fast-adv-training at 95c4d86 (its `cnn`, with the paper's 4 filters): a 3x3
convolution of stride 1, ReLU, and a linear layer on all positions, without pooling, so its size
follows the image's. Weights begin as Kaiming normal, over the fan-out of the convolution and the
fan-in of the linear layer, biases at zero. Images in [0, 1] go in as they are.
"""

from torch import nn

WIDTH = 4  # filters
NORMALISED = False


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: one convolution of width filters, one linear layer."""
    channels, height, columns = shape
    conv = nn.Conv2d(channels, width, 3, padding=1)
    linear = nn.Linear(width * height * columns, classes)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.kaiming_normal_(linear.weight, mode="fan_in", nonlinearity="relu")
    for layer in (conv, linear):
        nn.init.zeros_(layer.get_parameter("bias"))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear)
