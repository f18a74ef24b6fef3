"""Estimate what a suite costs: GPU hours from counted operations, and the pace of a machine."""

import functools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from bench.runs import catalogue
from bench.runs.ending import place_in
from bench.runs.record import AUTOATTACK, TRAIN, Config, Record
from bench.runs.run import kept_for, sources
from bench.runs.suite import Suite
from bench.stages.faults import MethodError, described
from bench.tools.counts import kept
from workflows.plan import Plan, Work

if TYPE_CHECKING:
    from bench.method import Method
    from bench.models import Net

RATE = 20e12  # operations a second: about a third of an H200's 67e12 in fp32; assumed, not measured
SURVIVING = 0.5  # share of images that stand up to AutoAttack's first attacks; assumed
STAGES = (TRAIN, AUTOATTACK)


class Estimate(NamedTuple):
    """GPU hours of all runs of one data set with one architecture."""

    dataset: str
    architecture: str
    train_hours: float
    attack_hours: float
    runs: int  # those whose method takes the data
    example: Config  # one of them


class Pace(NamedTuple):
    """How fast a machine is, measured on finished runs of a suite."""

    ratios: dict[str, float]  # by stage: measured hours over estimated ones; 1 before any finishes
    trainings: int  # finished trainings that were measured


def estimates(suite: Suite, runs: Iterable[Config]) -> list[Estimate]:
    """Estimate each pair of data set and architecture, in the order of the suite.

    Training has the hours of the runs whose weights these begin with, each counted once.
    """
    by_pair: dict[tuple[str, str], list[tuple[Config, dict[str, float]]]] = {}
    runs = list(runs)
    before: dict[tuple[str, str], float] = {}
    for source in sources(runs):
        pair = source.dataset, source.architecture
        before[pair] = before.get(pair, 0.0) + train_hours(source)
    for run, hours in zip(runs, hours_of_runs(runs, suite.attack_images), strict=True):
        if hours:
            by_pair.setdefault((run.dataset, run.architecture), []).append((run, hours))
    return [
        Estimate(
            *pair,
            train_hours=sum(hours[TRAIN] for _, hours in of_runs) + before.get(pair, 0.0),
            attack_hours=sum(hours[AUTOATTACK] for _, hours in of_runs),
            runs=len(of_runs),
            example=of_runs[0][0],
        )
        for pair, of_runs in by_pair.items()
    ]


def hours_of_runs(runs: Iterable[Config], images: int | None) -> list[dict[str, float]]:
    """Estimate each run as ``stage_hours`` does; runs that differ in their seed share one count."""
    known: dict[str, dict[str, float]] = {}
    hours = []
    for run in runs:
        configuration = run.with_seed(0).run_id
        if configuration not in known:
            known[configuration] = stage_hours(run, images)
        hours.append(known[configuration])
    return hours


def stage_hours(run: Config, images: int | None) -> dict[str, float]:
    """Estimate hours by stage on one GPU; an empty dict if the method refuses the data.

    Args:
        images: test images that AutoAttack takes; None for all.
    """
    if refused(run):
        return {}
    return {TRAIN: train_hours(run), AUTOATTACK: attack_hours(run, images)}


def work_hours(work: Work, suite: Suite) -> float:
    """Estimate hours of one stage of one run on one GPU; 0 for stages that have no estimate."""
    if work.stage.name == TRAIN:
        return train_hours(work.config)
    if work.stage.name == AUTOATTACK:
        return attack_hours(work.config, suite.attack_images)
    return 0.0


def train_hours(run: Config) -> float:
    """Estimate hours of training: a backward pass costs one forward pass for each gradient."""
    from bench.data import info
    from bench.runs.protocol import Protocol

    one, protocol = method(run), Protocol(**run.protocol)
    known = info(run.dataset)
    images = min(run.train_images or math.inf, known.train - protocol.validation)
    epochs = math.ceil(protocol.epochs / one.replays)
    # every backward pass reaches the image; those that move the weights cost one more
    passes = one.cost.forward + one.cost.backward + one.replays
    return images * epochs * passes * _forward_hours(run)


def attack_hours(run: Config, images: int | None) -> float:
    """Estimate hours of AutoAttack: 100 steps of each targeted attack, 5,000 queries of Square.

    Args:
        images: test images that it takes; None for all.
    """
    from bench.data import info

    known = info(run.dataset)
    targets = min(9, known.classes - 1)
    passes = 2 * 100 * (1 + targets + targets) + 5000
    standing = SURVIVING * min(images or math.inf, known.test)
    return standing * passes * _forward_hours(run)


def disk_bytes(datasets: Iterable[str]) -> int:
    """Count the bytes that data sets take on disk once decoded."""
    from bench.data import info

    total = 0
    for name in datasets:
        known = info(name)
        total += math.prod(catalogue.pictures(name)) + known.test * math.prod(known.shape)
    return total


def download_bytes(datasets: Iterable[str]) -> int:
    """Count the bytes of the official files of data sets."""
    from bench.data import info

    return sum(info(name).download for name in datasets)


def pace(plan: Plan, hours: Mapping[str, Mapping[str, float]], device: str) -> Pace:
    """Measure a machine on the finished runs of a suite, its own and published ones.

    Args:
        hours: estimated, by folder of the run and stage.
        device: name of the machine's device, as records have it.
    """
    ratios: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for work in plan.work:
        estimated = hours[work.config.folder].get(work.stage.name)
        record = _published(plan, work) if plan.is_left(work) else plan.record(work)
        origin = record.origin if record and record.status == "done" else None
        if estimated and record and origin and origin.device == device:
            ratios[work.stage.name].append(_seconds(record) / 3600 / estimated)
    medians = {stage: statistics.median(measured) for stage, measured in ratios.items() if measured}
    # the same operations: until an attack has finished, training tells how fast the machine is
    of_all = dict.fromkeys(STAGES, medians.get(TRAIN, 1.0)) | medians
    return Pace(of_all, trainings=len(ratios[TRAIN]))


def _published(plan: Plan, work: Work) -> Record | None:
    """Read the published record of the same work with the same options, whatever its code was."""
    name = f"*/{work.config.folder}/{work.stage.name}.json"
    for path in sorted((plan.results / "published").glob(name)):
        try:
            record = Record.read(path)
        except ValueError:  # the page says what is wrong with it
            continue
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


def refused(run: Config) -> bool:
    """Would the method refuse these data, as ATAS does where crops have no way back."""
    import torch

    from bench.data import info
    from bench.method import Run
    from bench.traces import made_up_way
    from bench.view import margin

    known = info(run.dataset)
    side = known.shape[1] + 2 * margin(known.augment, known.shape[1])
    canvas = None if known.augment.resized else (known.train, known.shape[0], side, side)
    batch = (run.protocol["batch"], *known.shape)
    net, updates = (run.dataset, run.architecture, run.width), kept_for(run)
    shape = Run(
        torch.device("meta"), batch, canvas, 1, known.train, known.classes,
        _features(*net) or None, made_up_way(len(updates), network(*net)) if updates else None,
    )  # fmt: skip
    one = method(run)
    with blamed(run.method):
        try:
            one.init(shape)
        except ValueError:
            return True
    return False


def method(run: Config) -> "Method":
    """Make a run's method, with its settings and the radius that it has of itself."""
    from methods import load

    with blamed(run.method):
        return load(run.method)(norm=run.norm, **run.settings)


@contextmanager
def blamed(method: str) -> Iterator[None]:
    """Make whatever a method's code raises one sentence with its place.

    Raises:
        MethodError: the code fails.
    """
    try:
        yield
    except Exception as error:
        where = place_in(catalogue.ROOT / f"methods/{method}.py", error)
        raise MethodError(f"{where or method + ': '}{described(error)}") from error


def _forward_hours(run: Config) -> float:
    """Hours that one image takes forward."""
    return _operations(run.dataset, run.architecture, run.width) / RATE / 3600


@kept
def _operations(dataset: str, architecture: str, width: int) -> int:
    """Count the operations of one image forward."""
    import torch

    from bench.data import info
    from bench.meter import Flops

    net = network(dataset, architecture, width).eval()
    with torch.no_grad(), Flops() as flops:
        net(torch.empty(1, *info(dataset).shape, device="meta"))
    return flops.total


@kept
def _features(dataset: str, architecture: str, width: int) -> int:
    """Count what a network's last linear layer reads; 0 if it ends in none."""
    return network(dataset, architecture, width).features or 0


@functools.cache
def network(dataset: str, architecture: str, width: int) -> "Net":
    """Make a network on the meta device, which computes nothing.

    Raises:
        ValueError: this machine cannot hold its weights, which it has for a moment.
    """
    from bench import weights

    try:
        net = weights.network(dataset, architecture, width)
    except RuntimeError as error:
        raise ValueError(
            f"{architecture} of width {width} cannot be made here: {described(error)}"
        ) from None
    return net.to("meta")
