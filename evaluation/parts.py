"""Networks in parts of a batch, where the gradients of a whole one need more memory than there is.

What autograd keeps of 512 images of 224 x 224 pixels is 36 to 472 GB here, by network.
"""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench.meter import Memory, free_bytes
from bench.ops import ce, grad

# a probe an epoch would count it anew
COUNTED: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], int]] = WeakKeyDictionary()
USABLE = 0.8  # of the free memory: the rest is for what libraries need inside an operation


class Parts(nn.Module):
    """A network in eval mode that takes so many images at once and keeps nothing of them.

    A backward pass computes again what it needs, so it costs a forward pass more. Gradients are the
    same: to the bit where a library's kernels do not depend on the batch, up to rounding elsewhere.
    """

    def __init__(self, net: nn.Module, images: int) -> None:
        super().__init__()
        self.net, self.images = net, images

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the network computes, (B, C, H, W) -> (B, classes)."""
        return torch.cat([self._part(part) for part in x.split(self.images)])

    def _part(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.net, x, use_reentrant=False, preserve_rng_state=False)
        return out


def fitting(net: nn.Module, x: Tensor, batch: int) -> nn.Module:
    """Return the network itself if gradients of a batch of x fit, else the same in parts.

    Args:
        net: in eval mode.
        x: (N, C, H, W) that are to be attacked.
        batch: images at once.
    """
    images = min(batch, len(x))
    each = _counted(net, x)
    if each * images <= USABLE * free_bytes(x.device, emptied=False):
        return net
    room = USABLE * free_bytes(x.device)
    if each * images <= room:
        return net
    while images > 1 and each * images > room:
        images = -(-images // 2)
    return Parts(net, images)


def bytes_of_one(net: nn.Module, x: Tensor) -> int:
    """Count the bytes by which one image more raises the peak of a gradient."""
    return _peak(net, x[:1].expand(2, -1, -1, -1)) - _peak(net, x[:1])


def _counted(net: nn.Module, x: Tensor) -> int:
    """Count the bytes of one image, once for a network, as it is now, and a shape."""
    weights = any(weight.requires_grad for weight in net.parameters())
    key = (x.shape[1:], x.device, net.training, weights, getattr(net, "precision", None))
    counts = COUNTED.setdefault(net, {})
    if key not in counts:
        counts[key] = bytes_of_one(net, x)
    return counts[key]


def _peak(net: nn.Module, x: Tensor) -> int:
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    with torch.enable_grad(), Memory([*net.parameters(), *net.buffers(), x, y]) as memory:
        grad(ce(net, y), at=x)
    return memory.peak
