"""Sweeps over the radius of the attack: their points, and the number that tells overfitting."""

from collections.abc import Iterator
from typing import NamedTuple

from bench.runs.record import SWEEP, Evaluation, radius
from evaluation import eps_overfitting
from evaluation.eps_overfitting import EpsOverfitting
from report.collect import RunRecords


class Point(NamedTuple):
    """Accuracy under an attack of one radius."""

    attack: str  # fgsm or pgd10
    k: float  # the radius, in 1/255
    accuracy: float
    n: int


def of(run: RunRecords) -> Evaluation | None:
    """Return a run's sweep; None if it has none."""
    return run.records[SWEEP].measure if run.has(SWEEP) else None


def points(sweep: Evaluation | None) -> Iterator[Point]:
    """Yield what a sweep measured; nothing of none."""
    for name, score in sweep.scores.items() if sweep else ():
        attack, _, at = name.partition(" ")
        yield Point(attack, float(at.partition("/")[0]), score.accuracy, score.n)


def judge(run: RunRecords) -> EpsOverfitting | None:
    """Judge a run's sweep under FGSM by the radius that it was trained at; None if it has none."""
    fgsm = {point.k: point.accuracy for point in points(of(run)) if point.attack == "fgsm"}
    return eps_overfitting.judge(fgsm, 255 * radius(run.config.eps))
