"""Prepare data sets: python -m bench data cifar10 --folder .data"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.data import Loaded, load, prepare
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

    Raises:
        ValueError, OSError: as ``bench.data.prepare``.
    """
    path = prepare(name, folder)
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
    return text if data.official else f"{text}; remove that file to prepare the set again"


def _copy(data: Loaded, folder: Path) -> str:
    """Say whether the files read are the official ones, by their published checksums."""
    if data.official:
        return "official copy"
    wrong = differing(folder, data.info.files)
    reason = (
        f"{', '.join(wrong)} not as published" if wrong else "no published sum of what was read"
    )
    return f"UNOFFICIAL ({reason})"
