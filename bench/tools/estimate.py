"""Say what is left of a suite, and what it takes: python -m bench plan --configfile SUITE

At the pace of the suite's runs that this machine has finished, once there are any; before that,
and for the table of cells, from counted operations and one stated rate of a GPU.
"""

import argparse
import functools
import math
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.runs import suite as configs
from bench.runs.files import between_marks, write_bytes
from bench.runs.record import AUTOATTACK, TRAIN, Config, Record
from bench.stages import machine
from workflows.plan import Plan, Work

RATE = 20e12  # operations a second: about a third of an H200's 67e12 in fp32; assumed, not measured
SURVIVING = 0.5  # share of images that stand up to AutoAttack's first attacks; assumed
STAGES = (TRAIN, AUTOATTACK)
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
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for run in runs:
        if hours := stage_hours(run, suite.attack_images):
            found.setdefault((run.dataset, run.architecture), []).append(hours)
    return [
        Cell(
            *pair,
            train=sum(hours[TRAIN] for hours in of_runs),
            attack=sum(hours[AUTOATTACK] for hours in of_runs),
            runs=len(of_runs),
        )
        for pair, of_runs in found.items()
    ]


def stage_hours(run: Config, images: int | None) -> dict[str, float]:
    """Hours by stage on one GPU; none if the method declines the data."""
    if _refused(run):
        return {}
    return {TRAIN: train_hours(run), AUTOATTACK: attack_hours(run, images)}


def hours(work: Work, suite: configs.Suite) -> float:
    """Hours of one stage of one run on one GPU; 0 for those that nothing is known of."""
    if work.stage.name == TRAIN:
        return train_hours(work.config)
    if work.stage.name == AUTOATTACK:
        return attack_hours(work.config, suite.attack_images)
    return 0.0


def train_hours(run: Config) -> float:
    """Hours of training: forward, input and weight gradients cost one forward pass each."""
    from bench.data import info
    from bench.runs.protocol import Protocol
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
        cost = [hours.get((name, other)) for other in suite.architectures]
        each = [
            "-" if c is None else f"{_h(c.train / c.runs)} + {_h(c.attack / c.runs)}" for c in cost
        ]
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


def told(plan: Plan, device: str) -> str:
    """Say in some lines what is left of a suite, and what it takes from nothing.

    Args:
        device: this machine's, as records name it.
    """
    from bench.data import info

    suite = plan.suite
    whole = {name: stage_hours(run, suite.attack_images) for name, run in plan.runs.items()}
    ratios = _ratios(plan, whole, device)
    pace = {stage: statistics.median(known) for stage, known in ratios.items() if known}
    # the same operations: until an attack has finished, training tells how fast the machine is
    pace = dict.fromkeys(STAGES, pace.get(TRAIN, 1.0)) | pace
    left = plan.left
    rest: dict[str, dict[str, float]] = {}
    for work in left:
        known = whole[work.config.folder]
        rest.setdefault(work.config.folder, {})[work.stage.name] = known.get(work.stage.name, 0.0)
    cells = {_cell(run) for run in plan.runs.values()} - {_cell(work.config) for work in left}
    finished = f"; finished: {', '.join(sorted(cells))}" if cells and left else ""
    download = sum(info(name).download for name in suite.datasets)
    return (
        f"left: {len(rest)} of {len(plan.runs)} runs ({_counted(left)}), "
        f"{_takes(rest.values(), pace)}; from nothing: {_takes(whole.values(), pace)}\n"
        f"{_basis(len(ratios[TRAIN]), device)}\n"
        f"data: {_size(download) if download else 'nothing'} to download, "
        f"{_size(disk(suite.datasets))} decoded{finished}"
    )


def _counted(left: Iterable[Work]) -> str:
    """Count work by stage."""
    counts = Counter(work.stage.name for work in left)
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing to do"


def readme(suite: configs.Suite, found: list[Cell]) -> str:
    """Make what the README says."""
    return f"{table(suite, found)}\n\n{total(suite, found)}\n"


def _ratios(
    plan: Plan, whole: Mapping[str, Mapping[str, float]], device: str
) -> dict[str, list[float]]:
    """List by stage how many times the estimated hours a device took, here or as published."""
    ratios: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for work in plan.work:
        hours = whole[work.config.folder].get(work.stage.name)
        record = plan.record(work) if not plan.is_left(work) else _published(plan, work)
        made = record.origin if record and record.status == "done" else None
        if hours and record and made and made.device == device:
            ratios[work.stage.name].append(_seconds(record) / 3600 / hours)
    return ratios


def _published(plan: Plan, work: Work) -> Record | None:
    """Read the published record of the same work with the same options, whatever its code was."""
    name = f"*/{work.config.folder}/{work.stage.name}.json"
    for path in sorted((plan.results / "published").glob(name)):
        record = Record.read(path)
        code = record.origin.method_code if record.origin else ""
        if work.stage.state(record, plan.options(work), code) == "done":
            return record
    return None


def _seconds(record: Record) -> float:
    """Seconds that a finished stage took."""
    if record.training:
        return record.training.train_seconds + record.training.probe_seconds
    assert record.attack, "a finished stage without a body"
    return record.attack.attack_seconds


def _basis(finished: int, device: str) -> str:
    """Say whose hours these are."""
    rate = f"an assumed {RATE / 1e12:.0f} TFLOP/s"
    if finished:
        runs = f"{finished} finished run{'s' if finished > 1 else ''}"
        return f"one job after the other, at the pace of {runs} on this machine's {device}"
    if device.startswith("CPU"):
        return (
            f"these are hours of a GPU at {rate}, not of this machine: it has none, and has "
            "finished no run of the suite yet"
        )
    return f"on one GPU at {rate}; this machine has finished no run of the suite yet"


def _takes(hours: Iterable[Mapping[str, float]], pace: Mapping[str, float]) -> str:
    """Add up the hours of runs by stage."""
    listed = list(hours)
    train, attack = (pace[stage] * sum(h.get(stage, 0.0) for h in listed) for stage in STAGES)
    return f"{_h(train)} of training and {_h(attack)} of AutoAttack"


def _cell(run: Config) -> str:
    return f"{run.dataset} {run.architecture}"


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
        return f"{hours * 60:.0f} min" if hours >= 1 / 60 or not hours else "< 1 min"
    return f"{hours:.3g} h" if hours < 1000 else f"{hours:,.0f} h"


def _size(count: int) -> str:
    if not count:
        return "-"
    if count < 1e9:
        return f"{count / 1e6:.0f} MB" if count >= 1e6 else "< 1 MB"
    return f"{count / 1e9:.1f} GB"


def main(words: Sequence[str] | None = None) -> None:
    """Print the estimate, or put it into the README."""
    parser = argparse.ArgumentParser(
        prog="python -m bench plan", description="Say what is left of a suite, and what it takes."
    )
    parser.add_argument("--configfile", type=Path, required=True, help="a suite")
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="KEY=VALUE", help="laid over it, as by Snakemake"
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--table", action="store_true", help="hours of every cell, from nothing")
    parser.add_argument("--readme", type=Path, help="write the table into this file")
    args = parser.parse_args(words)
    given = (pair.partition("=") for pair in args.config)
    try:
        over = {key: yaml.safe_load(value) for key, _, value in given}
        suite = configs.suite(configs.load(args.configfile) | over)
        runs = configs.runs(suite)
    except (ValueError, yaml.YAMLError) as error:
        sys.exit(str(error))
    found = cells(suite, runs) if args.table or args.readme else []
    if args.readme:
        body = readme(suite, found)
        text = between_marks(args.readme.read_text(encoding="utf-8"), MARK, body)
        write_bytes(args.readme, text.encode())
    elif args.table:
        print(table(suite, found))
    else:
        folder = configs.data_dir(suite)
        print(told(Plan(suite, runs, data_dir=folder, results=args.results), _device()))


def _device() -> str:
    """Name the device that a job would run on."""
    import torch

    return machine.device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
