"""Data sets, one file each, prepared once into one checked file of uint8 pixels.

A file of this package says INFO and ``read(folder) -> Images``, which finds, or downloads, the
official files below the data folder. ``prepare`` keeps what it read as
``<folder>/prepared/<name>.safetensors``; jobs ``load`` that, so none imports a data library.
"""

import hashlib
import importlib
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from bench.record import write_bytes


class Info(NamedTuple):
    """What is fixed about a data set."""

    shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    train: int  # images
    test: int
    mean: tuple[float, ...]  # per channel, on the [0, 1] scale
    std: tuple[float, ...]
    pad: int  # zeros round a training image, from which it is cropped at random
    flip: bool  # mirrored left to right with probability 1/2
    sha256: str  # ``checksum`` of the official copy


class Images(NamedTuple):
    """Both splits, in the official order."""

    train_x: Tensor  # (N, C, H, W) uint8
    train_y: Tensor  # (N,) int64
    test_x: Tensor  # (M, C, H, W) uint8
    test_y: Tensor  # (M,) int64


class Loaded(NamedTuple):
    """A prepared data set and what is known about it."""

    images: Images
    info: Info
    checksum: str
    official: bool


def info(name: str) -> Info:
    """Say what is fixed about a data set."""
    found: Info = importlib.import_module(f"bench.data.{name}").INFO
    return found


def prepared(name: str, folder: Path) -> Path:
    """Where ``prepare`` puts a data set."""
    return folder / "prepared" / f"{name}.safetensors"


def prepare(name: str, folder: Path) -> Path:
    """Read a data set from its official files, check it, and keep it in one file.

    Raises:
        ValueError: what was read is not the data set; says where it departs.
        OSError: the files are missing and could not be downloaded, or the folder is read-only.
    """
    images: Images = importlib.import_module(f"bench.data.{name}").read(folder)
    check(name, images)
    path = prepared(name, folder)
    write_bytes(path, save(images._asdict(), metadata={"name": name, "sha256": checksum(images)}))
    return path


def load(name: str, folder: Path) -> Loaded:
    """Read what ``prepare`` kept, and verify it.

    Raises:
        ValueError: it is not there, is damaged or is another data set's.
    """
    path = prepared(name, folder)
    again = f"run: python -m bench.data {name} --folder {folder}"
    if not path.is_file():
        raise ValueError(f"{path} is missing; {again}")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); remove it and {again}") from None
    if meta.get("name") != name or tensors.keys() != set(Images._fields):
        raise ValueError(f"{path} holds {meta.get('name')!r}, not {name!r}; remove it and {again}")
    images = Images(**tensors)
    found = checksum(images)
    if found != meta["sha256"]:
        raise ValueError(
            f"{path} has changed since it was prepared (SHA-256 {found[:12]}, not "
            f"{meta['sha256'][:12]}); remove it and {again}"
        )
    return Loaded(images, info(name), found, official=found == info(name).sha256)


def check(name: str, images: Images) -> None:
    """Refuse images or labels that a data set cannot have.

    Raises:
        ValueError: names the split, what was found and what is allowed.
    """
    known = info(name)
    for split, x, y in (("train", images.train_x, images.train_y), ("test", *images[2:])):
        if tuple(x.shape[1:]) != known.shape or x.dtype != torch.uint8:
            given = f"{x.dtype} of shape {tuple(x.shape[1:])}"
            raise ValueError(f"{name} {split} images are {given}, not uint8 of {known.shape}")
        if len(x) != len(y) or not len(x):
            raise ValueError(f"{name} {split} has {len(x)} images and {len(y)} labels")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= known.classes:
            allowed = f"0 to {known.classes - 1}"
            raise ValueError(f"{name} {split} labels run from {low} to {high}, not {allowed}")


def checksum(images: Images) -> str:
    """SHA-256 of the pixels and labels of both splits, in order."""
    digest = hashlib.sha256()
    for tensor in images:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def subset(count: int, n: int | None) -> Tensor:
    """Choose n of count rows at random but always the same, in order; all if n is None."""
    if n is None or n >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n].sort().values
