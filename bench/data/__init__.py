"""Data sets, one file each, decoded once into one checked file of uint8 pixels.

A file of this package says INFO and ``read(folder) -> Source``, which finds, or downloads, the
official files below the data folder. ``prepare`` keeps what it read as
``<folder>/prepared/<name>.safetensors``; jobs ``load`` that, memory-mapped, so that none imports a
data library, and concurrent jobs share its pages.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from bench.data import _cache
from bench.data._arrays import check_distinct
from bench.data._files import DAMAGED, brief
from bench.data._pictures import Pictures
from bench.runs.ending import place_in
from bench.runs.locks import run_lock
from bench.view import Augment

X = TypeVar("X", Tensor, Pictures)


class Info(NamedTuple):
    """What is fixed about a data set; literals, because the grid reads it without torch."""

    shape: tuple[int, int, int]  # (C, H, W) that networks see
    classes: int
    train: int  # images
    test: int
    mean: tuple[float, ...]  # per channel, on the [0, 1] scale
    std: tuple[float, ...]
    eps: float  # default radius, in 1/255
    augment: Augment  # of training images
    files: dict[str, str]  # official files and their published sums, "sha256:..." or "md5:..."
    download: int  # bytes of what is downloaded, or has to be put in place
    decoded: str | None = None  # checksum of the official copy, decoded; None: files tell


class Images(NamedTuple, Generic[X]):
    """Both splits, in the official order, decoded or still to be."""

    train_x: X  # (N, C, S, S) uint8; S is H, or larger where crops are resized
    train_y: Tensor  # (N,) int64
    test_x: X  # (M, C, H, W) uint8
    test_y: Tensor  # (M,) int64
    train_size: Tensor | None = None  # (N, 2) int64: height, width before squashing to (S, S)


class Source(NamedTuple):
    """What a data set's file has read."""

    images: Images[Tensor] | Images[Pictures]
    official: bool  # every official file had its published sum


class Loaded(NamedTuple):
    """A prepared data set and what is known about it."""

    images: Images[Tensor]  # on the pages of a file
    info: Info
    checksum: str
    official: bool  # every official file had its published sum, and the copy has the known one


def info(name: str) -> Info:
    """Say what is fixed about a data set."""
    found: Info = importlib.import_module(f"bench.data.{name}").INFO
    return found


def prepared(name: str, folder: Path) -> Path:
    """Where ``prepare`` puts a data set."""
    return folder / "prepared" / f"{name}.safetensors"


def prepare(name: str, folder: Path, say: Callable[[str], None] = print) -> Path:
    """Decode a data set from its official files into one file, unless that is there already.

    Of several jobs that start at once, one decodes and the others wait for it.

    Raises:
        ValueError: what was read is not the data set, or its file says what cannot be; says where.
        OSError: the files are missing and could not be downloaded, the folder is read-only, or
            the disk is full.
    """
    module = _module(name)
    path = prepared(name, folder)
    if path.is_file():
        return path
    with run_lock(path.parent, name, say=say):
        if not path.is_file():
            source = _source(module, folder)
            check(name, source.images)
            train, test = source.images.train_x, source.images.test_x
            if isinstance(train, Tensor) and isinstance(test, Tensor):
                check_distinct({f"{name} train": train, f"{name} test": test})
            _cache.write(path, name, source.images._asdict(), official=source.official)
    return path


def _module(name: str) -> ModuleType:
    """Import a data set's file, and refuse one that cannot be right.

    Raises:
        ValueError: it cannot be imported, lacks something, or INFO has a value out of range.
    """
    where = f"bench/data/{name}.py"
    wrong: tuple[type[Exception], ...] = (*DAMAGED, ImportError, NameError)
    try:
        module = importlib.import_module(f"bench.data.{name}")
    except wrong as error:
        raise ValueError(f"{where} cannot be imported ({brief(error)}); correct it") from None
    lacking = [word for word in ("INFO", "read") if not hasattr(module, word)]
    if lacking:
        raise ValueError(f"{where} has no {' and no '.join(lacking)}; CONTRIBUTING.md shows both")
    for field, holds, wanted in _claims(module.INFO):
        if not holds:
            given = getattr(module.INFO, field)
            raise ValueError(f"{where}: {field} of INFO is {wanted}, not {given}; correct it")
    return module


def _source(module: ModuleType, folder: Path) -> Source:
    """Call a data set's ``read``; a mistake in it is told with its line."""
    try:
        source: Source = module.read(folder)
    except (NameError, AttributeError, TypeError) as error:
        path = Path(module.__file__ or "")
        where = place_in(path, error) or f"data/{path.name}: "
        raise ValueError(f"bench/{where}read() failed ({brief(error)}); correct it") from error
    return source


def _claims(known: Info) -> Iterator[tuple[str, bool, str]]:
    """Go through the fields of INFO that can be wrong, whether they hold, and what they are."""
    sides = known.shape[1:] if isinstance(known.shape, tuple) else ()
    yield "shape", len(sides) == 2 and sides[0] == sides[1], "(channels, side, side) of a square"
    channels = known.shape[0]
    for field, numbers in (("mean", known.mean), ("std", known.std)):
        whole = isinstance(numbers, tuple) and len(numbers) == channels
        yield field, whole, f"a tuple of {channels}, one number a channel"
    yield "mean", all(0 <= x <= 1 for x in known.mean), "of pixels in [0, 1]"
    yield "std", all(0 < x <= 1 for x in known.std), "of pixels in [0, 1], and above 0"
    yield "eps", 1 <= known.eps <= 255, "in 1/255, from 1 to 255"


def load(name: str, folder: Path, *, verify: bool | None = None) -> Loaded:
    """Map what ``prepare`` kept into memory.

    Args:
        verify: compare every pixel with the stored checksum. None: unless that takes longer than
            a second or two.

    Raises:
        ValueError: it is not there, is damaged or is another data set's.
    """
    path = prepared(name, folder)
    again = f"run: python -m bench data {name} --folder {folder}"
    if not path.is_file():
        raise ValueError(f"{path} is missing; {again}")
    try:
        content = _cache.read(path, name, verify=verify)
    except ValueError as error:
        raise ValueError(f"{path} {error}; remove it and {again}") from None
    images: Images[Tensor] = Images(**content.tensors)
    try:
        check(name, images)
    except ValueError as error:
        said = f"{error}, as INFO says now; if INFO has changed since, remove {path} and {again}"
        raise ValueError(said) from None
    known = info(name)
    official = content.official and known.decoded in (None, content.checksum)
    return Loaded(images, known, content.checksum, official)


def check(name: str, images: Images[Tensor] | Images[Pictures]) -> None:
    """Refuse images or labels that a data set cannot have.

    Raises:
        ValueError: names the split, what was found and what is allowed.
    """
    known = info(name)
    for split, x, y in (("train", images.train_x, images.train_y), ("test", *images[2:4])):
        shape = tuple(x.shape[1:])
        shapes = [known.shape]
        if split == "train" and known.augment.resized:  # any square; the crop makes the size
            shapes = [(known.shape[0], shape[-1], shape[-1])]
        if shape not in shapes or x.dtype != torch.uint8:
            given = f"{x.dtype} of shape {shape}"
            raise ValueError(f"{name} {split} images are {given}, not uint8 of {shapes[0]}")
        if len(x) != len(y) or not len(x):
            raise ValueError(f"{name} {split} has {len(x)} images and {len(y)} labels")
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= known.classes:
            allowed = f"0 to {known.classes - 1}"
            raise ValueError(f"{name} {split} labels run from {low} to {high}, not {allowed}")


def subset(count: int, n: int | None) -> Tensor:
    """Choose n of count rows at random but always the same, in order; all if n is None."""
    if n is None or n >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n].sort().values


def split(count: int, held_out: int) -> tuple[Tensor, Tensor]:
    """Split training rows into those to train on and a fixed random validation set, in order.

    Raises:
        ValueError: nothing would be left to train on.
    """
    if held_out >= count:
        raise ValueError(f"a validation split of {held_out} leaves none of {count} training images")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    return order[held_out:].sort().values, order[:held_out].sort().values
