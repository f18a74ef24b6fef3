"""Prepare data sets: python -m bench data cifar10 --folder .data"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from bench.data import Info, Loaded, load, prepare, prepared
from bench.data._files import differing
from bench.runs.catalogue import data_folder, folder, names, unknown


def main(words: Sequence[str] | None = None) -> None:
    """Prepare each data set named, and print a line on each."""
    parser = argparse.ArgumentParser(
        prog="python -m bench data", description="Read, check and keep data sets."
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="files of bench/data/")
    parser.add_argument(
        "--folder",
        type=folder,
        default=data_folder(),
        help="where official files are; $ONESTEP_DATA, .data",
    )
    args = parser.parse_args(words)
    wrong = [unknown("data set", n, names("bench/data")) for n in args.names
             if n not in names("bench/data")]  # fmt: skip
    if wrong:
        sys.exit("\n".join(wrong))
    failed = []
    for name in args.names:
        try:
            print(f"{name}: {prepare_verified(name, args.folder)}", flush=True)
        except (ValueError, OSError) as error:
            failed.append(f"data set {name}: {error}")
    if failed:
        sys.exit("\n".join(failed))


def prepare_verified(name: str, folder: Path) -> str:
    """Prepare one data set and verify it; return a line on its images, its origin and its file.

    A line of each warning follows.

    Raises:
        ValueError, OSError: as ``bench.data.prepare``.
    """
    path = prepared(name, folder)
    earlier = path.stat().st_mtime if path.is_file() else None
    prepare(name, folder)
    data = load(name, folder, verify=True)
    counts = []
    for split, y, whole in (
        ("training", data.images.train_y, data.info.train),
        ("test", data.images.test_y, data.info.test),
    ):
        part = "" if len(y) == whole else f" of {whole}"
        absent = data.info.classes - len(y.unique())
        part += f" ({absent} of {data.info.classes} classes have none)" if absent else ""
        counts.append(f"{len(y)}{part} {split}")
    text = f"{' and '.join(counts)} images, {_copy(data, folder)}, in {path}"
    if earlier:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(earlier))
        text += f", prepared {when} and not read again"
    lines = [text if data.official else f"{text}; remove that file to prepare the set again"]
    if common := _common(data.images.train_x, data.images.test_x):
        tested = len(data.images.test_x)
        lines.append(f"warning: {common} of {tested} test images are training images, too")
    if newer := [source for source in _sources(name, data.info, folder)
                 if earlier and source.lstat().st_mtime > earlier]:  # fmt: skip
        lines.append(f"warning: {newer[0]} is newer; to read it, remove {path} and run this again")
    return f"\n{name}: ".join(lines)


def _common(train: Tensor, test: Tensor) -> int:
    """Count the test images that are training images, too, pixel for pixel."""
    if train.shape[1:] != test.shape[1:]:
        return 0
    seen = {hashlib.sha256(image).digest() for image in train.flatten(1).numpy()}
    return sum(hashlib.sha256(image).digest() in seen for image in test.flatten(1).numpy())


def _sources(name: str, known: Info, folder: Path) -> Iterator[Path]:
    """List what a set may have been read from, folders too: their time tells of what is gone."""
    own = (name, f"{name}.npz")  # as CONTRIBUTING names them
    for top in sorted({folder / Path(file).parts[0] for file in (*known.files, *own)}):
        if top.exists():
            yield top
            yield from sorted(top.rglob("*"))


def _copy(data: Loaded, folder: Path) -> str:
    """Say whether the files read are the official ones, by their published checksums."""
    if data.official:
        return "official copy"
    wrong = differing(folder, data.info.files)
    reason = (
        f"{', '.join(wrong)} not as published" if wrong else "no published sum of what was read"
    )
    return f"UNOFFICIAL ({reason})"
