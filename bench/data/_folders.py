"""Pictures of your own: train/ and test/, and in each of them a folder a class."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._pictures import Pictures, listed, opened

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
    if train.keys() != test.keys():
        first = min(train.keys() ^ test.keys())
        raise ValueError(f"{root}: train/ and test/ have other classes, the first of them {first}")
    for split, classes, said in (("train", train, info.train), ("test", test, info.test)):
        found = sum(map(len, classes.values()))
        if (len(classes), found) != (info.classes, said):
            raise ValueError(
                f"{root / split} has {found} pictures in {len(classes)} folders, and INFO says "
                f"{said} in {info.classes}; correct the one or the other"
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


def _stack(classes: dict[str, list[Path]], size: int) -> tuple[Pictures, Tensor]:
    turns = sorted(
        (turn, label, str(path))
        for label, name in enumerate(sorted(classes))
        for turn, path in enumerate(classes[name])
    )
    names = [name for _, _, name in turns]
    labels = torch.tensor([label for _, label, _ in turns])
    return Pictures(names, opened, partial(fitted, size=size), size), labels
