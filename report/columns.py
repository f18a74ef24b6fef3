"""The columns of the leaderboard: their titles, and where a record keeps their numbers."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bench.runs import evaluations
from bench.runs.record import AUTOATTACK, COST, SWEEP, TRAIN, Record

REFERENCE = "fgsm_rs"
NO_BEST = "this protocol chooses no best weights"
NO_AVERAGE = "this protocol averages no weights"


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard, and where the body of a stage's record keeps its number."""

    key: str
    title: str
    meaning: str
    stage: str
    value: Callable[[Any], float | None]  # of the stage's body
    images: Callable[[Any], int] | None = None  # behind the number
    kind: Literal["accuracy", "cost", "other"] = "accuracy"  # decides the axes of pictures
    unit: str = "%"  # on an axis
    optional: bool = False  # shown only where some row has it
    rising: bool = False  # the first click sorts the smallest to the top
    error: Callable[[Any], float] | None = None  # half a 95 % interval of one run's number
    absent: str = "not defined for this method"  # reason why a finished run lacks the number


COLUMNS = (
    Column(
        "autoattack",
        "AutoAttack",
        "% right under AutoAttack standard: the headline",
        AUTOATTACK,
        lambda attack: attack.accuracy,
        lambda attack: attack.n,
    ),
    Column(
        "clean",
        "Clean",
        "% right without attack",
        TRAIN,
        lambda training: training.clean.accuracy,
        lambda training: training.clean.n,
    ),
    Column(
        "fgsm",
        "FGSM",
        "% right under one step of eps",
        TRAIN,
        lambda training: training.fgsm.accuracy,
        lambda training: training.fgsm.n,
    ),
    Column(
        "pgd10",
        "PGD-10",
        "% right under ten steps of eps/4",
        TRAIN,
        lambda training: training.pgd10.accuracy,
        lambda training: training.pgd10.n,
    ),
    Column(
        "best_pgd10",
        "best PGD-10",
        "PGD-10 accuracy of the weights that the protocol chose, by validation unless it says else",
        TRAIN,
        lambda training: training.best and training.best.pgd10.accuracy,
        lambda training: training.best.pgd10.n,
        absent=NO_BEST,
    ),
    Column(
        "gap",
        "best - last",
        "points of PGD-10 accuracy that the last epoch has lost against the best",
        TRAIN,
        lambda training: training.best and training.best.pgd10.accuracy - training.pgd10.accuracy,
        kind="other",
        unit="points",
        rising=True,
        absent=NO_BEST,
    ),
    Column(
        "average_clean",
        "average Clean",
        "% right without attack, of the weights averaged over the updates",
        TRAIN,
        lambda training: training.average and training.average.clean.accuracy,
        lambda training: training.average.clean.n,
        optional=True,
        absent=NO_AVERAGE,
    ),
    Column(
        "average_pgd10",
        "average PGD-10",
        "PGD-10 accuracy of the weights averaged over the updates",
        TRAIN,
        lambda training: training.average and training.average.pgd10.accuracy,
        lambda training: training.average.pgd10.n,
        optional=True,
        absent=NO_AVERAGE,
    ),
    Column(
        "best_on_test_pgd10",
        "PGD-10, best on test",
        "PGD-10 accuracy of weights that were chosen on test images: too high",
        TRAIN,
        lambda training: training.best_on_test and training.best_on_test.pgd10.accuracy,
        lambda training: training.best_on_test.pgd10.n,
        optional=True,
        absent="this protocol chooses no weights on test images",
    ),
    Column(
        "pert_align",
        "PertAlign",
        "mean cosine of attack and training gradient in the last epoch",
        TRAIN,
        lambda training: training.curves[-1].pert_align,
        kind="other",
        unit="cosine",
    ),
    Column(
        "time_ratio",
        "Time",
        f"seconds of an update, in units of {REFERENCE}'s on the same device",
        COST,
        lambda expense: expense.time_ratio,
        error=lambda expense: (
            # both methods were timed so often, in turns; half a 95 % interval, about
            2 * expense.time_ratio * expense.update_seconds_sd / expense.update_seconds
        ),
        kind="cost",
        unit=f"in units of {REFERENCE}'s",
        rising=True,
    ),
    Column(
        "memory_ratio",
        "Memory",
        f"peak device memory of an update, in units of {REFERENCE}'s on the same device",
        COST,
        lambda expense: (
            expense.peak_bytes / expense.reference_bytes
            if expense.peak_bytes and expense.reference_bytes
            else None
        ),
        kind="cost",
        unit=f"in units of {REFERENCE}'s",
        rising=True,
        absent="not measured without a GPU",
    ),
    Column(
        "passes",
        "Passes",
        "images forward and backward per training image and update, counted",
        COST,
        lambda expense: expense.forward + expense.backward,
        kind="cost",
        unit="per image and update",
        rising=True,
    ),
    Column(
        "mflops",
        "MFLOP",
        "million floating-point operations per training image and update",
        COST,
        lambda expense: expense.flops_per_image / 1e6,
        kind="cost",
        unit="per image and update",
        rising=True,
    ),
)
SHORT = tuple(  # of the README, docs/tables.md and LaTeX
    column
    for column in COLUMNS
    if column.key in ("autoattack", "clean", "fgsm", "pgd10", "time_ratio")
)


def measured(records: Iterable[Record]) -> list[Column]:
    """Make a column for each number of optional evaluations, except those of a sweep over radii.

    Of a sweep they are points of a picture.
    """
    found: dict[tuple[str, str], str | None] = {}  # units by stage and name; None: an accuracy
    for record in records:
        if record.measure and record.stage != SWEEP:
            found |= {(record.stage, name): None for name in record.measure.scores}
            values = record.measure.values.items()
            found |= {(record.stage, name): value.unit for name, value in values}
    return [_measured(*key, unit) for key, unit in sorted(found.items())]


def _measured(stage: str, name: str, unit: str | None) -> Column:
    entry = evaluations.read(stage)
    alone = name in (entry.printed, entry.file)  # the number that the evaluation is named for
    # FGSM and PGD-10 of the training's record begin with all images, not with those that are right
    twice = stage in {column.key for column in COLUMNS}
    column = Column(
        stage if alone and not twice else f"{stage}.{name}",
        f"{entry.title} of right" if alone and twice else entry.title if alone else name,
        entry.meaning if alone else f"one of the numbers of {stage}",
        stage,
        lambda measure: measure.scores[name].accuracy if name in measure.scores else None,
        lambda measure: measure.scores[name].n,
        optional=True,
        absent="not measured",
    )
    if unit is None:
        return column
    return dataclasses.replace(
        column,
        value=lambda measure: measure.values[name].value if name in measure.values else None,
        images=lambda measure: measure.values[name].n,
        kind="other",
        unit=unit,
    )
