"""Training data on the device, and the batches of an epoch.

Order, crops and flips have a generator of their own, seeded by run seed and epoch: every method
sees the same pictures, and any batch of any epoch can be made again without the ones before it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.method import Batch
from bench.seeds import PICTURES, stream
from bench.view import View


class Batches:
    """A training set as uint8 canvases on the device.

    Args:
        x: (N, C, H, W) uint8.
        y: (N,) int64.
        pad: zeros round each image, from which it is cropped at random.
        flip: mirror left to right with probability 1/2.
        batch: images; the last batch of an epoch may be shorter.
        seed: of the order and the augmentation.
    """

    def __init__(
        self, x: Tensor, y: Tensor, *, pad: int, flip: bool, batch: int, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.size = (x.shape[2], x.shape[3])
        self.canvas = F.pad(x, (pad, pad, pad, pad)).to(device)
        self.y = y.to(device)
        self.pad, self.flip, self.batch, self.seed = pad, flip, batch, seed
        self._epoch = -1
        self._plan: tuple[Tensor, Tensor, Tensor, Tensor]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.y) // self.batch)

    def take(self, epoch: int, i: int, t: Tensor) -> Batch:
        """Make batch i of an epoch; t () is the share of the training done."""
        if epoch != self._epoch:
            self._plan = self._draw(epoch)
            self._epoch = epoch
        rows, dy, dx, flip = (part[i * self.batch : (i + 1) * self.batch] for part in self._plan)
        view = View.crop(dy, dx, flip, self.size, self.canvas.shape[3])
        x = view(self.canvas[rows]).float() / 255
        return Batch(x, self.y[rows], rows, view, t)

    def _draw(self, epoch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(stream(self.seed, PICTURES, epoch))
        n, device = len(self.y), self.y.device
        rows = torch.randperm(n, generator=generator)
        dy, dx = torch.randint(0, 2 * self.pad + 1, (2, n), generator=generator)
        flip = torch.rand(n, generator=generator) < (0.5 if self.flip else 0.0)
        return rows.to(device), dy.to(device), dx.to(device), flip.to(device)
