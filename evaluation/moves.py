"""The words of diagnostics: losses and slopes of single images, and moves of attacks."""

import torch.nn.functional as F
from torch import Tensor, nn

from bench.ops import box, ce, grad, pgd
from bench.threat import Threat
from evaluation.draw import Draw
from evaluation.pgd import STEP


def losses(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each image, (B,)."""
    return F.cross_entropy(net(x), y, reduction="none")


def slopes(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of each image's own loss at the image, (B, C, H, W)."""
    return grad(lambda z: losses(net, z, y).sum(), at=x)


def fgsm_move(net: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """Return the d of FGSM, (B, C, H, W)."""
    return threat.project(threat.eps * threat.steepest(grad(ce(net, y), at=x)), x)


def pgd_move(
    net: nn.Module, x: Tensor, y: Tensor, threat: Threat, draw: Draw,
    *, steps: int = 10, alpha: float = STEP,
) -> Tensor:  # fmt: skip
    """Return the last d of PGD from a random start, (B, C, H, W); steps of alpha eps."""
    start = box(draw(threat.uniform, x), x)
    return pgd(ce(net, y), x, start, threat=threat, alpha=alpha, steps=steps)[0]
