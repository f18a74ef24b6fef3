"""Crop and flip as one gather, and its inverse as one scatter."""

from typing import NamedTuple

import torch
from torch import Tensor


class View(NamedTuple):
    """Where every pixel of a patch comes from on its padded canvas."""

    place: Tensor  # (B, H * W) position on the flattened canvas, int64
    size: tuple[int, int]  # (H, W)

    @classmethod
    def crop(
        cls, dy: Tensor, dx: Tensor, flip: Tensor, size: tuple[int, int], width: int
    ) -> "View":
        """View patches of a size on canvases of a width.

        Args:
            dy: (B,) top row of each patch.
            dx: (B,) left column of each patch.
            flip: (B,) bool, mirrored left to right.
            size: (H, W) of the patch.
            width: columns of the canvas.
        """
        r = torch.arange(size[0], device=dy.device)
        c = torch.arange(size[1], device=dy.device)
        rows = dy[:, None] + r
        cols = dx[:, None] + torch.where(flip[:, None], c.flip(0), c)
        return cls((rows[:, :, None] * width + cols[:, None, :]).flatten(1), size)

    def __call__(self, canvas: Tensor) -> Tensor:
        """Take the patches, (B, C, S, S) -> (B, C, H, W)."""
        place = self.place[:, None].expand(-1, canvas.shape[1], -1)
        return canvas.flatten(2).gather(2, place).unflatten(2, self.size)

    def inverse(self, patch: Tensor, canvas: Tensor) -> Tensor:
        """Return the canvas (B, C, S, S) with the patch (B, C, H, W) put back in its place."""
        place = self.place[:, None].expand(-1, canvas.shape[1], -1)
        return canvas.flatten(2).scatter(2, place, patch.flatten(2)).view_as(canvas)
