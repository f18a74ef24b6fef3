"""Tiny ImageNet: 110,000 photographs of 64x64 pixels in 200 classes of ImageNet.

Source: Stanford University, course CS231n, out of ILSVRC-2012 (Russakovsky et al., IJCV 2015).
Licence: none of its own; ImageNet's terms allow non-commercial research and education.
Splits: official; the 10,000 validation images are the test set, for those of the official test
    set have no labels.
Files: tiny-imagenet-200.zip in the data folder, read without unpacking; or else the folder
    tiny-imagenet-200/ from it, which counts as unofficial, because no sums of the unpacked files
    are published. Pictures may lie without images/ between, val/ may be sorted into a folder a
    class, then with or without val_annotations.txt, and .jpg is as good as .JPEG.
Order: training images by label, then number; test images by number. Labels count the sorted
    WordNet ids.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import IO, TypeAlias

import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._files import DAMAGED, below, brief, fetch, official, reading
from bench.data._pictures import Pictures, is_picture, opened
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
TRAIN = re.compile(
    r"/train/(?P<wnid>n\d+)/(?:images/)?(?P<stem>(?P=wnid)_(?P<number>\d+))\.jpe?g", re.IGNORECASE
)
TEST = re.compile(
    r"/val/(?:(?P<wnid>n\d+)/)?(?:images/)?(?P<stem>val_(?P<number>\d+))\.jpe?g", re.IGNORECASE
)
LEVELS = ("*", "*/*", "*/*/*", "*/*/*/*")  # one more than there are pictures, to tell of those
LARGEST = 2**22  # bytes of a file that is read as a whole; official pictures and lists are smaller

Stream: TypeAlias = Callable[[str], IO[bytes]]


def read(folder: Path) -> Source:
    """List the official files, downloading the archive if neither it nor its folder is there.

    Raises:
        ValueError: a file is missing, truncated or not of this format.
        OSError: there is nothing to read and no network.
    """
    archive = folder / f"{NAME}.zip"
    inside = below(folder, NAME, "wnids.txt", archive)
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
    wanted = "train/WNID/images/WNID_NUMBER.JPEG"
    found = _matching(root, names, "train", TRAIN, wanted, INFO.train)
    strange = sorted({match["wnid"] for match in found} - classes.keys())
    if strange:
        raise ValueError(f"{root}/wnids.txt lacks {len(strange)} classes of train/: {strange[:3]}")
    found.sort(key=lambda match: (match["wnid"], int(match["number"])))
    return [(root + match[0], classes[match["wnid"]]) for match in found]


def _test(
    root: str, names: Iterable[str], classes: Mapping[str, int], stream: Stream
) -> list[tuple[str, int]]:
    """Name and label of each test picture, by its folder, by the list of all, or by both."""
    wanted = "val/images/val_NUMBER.JPEG or val/WNID/val_NUMBER.JPEG"
    found = _matching(root, names, "val", TEST, wanted, INFO.test)
    found.sort(key=lambda match: int(match["number"]))
    where = f"{root}/val/val_annotations.txt"
    needed = where in names or not all(match["wnid"] for match in found)
    lines = [line.split("\t") for line in _lines(where, stream)] if needed else []
    said = {file.partition(".")[0]: wnid for file, wnid, *_ in (line for line in lines if line[1:])}
    labelled, strange = [], []
    for match in found:
        wnids = {wnid for wnid in (match["wnid"], said.get(match["stem"])) if wnid}
        label = classes.get(wnids.pop()) if len(wnids) == 1 else None
        if label is None:
            strange.append(match[0])
        else:
            labelled.append((root + match[0], label))
    if strange:
        raise ValueError(
            f"folder and {where} name no class of wnids.txt, or two, for {len(strange)} of "
            f"{len(found)} pictures, such as {strange[0][1:]}; replace them by the official files"
        )
    return labelled


def _matching(
    root: str, names: Iterable[str], split: str, pattern: re.Pattern[str], wanted: str, most: int
) -> list[re.Match[str]]:
    """Match the paths below the root of all pictures of a split.

    Raises:
        ValueError: there are none or too many, one lies where none is looked for, or twice.
    """
    inside = (name.removeprefix(root) for name in names if name.startswith(f"{root}/{split}/"))
    paths = [path for path in inside if is_picture(path)]
    found = {path: match for path in paths if (match := pattern.fullmatch(path))}
    if strange := sorted({*paths} - found.keys()):
        raise ValueError(
            f"{root} has pictures elsewhere than {wanted}: {len(strange)}, such as "
            f"{strange[0][1:]}; move or rename them"
        )
    if not found:
        raise ValueError(f"{root} has no pictures {wanted}; unpack the official archive again")
    twice = [
        stem for stem, n in Counter(m["stem"].lower() for m in found.values()).items() if n > 1
    ]
    if twice:
        raise ValueError(
            f"{root}/{split} has {len(twice)} pictures twice, such as {twice[0]}; keep one"
        )
    if len(found) > most:
        raise ValueError(f"{root}/{split} has {len(found)} pictures, and the set has {most}")
    return [*found.values()]


def _pictures(found: list[tuple[str, int]], stream: Stream) -> tuple[Pictures, Tensor]:
    names = [name for name, _ in found]
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    return Pictures(names, stream, lambda picture: picture, INFO.shape[1]), labels


def _packed(archive: Path) -> tuple[list[str], Stream]:
    """List an archive's files as if it were a folder, and a way to open them."""
    with reading(archive):
        file = zipfile.ZipFile(archive)
    lock = Lock()

    def unpacked(name: str) -> IO[bytes]:
        entry = file.getinfo(name.removeprefix(f"{archive}/"))
        if entry.file_size > LARGEST:  # more than it says does not come out
            raise ValueError(f"it unpacks to {entry.file_size} bytes")
        with lock, file.open(entry) as stream:  # ZipFile counts its open files without one
            return io.BytesIO(stream.read(entry.file_size))  # a plain read unpacks more, and cuts

    return [f"{archive}/{name}" for name in file.namelist()], unpacked


def _unpacked(inside: Path) -> tuple[list[str], Stream]:
    levels = [f"{split}/{level}" for split in ("train", "val") for level in LEVELS]
    return [str(path) for level in levels for path in inside.glob(level)], opened


def _lines(name: str, stream: Stream) -> list[str]:
    try:
        with stream(name) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        return content.decode("ascii").splitlines()
    except (KeyError, FileNotFoundError):
        raise ValueError(f"{name} is missing; put the official file there") from None
    except DAMAGED as error:
        text = f"{name} cannot be read ({brief(error)}); put the official file there"
        raise ValueError(text) from None
