"""Networks are the published ones, and what is inside them stays inside."""

import os
import subprocess
import sys
from math import prod, sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.models import build, parameters
from bench.runs import catalogue

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]
ARCHITECTURES = catalogue.names("bench/models")
STAGES = {  # how many, and how many blocks in each
    "preact_resnet18": (4, 2),
    "resnet18": (4, 2),
    "senet18": (4, 2),
    "resnet10_nobn": (4, 1),
    "wide_resnet28_10": (3, 4),
    "wide_resnet34_10": (3, 5),
    "preact_resnet18_gradalign": (4, 2),
    "preact_resnet18_seat": (4, 2),
}


def cifar(name, width=8, size=32, classes=10, **rest):
    shape = (3, size, size)
    return build(name, shape=shape, classes=classes, width=width, mean=MEAN, std=STD, **rest)


def blocks(arch, width=2):
    """The residual blocks; the third of two a stage is the first that changes the shape."""
    return [layer for layer in cifar(arch, width=width).body if hasattr(layer, "conv2")]


def block_of(arch, *, shrinks):
    """A block, and an input for it."""
    block = next(b for b in blocks(arch)[1:] if (b.conv1.stride == (2, 2)) == shrinks)
    return block, torch.randn(2, block.conv1.in_channels, 4, 4)


def kinds(layers):
    return [type(layer).__name__ for layer in layers]


@pytest.mark.parametrize(
    ("arch", "count"),
    [
        ("preact_resnet18", 11_172_170),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("preact_resnet18_gradalign", 11_171_146),
        ("preact_resnet18_seat", 11_172_170),
        ("vgg11", 9_231_114),
        ("senet18", 11_260_354),
        ("wide_resnet28_10", 36_479_194),
        ("wide_resnet34_10", 46_160_474),
        ("resnet10_nobn", 4_900_362),
        ("single_layer_cnn", 41_082),
        ("vit", 21_342_346),
    ],
)
def test_parameters_are_as_many_as_published(arch, count):
    assert parameters(cifar(arch, width=catalogue.published_width(arch))) == count


def test_vit_is_vit_s16_at_224_pixels():
    vit = cifar("vit", width=catalogue.published_width("vit"), size=224, classes=1000)
    assert parameters(vit) == 22_050_664
    assert vit.body[1].patch_embed.patch_size == (16, 16)
    assert vit.body[1].blocks[0].attn.num_heads == 6


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("arch", STAGES)
def test_stages_begin_at_full_resolution_and_halve(arch, size):
    net, sizes = cifar(arch, width=1, size=size), []
    for layer in net.body:
        if hasattr(layer, "conv2"):
            layer.register_forward_hook(lambda _, __, out: sizes.append(out.shape[-1]))
    with torch.no_grad():
        net(torch.rand(2, 3, size, size))
    stages, each = STAGES[arch]
    assert net.body[0].kernel_size == (3, 3)
    assert sizes == [size >> stage for stage in range(stages) for _ in range(each)]


@pytest.mark.parametrize("arch", ["preact_resnet18", "preact_resnet18_gradalign"])
def test_preact_projection_takes_the_raw_input(arch):
    """With its second convolution at zero, a block is its shortcut."""
    block, x = block_of(arch, shrinks=True)
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), block.shortcut(x))


SHORTCUTS = [
    "preact_resnet18_seat",
    "wide_resnet34_10",
]  # blocks of preact_resnet18, with its names
ACTIVATED = [*SHORTCUTS, "senet18", "wide_resnet28_10"]


@pytest.mark.parametrize("arch", ACTIVATED)
def test_projection_takes_the_activated_input(arch):
    block, x = block_of(arch, shrinks=True)
    nn.init.zeros_(block.conv2.weight)
    projection = block.shortcut if arch in SHORTCUTS else block.projection
    assert torch.equal(block(x), projection(F.relu(block.bn1(x))))


@pytest.mark.parametrize("arch", ["preact_resnet18", *ACTIVATED])
def test_preactivation_block_that_keeps_the_shape_passes_its_raw_input_on(arch):
    block, x = block_of(arch, shrinks=False)
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("shrinks", [False, True])
def test_resnet18_activates_the_sum_with_its_shortcut(shrinks):
    block, x = block_of("resnet18", shrinks=shrinks)
    nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(x), F.relu(block.shortcut(x)))


def test_resnet18_shortcut_is_convolution_and_batchnorm_where_the_shape_changes():
    shortcuts = [block.shortcut for block in blocks("resnet18")]
    projections = [kinds(s) for s in shortcuts if not isinstance(s, nn.Identity)]
    assert projections == [["Conv2d", "BatchNorm2d"]] * 3


@pytest.mark.parametrize(
    "arch",
    ["preact_resnet18", "preact_resnet18_seat", "wide_resnet28_10", "wide_resnet34_10"],
)
def test_preactivation_ends_in_batchnorm_and_relu_before_the_pooling(arch):
    end = ["Block", "BatchNorm2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert kinds(cifar(arch, width=1).body)[-6:] == end


@pytest.mark.parametrize("arch", ["senet18", "preact_resnet18_gradalign"])
def test_some_pool_their_last_block_as_it_is(arch):
    assert kinds(cifar(arch).body)[-4:] == ["Block", "AdaptiveAvgPool2d", "Flatten", "Linear"]


def test_senet_scales_before_the_shortcut_is_added():
    """With all scales at zero, a block passes its input on, and not nothing."""
    block, x = block_of("senet18", shrinks=False)
    nn.init.constant_(block.scale[-2].bias, -1e4)
    assert torch.equal(block(x), x)


def test_senet_scales_each_channel_by_the_second_convolution():
    block, x = block_of("senet18", shrinks=False)
    seen = []
    block.conv2.register_forward_hook(lambda _, __, out: seen.append(out))
    block.scale.register_forward_hook(lambda _, args, out: seen.extend([args[0], out]))
    block(x)
    assert seen[0] is seen[1]
    assert seen[2].shape == (*x.shape[:2], 1, 1)


@pytest.mark.parametrize(("width", "squeezed"), [(4, 1), (64, 4)])
def test_senet_squeezes_to_a_sixteenth_and_at_least_one_channel(width, squeezed):
    assert blocks("senet18", width)[0].scale[1].out_channels == squeezed


def test_wide_resnet_drops_between_batchnorm_with_relu_and_the_second_convolution():
    block, x = block_of("wide_resnet28_10", shrinks=False)
    seen = {}
    for name, layer in block.named_children():
        layer.register_forward_hook(
            lambda _, args, out, name=name: seen.update({name: (args, out)})
        )
    block(x)
    assert list(seen) == ["bn1", "conv1", "bn2", "dropout", "conv2"]
    (before,), after = seen["dropout"]
    assert torch.equal(before, F.relu(seen["bn2"][1]))
    assert seen["conv2"][0][0] is after
    assert (after[before > 0] == 0).float().mean().item() == pytest.approx(0.3, abs=0.1)


def test_wide_resnet_dropout_follows_the_seed_and_is_off_in_eval_mode():
    net, x = cifar("wide_resnet28_10", width=1), torch.rand(4, 3, 32, 32)

    def logits(seed):
        torch.manual_seed(seed)
        return net(x)

    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    net.eval()
    assert torch.equal(logits(1), logits(2))


@pytest.mark.parametrize(
    ("arch", "fan"),
    [
        ("wide_resnet28_10", "out_channels"),
        ("wide_resnet34_10", "out_channels"),
        ("preact_resnet18_gradalign", "out_channels"),
        ("resnet10_nobn", "in_channels"),
    ],
)
def test_convolutions_begin_as_kaiming_normal(arch, fan):
    layers = cifar(arch).modules()
    large = [c for c in layers if isinstance(c, nn.Conv2d) and c.weight.numel() > 5000]
    assert len(large) >= 3
    for conv in large:
        z = conv.weight / sqrt(2 / (prod(conv.kernel_size) * getattr(conv, fan)))
        assert z.std().item() == pytest.approx(1, abs=0.04)
        assert z.abs().max() > 3  # a uniform distribution ends at 1.73


def test_resnet10_has_biases_and_no_normalisation():
    layers = list(cifar("resnet10_nobn").body.modules())
    assert not any("Norm" in kind for kind in kinds(layers))
    assert all(layer.bias is not None for layer in layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("width", [16, 64])
def test_resnet10_tells_images_apart_before_training(width):
    """Without BatchNorm the signal dies on its way if weights begin as PyTorch's default."""
    images = F.interpolate(torch.rand(16, 3, 4, 4), 32)
    with torch.no_grad():
        spread = cifar("resnet10_nobn", width=width)(images).std(0).mean()
    assert 0.02 < spread < 2


@pytest.mark.parametrize("layer", [0, 3])
def test_single_layer_cnn_begins_as_its_source_does(layer):
    body = cifar("single_layer_cnn", width=64).body
    assert kinds(body) == ["Conv2d", "ReLU", "Flatten", "Linear"]
    fan = [9 * 64, None, None, 64 * 32 * 32][layer]  # out of the convolution, into the linear
    assert body[layer].weight.std().item() == pytest.approx(sqrt(2 / fan), rel=0.06)
    assert not body[layer].bias.any()


@pytest.mark.parametrize(
    ("size", "pixels", "patches"),
    [
        (8, 2, 16),
        (15, 2, 64),
        (16, 4, 16),
        (28, 4, 49),
        (32, 4, 64),
        (47, 4, 144),
        (48, 8, 36),
        (64, 8, 64),
        (127, 8, 256),
        (128, 16, 64),
        (224, 16, 196),
    ],
)
def test_vit_cuts_small_images_into_small_patches(size, pixels, patches):
    net = cifar("vit", width=4, size=size)
    assert net.body[1].patch_embed.patch_size == (pixels, pixels)
    assert net.body[1].patch_embed.num_patches == patches
    assert net(torch.rand(1, 3, size, size)).shape == (1, 10)


def test_vit_sees_every_pixel_of_an_image_that_patches_do_not_divide():
    net = build("vit", shape=(1, 9, 13), classes=3, width=4, mean=[0.5], std=[0.5])
    x = torch.rand(1, 1, 9, 13, requires_grad=True)
    (g,) = torch.autograd.grad(net(x)[0, 0], x)
    assert (g != 0).all()


@pytest.mark.parametrize(("width", "heads"), [(4, 1), (100, 1), (128, 2), (200, 2)])
def test_vit_heads_share_the_width_evenly(width, heads):
    assert cifar("vit", width=width, size=8).body[1].blocks[0].attn.num_heads == heads


def test_vit_can_be_differentiated_twice_with_plain_attention_alone():
    net = cifar("vit", width=4, size=8)

    def twice():
        x = torch.rand(2, 3, 8, 8, requires_grad=True)
        (g,) = torch.autograd.grad(net(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(g.square().sum(), net.body[1].patch_embed.proj.weight)[0]

    with sdpa_kernel(SDPBackend.MATH):
        assert twice().any()
    with pytest.raises(RuntimeError, match="_scaled_dot_product"):
        twice()


def test_only_the_vit_imports_timm():
    others = [arch for arch in ARCHITECTURES if arch != "vit"]
    program = f"""
import sys
from bench.models import build
for arch in {others}:
    build(arch, shape=(1, 8, 8), classes=2, width=4, mean=[0.5], std=[0.5])
print(sorted({{"timm", "torchvision"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=catalogue.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 13), (3, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_any_size_and_channels_give_logits(arch, shape):
    channels = shape[0]
    net = build(arch, shape=shape, classes=7, width=4, mean=MEAN[:channels], std=STD[:channels])
    out = net(torch.rand(2, *shape))
    assert out.shape == (2, 7)
    assert out.dtype == torch.float32


@pytest.mark.parametrize("instructions", ["AVX2", "ALL"])
def test_no_narrow_network_has_a_library_write_past_its_buffers(instructions):
    code = (
        "import sys, torch; from bench.models import build; torch.set_num_threads(1)\n"
        "for name in sys.argv[1:]:\n"
        "    for width in ((64,) if name == 'vit' else (4, 7)):\n"
        "        for shape, n in (((3, 8, 8), 16), ((3, 112, 112), 2)):\n"
        "            net = build(name, shape=shape, classes=4, width=width,\n"
        "                        mean=[0.5] * 3, std=[0.25] * 3)\n"
        "            net(torch.rand(n, *shape)).sum().backward()"
    )
    checked = {  # glibc looks at every block that is freed
        "ONEDNN_MAX_CPU_ISA": instructions,
        "LD_PRELOAD": "libc_malloc_debug.so.0",
        "GLIBC_TUNABLES": "glibc.malloc.check=3",
    }
    subprocess.run(
        [sys.executable, "-c", code, *ARCHITECTURES],
        cwd=catalogue.ROOT,
        env=os.environ | checked,
        check=True,
    )


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


@pytest.mark.parametrize("arch", ["preact_resnet18_gradalign", "single_layer_cnn"])
def test_networks_of_gradalign_take_images_as_they_are(arch):
    net, x = cifar(arch).eval(), torch.rand(2, 3, 32, 32)
    assert torch.equal(net(x), net.body(x.contiguous(memory_format=net.layout)))


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_vgg_halves_any_size_down_to_one_pixel_or_more(size):
    net = cifar("vgg11", width=2, size=size)
    assert net(torch.rand(2, 3, size, size)).shape == (2, 10)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in net.body) == 5


def test_resnet34_has_stages_of_3_4_6_and_3_blocks():
    outputs = [block.conv2.out_channels for block in blocks("resnet34")]
    assert outputs == [2] * 3 + [4] * 4 + [8] * 6 + [16] * 3
