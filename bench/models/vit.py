"""ViT-S of the timm library; 21,342,346 parameters for CIFAR-10, 22,050,664 for ImageNet.

Source: Dosovitskiy et al., ICLR 2021, arXiv:2010.11929, in the size that Touvron et al., ICML 2021,
arXiv:2012.12877, call small; code timm 1.0.9. Class token, 12 blocks, MLP of 4 times width, no
dropout. Images of 224 pixels are cut as published (ViT-S/16). Patches of smaller images are our
choice: 49 patches of 4 pixels at 28, 64 of 4 at 32, 64 of 8 at 64. Where patches do not divide an
image, its right and lower edges are padded with zeros, the mean colour.

Initialised as timm does by default: truncated normal of 0.02 for positions and linear layers, whose
biases are zero, and PyTorch's own for the patches. Fused attention cannot be differentiated twice:
what needs that calls it inside ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``.
"""

from torch import nn

WIDTH = 384
DEPTH = 12
HEAD = 64  # channels of an attention head
PATCHES = ((128, 16), (48, 8), (16, 4), (1, 2))  # from this many pixels up: pixels of a patch


def build(*, shape: tuple[int, int, int], classes: int, width: int) -> nn.Module:
    """Make the network: width is the embedding's; heads have 64 channels, or more if they must."""
    from timm.models.vision_transformer import VisionTransformer

    channels, height, columns = shape
    patch = next(patch for least, patch in PATCHES if min(height, columns) >= least)
    below, right = -height % patch, -columns % patch
    # the most heads of at least HEAD channels that share the width evenly
    heads = max(n for n in range(1, max(1, width // HEAD) + 1) if width % n == 0)
    body = VisionTransformer(
        img_size=(height + below, columns + right),
        patch_size=patch,
        in_chans=channels,
        num_classes=classes,
        embed_dim=width,
        depth=DEPTH,
        num_heads=heads,
    )
    return nn.Sequential(nn.ZeroPad2d((0, right, 0, below)), body)
