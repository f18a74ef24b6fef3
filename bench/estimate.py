"""Estimate what a suite takes on GPUs, cell by cell: python -m bench.estimate --configfile SUITE

From counted operations and one stated rate, before anything has run. What did run says in its
cost.json what it took.
"""

import argparse
import functools
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench import config as configs
from bench.record import Config, between_marks, write_bytes

RATE = 20e12  # operations a second: about a third of an H200's 67e12 in fp32; assumed, not measured
SURVIVING = 0.5  # share of images that stand up to AutoAttack's first attacks; assumed
MARK = "costs"


class Cell(NamedTuple):
    """One data set with one architecture: hours for all its runs."""

    dataset: str
    architecture: str
    train: float
    attack: float
    runs: int


def cells(suite: configs.Suite, runs: Iterable[Config]) -> list[Cell]:
    """Estimate each pair of data set and architecture, in the order of the suite."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for run in runs:
        if _refused(run):
            continue
        hours = train_hours(run), attack_hours(run, suite.attack_images)
        found.setdefault((run.dataset, run.architecture), []).append(hours)
    return [
        Cell(
            *pair, train=sum(h[0] for h in hours), attack=sum(h[1] for h in hours), runs=len(hours)
        )
        for pair, hours in found.items()
    ]


def train_hours(run: Config) -> float:
    """Hours of training: forward, input and weight gradients cost one forward pass each."""
    from bench.data import info
    from bench.protocol import Protocol
    from methods import load

    method, protocol = load(run.method)(**run.settings), Protocol(**run.protocol)
    known = info(run.dataset)
    images = min(run.train_images or math.inf, known.train - protocol.validation)
    epochs = math.ceil(protocol.epochs / method.replays)
    # every backward pass reaches the image; those that move the weights cost one more
    passes = method.cost.forward + method.cost.backward + method.replays
    return images * epochs * passes * _forward_hours(run)


def attack_hours(run: Config, images: int | None) -> float:
    """Hours of AutoAttack: 100 steps of each targeted attack, and 5,000 queries of Square."""
    from bench.data import info

    known = info(run.dataset)
    targets = min(9, known.classes - 1)
    passes = 2 * 100 * (1 + targets + targets) + 5000
    standing = SURVIVING * min(images or math.inf, known.test)
    return standing * passes * _forward_hours(run)


def disk(names: Iterable[str]) -> int:
    """Bytes of data sets once decoded."""
    from bench.data import info

    total = 0
    for name in names:
        known = info(name)
        test = math.prod(known.shape)
        train = known.shape[0] * 256**2 if known.augment.resized else test
        total += known.train * train + known.test * test
    return total


def table(suite: configs.Suite, found: Iterable[Cell]) -> str:
    """Make the Markdown table: one row a data set, one column an architecture."""
    from bench.data import info

    hours = {(cell.dataset, cell.architecture): cell for cell in found}
    head = ["data set", "download", "on disk", *suite.architectures]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for name in suite.datasets:
        cost = [hours[name, other] for other in suite.architectures]
        each = [f"{_h(c.train / c.runs)} + {_h(c.attack / c.runs)}" for c in cost]
        download = info(name).download
        lines.append(_row([name, _size(download), _size(disk([name])), *each]))
    return "\n".join(lines)


def total(suite: configs.Suite, found: Iterable[Cell]) -> str:
    """Say in one line what the whole suite takes."""
    from bench.data import info

    found = list(found)
    train, attack = sum(c.train for c in found), sum(c.attack for c in found)
    download = sum(info(name).download for name in suite.datasets)
    return (
        f"The whole suite from nothing: {_h(train)} of training and {_h(attack)} of AutoAttack on "
        f"one GPU at an assumed {RATE / 1e12:.0f} TFLOP/s; {_size(download)} to download, "
        f"{_size(disk(suite.datasets))} of decoded data."
    )


def readme(suite: configs.Suite, found: list[Cell]) -> str:
    """Make what the README says."""
    return f"{table(suite, found)}\n\n{total(suite, found)}\n"


def _refused(run: Config) -> bool:
    """Would the method decline these data, as ATAS does where crops have no way back."""
    import torch

    from bench.data import info
    from bench.method import Run
    from bench.view import margin
    from methods import load

    known = info(run.dataset)
    side = known.shape[1] + 2 * margin(known.augment, known.shape[1])
    canvas = None if known.augment.resized else (known.train, known.shape[0], side, side)
    try:
        load(run.method)(**run.settings).init(
            Run(torch.device("meta"), (run.protocol["batch"], *known.shape), canvas, 1)
        )
    except ValueError:
        return True
    return False


def _forward_hours(run: Config) -> float:
    """Hours that one image takes forward."""
    return _operations(run.dataset, run.architecture, run.width) / RATE / 3600


@functools.cache
def _operations(dataset: str, architecture: str, width: int) -> float:
    """Operations of one image forward, counted without computing anything."""
    import torch

    from bench.data import info
    from bench.meter import Flops
    from bench.models import build

    known = info(dataset)
    net = build(architecture, shape=known.shape, classes=known.classes, width=width,
                mean=known.mean, std=known.std).to("meta").eval()  # fmt: skip
    with torch.no_grad(), Flops() as flops:
        net(torch.empty(1, *known.shape, device="meta"))
    return flops.total


def _row(parts: Iterable[str]) -> str:
    return f"| {' | '.join(parts)} |"


def _h(hours: float) -> str:
    if hours < 1:
        return f"{hours * 60:.0f} min" if hours >= 1 / 60 else "< 1 min"
    return f"{hours:.3g} h" if hours < 1000 else f"{hours:,.0f} h"


def _size(count: int) -> str:
    return "-" if not count else f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def main() -> None:
    """Print the estimate, or put it into the README."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.estimate", description="Estimate what a suite takes on GPUs."
    )
    parser.add_argument("--configfile", type=Path, required=True, help="a suite")
    parser.add_argument("--total", action="store_true", help="one line for the whole suite")
    parser.add_argument("--readme", type=Path, help="write the table into this file")
    args = parser.parse_args()
    try:
        suite = configs.suite(configs.load(args.configfile))
    except configs.ConfigError as error:
        sys.exit(str(error))
    found = cells(suite, configs.runs(suite))
    if args.readme:
        body = readme(suite, found)
        text = between_marks(args.readme.read_text(encoding="utf-8"), MARK, body)
        write_bytes(args.readme, text.encode())
    else:
        print(total(suite, found) if args.total else table(suite, found))


if __name__ == "__main__":
    main()
