"""Statistics over the seeds of a row: mean, standard deviation and 95 % confidence interval."""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
from numpy.typing import NDArray

from bench.runs.ending import plural
from bench.runs.record import COST
from evaluation.binomial import wilson
from report import ranks
from report.collect import NOT_RUN, Absence, RunRecords
from report.columns import Column


def shown(number: float, beside: float | None = None) -> str:
    """Write a number with two decimals, or as many as give a small one two digits that count.

    Half a unit goes up, as the page's script has it; Python's formats send it to the even digit.

    Args:
        beside: another number, which decides in its place.
    """
    size = abs(number if beside is None else beside)
    decimals = min(1 - math.floor(math.log10(size)), 9) if size else 2
    unit = Decimal(1).scaleb(-max(decimals, 2))
    return f"{Decimal(number).quantize(unit, ROUND_HALF_UP):f}"


@dataclass(frozen=True)
class Statistic:
    """What the seeds of a row measured of one column, or why they measured nothing."""

    mean: float | None = None
    spread: float | None = None  # standard deviation over seeds; None for one seed
    n: int = 0  # seeds
    images: tuple[int, ...] = ()  # numbers of images that the seeds were measured on, rising
    interval: tuple[float, float] | None = None  # 95 % confidence interval of the mean
    absences: tuple[Absence, ...] = ()  # of the seeds; empty where there is a mean

    @property
    def reason(self) -> str:
        """Why there is no number; "" where there is one."""
        return "; ".join(absence.text for absence in self.absences)

    @property
    def is_unreadable(self) -> bool:
        """Whether there is no number because a record cannot be read."""
        return any(absence.id == "unreadable" for absence in self.absences)

    @property
    def text(self) -> str:
        """Mean and spread for people; "-" where there is no number."""
        if self.mean is None:
            return "-"
        beside = f" ± {shown(self.spread, self.mean)}" if self.spread is not None else ""
        return f"{shown(self.mean)}{beside}"

    @property
    def tooltip(self) -> str:
        """Seeds, images and confidence interval; the reason where there is no number."""
        if self.mean is None:
            return self.reason
        seeds = plural(self.n, "seed")
        if self.images:
            seeds += f", {' or '.join(map(str, self.images))} images each"
        if self.interval is None:
            return seeds
        low, high = self.interval
        return f"{seeds}: 95 % interval {shown(low, self.mean)} to {shown(high, self.mean)}"


def statistic(runs: Sequence[RunRecords], column: Column) -> Statistic:
    """Sum up what the seeds of a row measured of a column."""
    values, images, absences = [], set(), []
    for run in runs:
        absence = run.absence(column.stage)
        if absence is not None:
            # a suite measures the cost of one seed alone
            if not (column.stage == COST and absence.id == "not run"):
                absences.append(absence)
            continue
        body = run.records[column.stage].body
        value = column.value(body)
        if value is None:
            absences.append(Absence("no number", column.absent))
            continue
        values.append(value)
        if column.images:
            images.add(column.images(body))
    if not values:
        return Statistic(absences=tuple(dict.fromkeys(absences)) or (NOT_RUN,))
    fewest = min(images, default=None) if column.kind == "accuracy" else None  # or none of images
    mean, spread = statistics.fmean(values), deviation(values)
    return Statistic(
        mean=mean,
        spread=spread,
        n=len(values),
        images=tuple(sorted(images)),
        interval=interval(mean, spread, len(values), fewest)
        or _interval_of_one(runs, column, values[0]),
    )


def confidence_interval(
    values: Sequence[float], images: Sequence[int] = ()
) -> tuple[float, float] | None:
    """95 % confidence interval of the mean over seeds.

    It is Student's over seeds, widened where Wilson's over images is wider, and stays within 0 to
    100 where there are images.

    Args:
        values: one a seed; percent where there are images.
        images: how many each value was measured on; the fewest decide Wilson's interval.

    Returns:
        Low and high; None for one seed without images, which leaves the spread unknown.
    """
    mean, spread = statistics.fmean(values), deviation(values)
    return interval(mean, spread, len(values), min(images, default=None))


def interval(
    mean: float, spread: float | None, seeds: int, images: int | None
) -> tuple[float, float] | None:
    """95 % confidence interval as above, of a mean whose single values are not at hand."""
    bounds = [wilson(mean / 100, images)] if images else []
    if spread is not None:
        half = spread / math.sqrt(seeds) * _student(seeds - 1)
        bounds.append((mean - half, mean + half))
    if not bounds:
        return None
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return (max(low, 0.0), min(high, 100.0)) if images else (low, high)


def difference_interval(more: Statistic, less: Statistic) -> tuple[float, float] | None:
    """95 % interval of the difference of two means, from their own; None if one has none.

    It is Newcombe's (Statistics in Medicine 17, 1998) of two samples that know nothing of each
    other. Of the same images it is too wide rather than too narrow.
    """
    if more.mean is None or less.mean is None or not more.interval or not less.interval:
        return None
    (low, high), (least, most) = more.interval, less.interval
    gap = more.mean - less.mean
    return (
        gap - math.hypot(more.mean - low, most - less.mean),
        gap + math.hypot(high - more.mean, less.mean - least),
    )


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample; None of one value, which has none."""
    if len(values) < 2:
        return None
    # statistics.stdev takes 80 times as long, and a page of thousands of runs asks 36,000 times
    mean = statistics.fmean(values)
    return math.dist(values, [mean] * len(values)) / math.sqrt(len(values) - 1)


@functools.cache
def _student(degrees: int) -> float:
    return float(ranks.student(np.array(float(degrees))))


def image_verdicts(runs: Sequence[RunRecords]) -> NDArray[np.bool_] | None:
    """Read which images stood AutoAttack: (seeds, images), over the images that all seeds share.

    Returns:
        None if a record lacks its verdicts image by image. At least one run must have an attack.
    """
    verdicts = []
    for run in runs:
        attack = run.attack
        if attack is None:
            continue
        mask = attack.robust.get(list(attack.after)[-1])
        if mask is None:
            return None
        verdicts.append(ranks.unpack(mask, attack.n))
    images = min(map(len, verdicts))
    return np.stack([stood[:images] for stood in verdicts])


def _interval_of_one(
    runs: Sequence[RunRecords], column: Column, value: float
) -> tuple[float, float] | None:
    """Confidence interval of a number of one run, from the error that its record states."""
    if column.error is None:
        return None
    body = next(run.records[column.stage].body for run in runs if run.has(column.stage))
    half = column.error(body)
    return value - half, value + half
