"""Prepare data sets: python -m bench.data cifar10 --folder .data"""

import argparse
import os
import sys
from pathlib import Path

from bench.data import load, prepare
from workflows.grid import names, unknown


def main() -> None:
    """Prepare each data set named, and say what came out."""
    parser = argparse.ArgumentParser(description="Read, check and keep data sets.")
    parser.add_argument("names", nargs="+", metavar="NAME", help="files of bench/data/")
    default = os.environ.get("ONESTEP_DATA") or ".data"
    parser.add_argument(
        "--folder",
        type=Path,
        default=default,
        help="where official files are; $ONESTEP_DATA, .data",
    )
    args = parser.parse_args()
    for name in args.names:
        if name not in names("bench/data"):
            sys.exit(unknown("data set", name, names("bench/data")))
        try:
            path = prepare(name, args.folder)
            data = load(name, args.folder, verify=True)
        except (ValueError, OSError) as error:
            sys.exit(f"data set {name}: {error}")
        copy = "official copy" if data.official else "UNOFFICIAL: its files have no published sums"
        train, test = len(data.images.train_y), len(data.images.test_y)
        print(f"{name}: {train} training and {test} test images, {copy}, in {path}")


if __name__ == "__main__":
    main()
