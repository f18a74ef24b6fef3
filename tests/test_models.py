"""Networks are the published ones, and what is inside them stays inside."""

import pytest
import torch
from torch import nn

from bench import config
from bench.models import build, parameters
from workflows import grid

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]


def cifar(name, width=8, **rest):
    return build(name, shape=(3, 32, 32), classes=10, width=width, mean=MEAN, std=STD, **rest)


@pytest.mark.parametrize(("arch", "count"), [("preact_resnet18", 11_172_170)])
def test_parameters_are_as_many_as_published(arch, count):
    assert parameters(cifar(arch, width=config.published_width(arch))) == count


def test_preact_projection_takes_the_raw_input():
    """With all convolutions of a block's body at zero, a block passes its raw input on."""
    body = cifar("preact_resnet18").body
    block = body[3]  # the first of stage 2, with a projection
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), block.shortcut(x))
    assert isinstance(body[1].shortcut, nn.Identity)


def test_preact_ends_in_batchnorm_and_relu_before_the_pooling():
    kinds = [type(layer) for layer in cifar("preact_resnet18").body][-5:]
    assert kinds == [nn.BatchNorm2d, nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]


@pytest.mark.parametrize("arch", grid.names("bench/models"))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 32, 32)])
def test_any_size_and_channels_give_logits(arch, shape):
    channels = shape[0]
    net = build(arch, shape=shape, classes=7, width=4, mean=MEAN[:channels], std=STD[:channels])
    out = net(torch.rand(2, *shape))
    assert out.shape == (2, 7)
    assert out.dtype == torch.float32


def test_normalisation_is_inside():
    net = cifar("small_cnn").eval()
    x = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    normalised = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
    assert torch.equal(net(x), net.body(normalised))


def test_bf16_stays_inside_and_changes_the_numbers_a_little():
    torch.manual_seed(0)
    exact = cifar("small_cnn").eval()
    torch.manual_seed(0)
    rough = cifar("small_cnn", precision="bf16").eval()
    x = torch.rand(4, 3, 32, 32, requires_grad=True)
    out = rough(x)
    (g,) = torch.autograd.grad(out.sum(), x)
    assert (out.dtype, g.dtype) == (torch.float32, torch.float32)
    assert not torch.equal(out, exact(x))
    assert torch.allclose(out, exact(x), atol=0.05)


def test_same_seed_gives_the_same_weights():
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(cifar("small_cnn"))
    assert all(torch.equal(a, b) for a, b in zip(*(n.parameters() for n in nets), strict=True))
