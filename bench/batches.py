"""Training data on the device, or streamed to it, and the batches of an epoch.

Order and augmentation have a generator of their own, seeded by run seed and epoch: every method
sees the same pictures, and any batch of any epoch can be made again without the ones before it.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.meter import free_bytes
from bench.method import Batch
from bench.seeds import PICTURES, stream
from bench.view import Augment, Moved, Resized, View, boxes, margin

SHARE = 0.25  # of the device's free memory that pictures may take; training needs the rest
CHUNK = 1024  # pictures sent to the device at once


class Batches:
    """A training set as uint8 canvases.

    Args:
        x: (N, C, S, S) uint8; S is H, or larger where crops are resized.
        y: (N,) int64.
        augment: how images are varied.
        batch: images; the last batch of an epoch may be shorter.
        seed: of the order and the augmentation.
        classes: that the data set has; a label is below it.
        rows: (M,) images to train on, in order; None for all.
        size: (H, W) of an image where crops are resized; otherwise that of x.
        shapes: (N, 2) height and width before squashing, where crops are resized.
        resident: keep the pictures on the device, which on a CPU is where they lie; None: if they
            take no more than a quarter of its free memory. Otherwise each batch is copied while
            the one before is worked on.
    """

    def __init__(
        self, x: Tensor, y: Tensor, *, augment: Augment, batch: int, seed: int,
        classes: int, device: torch.device, rows: Tensor | None = None,
        size: tuple[int, int] | None = None, shapes: Tensor | None = None,
        resident: bool | None = None,
    ) -> None:  # fmt: skip
        self.size = size or (x.shape[2], x.shape[3])
        self.augment, self.batch, self.seed, self.classes = augment, batch, seed, classes
        self.margin = 0 if augment.resized else margin(augment, x.shape[2])
        self.side = x.shape[3] + 2 * self.margin
        self._rows = torch.arange(len(y)) if rows is None else rows
        self.y = y[self._rows].to(device)
        self._shapes = None if shapes is None else shapes[self._rows]
        bytes_needed = len(self._rows) * math.prod(x.shape[1:])
        self.resident = bytes_needed <= SHARE * free_bytes(device) if resident is None else resident
        self.channels = x.shape[1]
        if not self.resident:
            self._stream = _Stream(x, self.batch, device)
        elif x.device == device:  # the pages of a file stay that
            self._pictures, self._places = x, self._rows
        else:
            self._pictures = _sent(x, self._rows, device)
            self._places = torch.arange(len(self._rows), device=device)
        self._epoch = -1
        self._plan: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.y) // self.batch)

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, C, H, W) of a full batch."""
        return (self.batch, self.channels, *self.size)

    @property
    def canvas(self) -> tuple[int, ...] | None:
        """(N, C, S, S) of all canvases; None where a view has no way back."""
        if self.augment.resized:
            return None
        return (len(self.y), self.channels, self.side, self.side)

    def take(self, epoch: int, i: int, t: Tensor) -> Batch:
        """Make batch i of an epoch; t () is the share of the training done."""
        if epoch != self._epoch:
            self._order, self._plan = self._draw(epoch)
            self._epoch = epoch
        part = slice(i * self.batch, (i + 1) * self.batch)
        rows, *how = (values[part] for values in self._plan)
        if self.resident:
            pictures = self._pictures[self._places[rows]]
        else:
            after = slice(part.stop, part.stop + self.batch)
            wanted = self._rows[self._order[part]], self._rows[self._order[after]]
            pictures = self._stream.take(*wanted)
        view = self._view(how)
        x = view(self._padded(pictures)).float() / 255
        return Batch(x, self.y[rows], rows, view, t)

    def _draw(self, epoch: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Draw an epoch: rows on the host, and on the device rows, flips and what else there is."""
        generator = torch.Generator().manual_seed(stream(self.seed, PICTURES, epoch))
        n, augment = len(self.y), self.augment
        rows = torch.randperm(n, generator=generator)
        dy, dx = torch.randint(0, 2 * augment.pad + 1, (2, n), generator=generator)
        flip = torch.rand(n, generator=generator) < (0.5 if augment.flip else 0.0)
        how = [flip, dy, dx]
        if augment.degrees:
            how = [flip, augment.degrees * (2 * torch.rand(n, generator=generator) - 1)]
        if augment.resized:
            assert self._shapes is not None, "resized crops need the pictures' own shapes"
            how = [flip, boxes(self._shapes[rows], generator)]
        return rows, tuple(values.to(self.y.device) for values in (rows, *how))

    def _view(self, how: Sequence[Tensor]) -> View:
        flip, *rest = how
        if self.augment.resized:
            return Resized.crop(rest[0], flip, self.size)
        if self.augment.degrees:
            return Moved.rotation(rest[0], flip, self.size, self.side)
        return Moved.crop(rest[0], rest[1], flip, self.size, self.side)

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (self.margin,) * 4) if self.margin else x


def _sent(x: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Copy some rows of x to a device, without a copy of them all on the host."""
    there = torch.empty((len(rows), *x.shape[1:]), dtype=x.dtype, device=device)
    for to, part in zip(there.split(CHUNK), rows.split(CHUNK), strict=True):
        to.copy_(x[part])
    return there


class _Stream:
    """Copies the rows of the next batch to the device while this one is worked on."""

    def __init__(self, x: Tensor, batch: int, device: torch.device) -> None:
        self._x, self._device = x, device
        self._cuda = device.type == "cuda"
        pages = torch.empty((2, batch, *x.shape[1:]), dtype=x.dtype, pin_memory=self._cuda)
        self._pages = [pages[0], pages[1]]  # filled in turns
        self._turn = 0
        self._side = torch.cuda.Stream(device) if self._cuda else None
        self._copied: list[torch.cuda.Event | None] = [None, None]
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[Tensor, Future] | None = None

    def take(self, rows: Tensor, after: Tensor) -> Tensor:
        """Return some rows of x on the device; start on those after."""
        if self._ahead is None or not torch.equal(self._ahead[0], rows):
            self._ahead = rows, self._pool.submit(self._pull, rows, self._next())
        there, copied = self._ahead[1].result()
        self._ahead = after, self._pool.submit(self._pull, after, self._next())
        if copied is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_event(copied)
            there.record_stream(now)
        return there

    def _next(self) -> int:
        self._turn ^= 1
        return self._turn

    def _pull(self, rows: Tensor, turn: int) -> tuple[Tensor, "torch.cuda.Event | None"]:
        if self._side is None:
            return self._x[rows], None
        earlier = self._copied[turn]
        if earlier is not None:
            earlier.synchronize()  # its page may still be on the way
        page = self._pages[turn][: len(rows)]
        torch.index_select(self._x, 0, rows, out=page)
        with torch.cuda.stream(self._side):
            there = page.to(self._device, non_blocking=True)
            copied = self._side.record_event()
        self._copied[turn] = copied
        return there, copied
