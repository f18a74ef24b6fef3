"""Tiny ImageNet: 110,000 photographs of 64x64 pixels in 200 classes of ImageNet.

Source: Stanford University, course CS231n, out of ILSVRC-2012 (Russakovsky et al., IJCV 2015).
Licence: none of its own; ImageNet's terms allow non-commercial research and education.
Splits: official; the 10,000 validation images are the test set, for those of the official test
    set have no labels.
Files: tiny-imagenet-200.zip in the data folder, read without unpacking; or else the folder
    tiny-imagenet-200/ from it, which counts as unofficial, because no sums of the unpacked files
    are published.
Order: training images by label, then number; test images by number. Labels count the sorted
    WordNet ids.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import IO, TypeAlias

import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._files import DAMAGED, fetch, official, reading
from bench.data._pictures import Pictures
from bench.view import Augment

INFO = Info(
    shape=(3, 64, 64),
    classes=200,
    train=100_000,
    test=10_000,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    eps=8,
    augment=Augment(pad=8, flip=True),
    files={
        "tiny-imagenet-200.zip": (
            "sha256:6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
        )
    },
    download=248_100_043,
)
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
NAME = "tiny-imagenet-200"
TRAIN = re.compile(r"/train/(n\d+)/images/n\d+_(\d+)\.JPEG")
TEST = re.compile(r"/val/images/(val_(\d+)\.JPEG)")

Stream: TypeAlias = Callable[[str], IO[bytes]]


def read(folder: Path) -> Source:
    """List the official files, downloading the archive if neither it nor its folder is there.

    Raises:
        ValueError: a file is missing, truncated or not of this format.
        OSError: there is nothing to read and no network.
    """
    if folder.name == NAME and folder.is_dir():
        raise ValueError(f"name the folder that holds {NAME}, which is {folder.parent}")
    archive, inside = folder / f"{NAME}.zip", folder / NAME
    if archive.is_file() or not inside.is_dir():
        fetch(URL, archive, INFO.files[archive.name])
        root, names, stream = f"{archive}/{NAME}", *_packed(archive)
    else:
        root, names, stream = str(inside), *_unpacked(inside)
    wnids = sorted({line.strip() for line in _lines(f"{root}/wnids.txt", stream)} - {""})
    if len(wnids) != INFO.classes:
        raise ValueError(f"{root}/wnids.txt names {len(wnids)} classes, not {INFO.classes}")
    classes = {wnid: label for label, wnid in enumerate(wnids)}
    train = _pictures(_train(root, names, classes), stream)
    test = _pictures(_test(root, names, classes, stream), stream)
    return Source(Images(*train, *test), official(folder, INFO.files))


def _train(root: str, names: Iterable[str], classes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Name and label of each training picture."""
    matches = ((name, TRAIN.fullmatch(name.removeprefix(root))) for name in names)
    found = sorted((match[1], int(match[2]), name) for name, match in matches if match)
    strange = sorted({wnid for wnid, _, _ in found} - classes.keys())
    if strange:
        raise ValueError(f"{root}/wnids.txt lacks {len(strange)} classes of train/: {strange[:3]}")
    return [(name, classes[wnid]) for wnid, _, name in found]


def _test(
    root: str, names: Iterable[str], classes: Mapping[str, int], stream: Stream
) -> list[tuple[str, int]]:
    """Name and label of each test picture."""
    where = f"{root}/val/val_annotations.txt"
    wnids = dict(line.split("\t")[:2] for line in _lines(where, stream) if "\t" in line)
    matches = ((name, TEST.fullmatch(name.removeprefix(root))) for name in names)
    found = sorted((int(match[2]), match[1], name) for name, match in matches if match)
    strange = [file for _, file, _ in found if wnids.get(file) not in classes]
    if strange:
        raise ValueError(
            f"{where} names no class of wnids.txt for {len(strange)} of {len(found)} pictures, "
            f"such as {strange[0]}; replace it by the official file"
        )
    return [(name, classes[wnids[file]]) for _, file, name in found]


def _pictures(found: list[tuple[str, int]], stream: Stream) -> tuple[Pictures, Tensor]:
    names = [name for name, _ in found]
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    return Pictures(names, stream, lambda picture: picture, INFO.shape[1]), labels


def _packed(archive: Path) -> tuple[list[str], Stream]:
    """List an archive's files as if it were a folder, and a way to open them."""
    with reading(archive):
        file = zipfile.ZipFile(archive)
    lock = Lock()

    def opened(name: str) -> IO[bytes]:
        with lock:  # ZipFile counts its open files without one
            return io.BytesIO(file.read(name.removeprefix(f"{archive}/")))

    return [f"{archive}/{name}" for name in file.namelist()], opened


def _unpacked(inside: Path) -> tuple[list[str], Stream]:
    pictures = (*inside.glob("train/*/images/*"), *inside.glob("val/images/*"))
    return [str(path) for path in pictures], lambda name: Path(name).open("rb")


def _lines(name: str, stream: Stream) -> list[str]:
    try:
        with stream(name) as file:
            return file.read().decode("ascii").splitlines()
    except (KeyError, *DAMAGED) as error:
        raise ValueError(f"{name} cannot be read ({error}); put the official file there") from None
