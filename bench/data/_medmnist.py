"""What the sets of MedMNIST share: one npz file each, in 28x28 pixels."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data import Images, Info, Source
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

        fetch(INFO[name]["url"], path, f"md5:{INFO[name]['MD5']}")
    train, test = split(path, "train", info.shape), split(path, "test", info.shape)
    return Source(Images(*train, *test), official(folder, info.files))


def split(path: Path, name: str, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Read images (N, C, H, W) uint8 and labels (N,) int64 of one split.

    Raises:
        ValueError: the file is truncated, or holds images or labels of another kind.
    """
    try:
        # numpy does not close what it opens where that is no archive
        with reading(path), path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            images, labels = content[f"{name}_images"], content[f"{name}_labels"]
    except KeyError as error:
        raise ValueError(f"{path} has no array {error.args[0].split()[0]}; replace it") from None
    channels, *size = shape
    wanted = (*size, channels) if channels > 1 else tuple(size)
    if images.dtype != np.uint8 or images.shape[1:] != wanted:
        raise ValueError(
            f"{name}_images of {path} are {images.dtype} of shape {images.shape}, not uint8 of "
            f"{('N', *wanted)}; take the official file of {size[0]}x{size[1]} pixels"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(images), 1):
        raise ValueError(
            f"{name}_labels of {path} are {labels.dtype} of shape {labels.shape}, not one whole "
            f"number for each of {len(images)} images"
        )
    x = torch.from_numpy(images.reshape(len(images), *size, channels)).permute(0, 3, 1, 2)
    return x, torch.from_numpy(labels[:, 0].astype(np.int64))
