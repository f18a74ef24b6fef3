"""What the sets of MedMNIST share: one npz file each, in 28x28 pixels."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._arrays import N, check_labels, count, labels
from bench.data._files import fetch, official, reading


def read(folder: Path, name: str, info: Info) -> Source:
    """Read the official file of a set, downloading it if it is not there.

    Raises:
        ValueError: the file is truncated, or is another set's or another size's.
        OSError: there is nothing to read and no network.
    """
    path = folder / f"{name}.npz"
    if not path.is_file():
        from medmnist import INFO

        try:
            fetch(INFO[name]["url"], path, f"md5:{INFO[name]['MD5']}")
        except OSError as error:
            larger = sorted(other.name for other in folder.glob(f"{name}_*.npz"))
            hint = f"; {larger[0]}, which is there, is of another size" if larger else ""
            raise OSError(f"{error}{hint}") from None
    train, test = split(path, "train", info), split(path, "test", info)
    counts = len(train[1]), len(test[1])
    if counts != (info.train, info.test):
        _check_counts(path, *counts)
    return Source(Images(*train, *test), official(folder, info.files))


def split(path: Path, name: str, info: Info) -> tuple[Tensor, Tensor]:
    """Read images (N, C, H, W) uint8 and labels (N,) int64 of one split, "train" or "test".

    Raises:
        ValueError: the file is missing or truncated, or holds images or labels of another kind.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path}; put it there")
    channels, *size = info.shape
    layout = (N, *size, channels) if channels > 1 else (N, *size)
    images, numbers = f"{name}_images", f"{name}_labels"
    most = info.train if name == "train" else info.test
    n = count(f"{images} of {path}", *_head(path, images), [layout], most)
    check_labels(f"{numbers} of {path}", *_head(path, numbers), n)
    x = torch.from_numpy(_array(path, images).reshape(n, *size, channels)).permute(0, 3, 1, 2)
    return x, labels(f"{numbers} of {path}", _array(path, numbers), n)


def _check_counts(path: Path, train: int, test: int) -> None:
    """Refuse a file with as many images as another set of MedMNIST has; fewer are a part of this.

    Raises:
        ValueError: names that set.
    """
    from medmnist import INFO

    counts = {"train": train, "test": test}
    for name, card in INFO.items():
        if name != path.stem and counts == {split: card["n_samples"][split] for split in counts}:
            raise ValueError(f"{path} has the {train} and {test} images of {name}; replace it")


def _head(path: Path, key: str) -> tuple[str, tuple[int, ...]]:
    """Read the names of an array's type, and its shape, off its first bytes."""
    with reading(path), zipfile.ZipFile(path) as archive:
        found = f"{key}.npy" in archive.namelist()
        if found:
            with archive.open(f"{key}.npy") as file:
                first = np.lib.format.read_magic(file) == (1, 0)
                form = np.lib.format
                read = form.read_array_header_1_0 if first else form.read_array_header_2_0
                shape, _, dtype = read(file)
    if not found:
        raise ValueError(f"{path} has no array {key}; replace it")
    return dtype.name, shape


def _array(path: Path, key: str) -> np.ndarray:
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
