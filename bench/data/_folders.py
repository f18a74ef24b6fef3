"""Pictures of your own: train/ and test/, and in each of them a folder a class."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._pictures import SUFFIXES, Pictures, is_picture, listed, opened

if TYPE_CHECKING:
    from PIL.Image import Image


def read(root: Path, info: Info) -> Source:
    """List the pictures root/train/CLASS/* and root/test/CLASS/*; labels count the sorted names.

    Classes take turns, so that the first n pictures are of all. Of a picture of another shape the
    middle is taken, and resized.

    Raises:
        ValueError: the classes or pictures are not as many as ``info`` says, or differ.
    """
    train, test = _by_class(root / "train"), _by_class(root / "test")
    for split, classes, said in (("train", train, info.train), ("test", test, info.test)):
        if lacking := sorted({*train, *test} - {*classes}):
            raise ValueError(
                f"{root / split} lacks {len(lacking)} classes, first of them {lacking[0]}"
            )
        if empty := sorted(name for name, pictures in classes.items() if not pictures):
            raise ValueError(f"{root / split / empty[0]} has no pictures{_unread(root / split)}")
        found = sum(map(len, classes.values()))
        if (len(classes), found) != (info.classes, said):
            raise ValueError(
                f"{root / split} has {found} pictures in {len(classes)} folders, and INFO says "
                f"{said} in {info.classes}; correct the one or the other{_unread(root / split)}"
            )
    size = info.shape[1]
    return Source(Images(*_stack(train, size), *_stack(test, size)), official=False)


def fitted(picture: "Image", *, size: int) -> "Image":
    """Make the largest square in the middle of a picture size wide and high."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    return ImageOps.fit(picture, (size, size), Resampling.BILINEAR)


def _by_class(split: Path) -> dict[str, list[Path]]:
    if not split.is_dir():
        raise ValueError(
            f"there is no {split}; put a folder a class there, with .png or .jpg files"
        )
    return {
        folder.name: sorted(listed(folder))
        for folder in split.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    }


def _unread(split: Path) -> str:
    """Say which files in class folders are not read, if there are any."""
    files = [path for path in split.glob("*/*") if path.is_file() and path.name[0] != "."]
    others = sorted(path for path in files if not is_picture(str(path)))
    kinds = ", ".join(SUFFIXES)
    return f"; {others[0]} is not read, only {kinds}" if others else ""


def _stack(classes: dict[str, list[Path]], size: int) -> tuple[Pictures, Tensor]:
    turns = sorted(
        (turn, label, str(path))
        for label, name in enumerate(sorted(classes))
        for turn, path in enumerate(classes[name])
    )
    names = [name for _, _, name in turns]
    labels = torch.tensor([label for _, label, _ in turns])
    return Pictures(names, opened, partial(fitted, size=size), size), labels
