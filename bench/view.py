"""Augmentations as views: where the pixels of an image come from, and the way back."""

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Augment(NamedTuple):
    """How training images are varied."""

    pad: int = 0  # zeros round an image, from which it is cropped at random
    flip: bool = False  # mirrored left to right with probability 1/2
    degrees: float = 0.0  # rotated by up to as much either way, nearest pixel, zeros outside
    resized: bool = False  # a random part, resized: RandomResizedCrop with its usual ranges


class View(Protocol):
    """What took images from their canvases."""

    def __call__(self, canvas: Tensor) -> Tensor:
        """Take the images, (B, C, S, S) -> (B, C, H, W)."""
        ...

    def inverse(self, patch: Tensor, canvas: Tensor) -> Tensor:
        """Return the canvas (B, C, S, S) with the patch (B, C, H, W) put back in its place."""
        ...


class Moved(NamedTuple):
    """Crop, flip and rotation: every pixel of an image is one pixel of its padded canvas."""

    place: Tensor  # (B, H * W) position on the flattened canvas, int64
    size: tuple[int, int]  # (H, W)
    back: Tensor | None = None  # (B, S * S) position on the image, -1: not seen. None: no rotation

    @classmethod
    def crop(
        cls, dy: Tensor, dx: Tensor, flip: Tensor, size: tuple[int, int], width: int
    ) -> "Moved":
        """View images of a size on canvases of a width.

        Args:
            dy: (B,) top row of each image.
            dx: (B,) left column of each image.
            flip: (B,) bool, mirrored left to right.
            size: (H, W) of the image.
            width: columns of the canvas.
        """
        r = torch.arange(size[0], device=dy.device)
        c = torch.arange(size[1], device=dy.device)
        rows = dy[:, None] + r
        cols = dx[:, None] + torch.where(flip[:, None], c.flip(0), c)
        return cls((rows[:, :, None] * width + cols[:, None, :]).flatten(1), size)

    @classmethod
    def rotation(cls, degrees: Tensor, flip: Tensor, size: tuple[int, int], width: int) -> "Moved":
        """View images in the middle of square canvases, mirrored first, then rotated.

        Args:
            degrees: (B,) anticlockwise.
            flip: (B,) bool.
            size: (H, W) of the image.
            width: rows and columns of the canvas; ``margin`` says how many more than the image's.
        """
        cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
        mirror = torch.where(flip, -1.0, 1.0)
        y, x = _centred(size, degrees.device)
        across = mirror[:, None] * (cos[:, None] * x - sin[:, None] * y)
        place = _index(sin[:, None] * x + cos[:, None] * y, across, (width, width))
        y, x = _centred((width, width), degrees.device)
        x = mirror[:, None] * x
        back = _index(
            cos[:, None] * y - sin[:, None] * x, cos[:, None] * x + sin[:, None] * y, size
        )
        return cls(place, size, back)

    def __call__(self, canvas: Tensor) -> Tensor:
        """Take the images, of the canvas's type."""
        place = self.place[:, None].expand(-1, canvas.shape[1], -1)
        return canvas.flatten(2).gather(2, place).unflatten(2, self.size)

    def inverse(self, patch: Tensor, canvas: Tensor) -> Tensor:
        """Exact for crop and flip; after a rotation, each canvas pixel takes the nearest."""
        if self.back is None:
            place = self.place[:, None].expand(-1, canvas.shape[1], -1)
            return canvas.flatten(2).scatter(2, place, patch.flatten(2)).view_as(canvas)
        back = self.back[:, None].expand(-1, canvas.shape[1], -1)
        moved = patch.flatten(2).gather(2, back.clamp(min=0))
        return torch.where(back < 0, canvas.flatten(2), moved).view_as(canvas)


class Resized(NamedTuple):
    """A part of a picture, resized: pixels are blends, so there is no way back."""

    grid: Tensor  # (B, H, W, 2) where each pixel is read, on the [-1, 1] scale of grid_sample

    @classmethod
    def crop(cls, box: Tensor, flip: Tensor, size: tuple[int, int]) -> "Resized":
        """View boxes of pictures at a size.

        Args:
            box: (B, 4) top, left, height, width, as shares of the picture.
            flip: (B,) bool, mirrored left to right.
            size: (H, W) of the image.
        """
        down, across = ((torch.arange(n, device=box.device) + 0.5) / n for n in size)
        columns = torch.where(flip[:, None], across.flip(0), across)
        y = box[:, 0, None] + box[:, 2, None] * down
        x = box[:, 1, None] + box[:, 3, None] * columns
        y, x = y[:, :, None].expand(-1, -1, size[1]), x[:, None, :].expand(-1, size[0], -1)
        return cls(torch.stack([x, y], -1) * 2 - 1)

    def __call__(self, canvas: Tensor) -> Tensor:
        """Take the images, float32, on the scale of the canvas."""
        return F.grid_sample(canvas.float(), self.grid, padding_mode="border", align_corners=False)

    def inverse(self, patch: Tensor, canvas: Tensor) -> Tensor:
        """Refuse.

        Raises:
            TypeError: always.
        """
        raise TypeError("a resized crop blends pixels and has no inverse")


def margin(augment: Augment, size: int) -> int:
    """Zeros that a canvas needs on each side of an image of a size."""
    angle = math.radians(augment.degrees)
    corner = size / 2 * (math.cos(angle) + math.sin(angle) - 1)
    return max(augment.pad, math.ceil(corner) if augment.degrees else 0)


def boxes(size: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the boxes (N, 4) of RandomResizedCrop: top, left, height, width, as shares.

    An area of 8 to 100 % and a ratio of 3/4 to 4/3, ten tries for a box that fits, and otherwise
    the largest box in the middle whose ratio is allowed; sizes are whole pixels, as torchvision's.

    Args:
        size: (N, 2) height and width of the pictures.
        generator: draws on the host.
    """
    n, tries = len(size), 10
    low, high = 3 / 4, 4 / 3
    h, w = size[:, :1].float(), size[:, 1:].float()
    area = h * w * (0.08 + 0.92 * torch.rand(n, tries, generator=generator))
    span = math.log(high) - math.log(low)
    ratio = (math.log(low) + span * torch.rand(n, tries, generator=generator)).exp()
    height, width = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
    fits = (height >= 1) & (width >= 1) & (height <= h) & (width <= w)
    first = fits.float().argmax(1, keepdim=True)  # 0 where none fits, which is mended below
    height, width = height.gather(1, first), width.gather(1, first)
    none = ~fits.any(1, keepdim=True)
    height = torch.where(none, torch.minimum(h, (w / low).round()), height)
    width = torch.where(none, torch.minimum(w, (h * high).round()), width)
    shift = torch.rand(n, 2, generator=generator)
    top = torch.where(none, ((h - height) / 2).floor(), (shift[:, :1] * (h - height + 1)).floor())
    left = torch.where(none, ((w - width) / 2).floor(), (shift[:, 1:] * (w - width + 1)).floor())
    return torch.cat([top / h, left / w, height / h, width / w], 1)


def _centred(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(H * W,) rows and columns of all pixels, from the middle."""
    rows, cols = (torch.arange(n, device=device) - (n - 1) / 2 for n in size)
    return rows.repeat_interleave(size[1]), cols.repeat(size[0])


def _index(y: Tensor, x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, P) position of the nearest pixel on a flattened (H, W); -1 outside."""
    rows = (y + (size[0] - 1) / 2).round().long()
    cols = (x + (size[1] - 1) / 2).round().long()
    inside = (rows >= 0) & (rows < size[0]) & (cols >= 0) & (cols < size[1])
    return torch.where(inside, rows * size[1] + cols, -1)
