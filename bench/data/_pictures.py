"""Picture files that are decoded only while they are written into the decoded copy."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.data._files import DAMAGED, brief

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpeg", ".jpg", ".png")
FORMATS = ("JPEG", "PNG")  # Pillow's others are not tried: some start programs


def is_picture(name: str) -> bool:
    """Has a file of this path a picture's ending, and no dot in front, as macOS' doubles have."""
    return name.lower().endswith(SUFFIXES) and not name.rpartition("/")[2].startswith(".")


def listed(folder: Path) -> list[Path]:
    """List the pictures of a folder; none if it is not there."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return [path for path in inside if is_picture(str(path))]


def opened(name: str) -> IO[bytes]:
    """Open a picture that is a file of its own."""
    return Path(name).open("rb")


@dataclass(frozen=True)
class Pictures:
    """A stack (N, 3, H, W) of pictures, uint8, still in their files."""

    names: Sequence[str]  # for messages, and for ``stream``
    stream: Callable[[str], IO[bytes]]  # opens a file by its name; called from several threads
    fit: Callable[["Image"], "Image"]  # makes any picture, already RGB, size wide and high
    size: int  # H = W

    @property
    def dtype(self) -> torch.dtype:
        """Pixels are 0 to 255."""
        return torch.uint8

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> torch.Size:
        """(N, 3, H, W)."""
        return torch.Size((len(self.names), 3, self.size, self.size))

    def chunks(self, step: int) -> Iterator[Tensor]:
        """Decode step pictures at a time, in order, on all cores.

        Raises:
            ValueError: a picture cannot be read or has another size; names it.
        """
        with _threads() as pool:
            for i in range(0, len(self.names), step):
                names = self.names[i : i + step]
                chunk = torch.empty((len(names), *self.shape[1:]), dtype=self.dtype)
                _mapped(pool, self._decode, names, chunk)
                yield chunk

    def sizes(self) -> Tensor:
        """(N, 2) height and width of every file, read off its head.

        Raises:
            ValueError: a picture cannot be read; names it.
        """
        with _threads() as pool:
            return torch.tensor(_mapped(pool, self._size, self.names))

    def _decode(self, name: str, out: Tensor) -> None:
        import numpy as np

        with self._opened(name) as picture:
            rgb = picture.convert("RGB")
        fitted = self.fit(rgb)
        if fitted.size != (self.size, self.size):
            given = "x".join(map(str, fitted.size))
            raise ValueError(f"{name} has {given} pixels, not {self.size}x{self.size}; replace it")
        out.copy_(torch.from_numpy(np.array(fitted)).permute(2, 0, 1))

    def _size(self, name: str) -> tuple[int, int]:
        with self._opened(name) as picture:
            return picture.height, picture.width

    @contextmanager
    def _opened(self, name: str) -> Iterator["Image"]:
        from PIL import Image, UnidentifiedImageError

        bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
        damaged: tuple[type[Exception], ...] = (*DAMAGED, *bombs)
        try:
            with self.stream(name) as file, Image.open(file, formats=FORMATS) as picture:
                if picture.mode.startswith("I"):  # what is above 255 would become white
                    raise ValueError("it has 16 bits a pixel, and 8 are read: save it with 8")
                yield picture
        except damaged as error:
            none = isinstance(error, UnidentifiedImageError)
            why = f"it is no {' or '.join(FORMATS)}" if none else brief(error)
            raise ValueError(f"{name} cannot be read as a picture ({why}); replace it") from None


def _mapped(pool: ThreadPoolExecutor, function: Callable[..., Any], *rows: Any) -> list[Any]:
    """Call a function on all rows; what Pillow only warns of, a huge picture, is an error."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(function, *rows))


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))  # a job may have few of many cores
