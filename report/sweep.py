"""Sweeps of runs over the radius of the attack: their points, and the number of overfitting."""

from collections.abc import Iterator
from typing import NamedTuple

from bench.runs.record import SWEEP
from evaluation import eps_overfitting, sweep
from evaluation.eps_overfitting import EpsOverfitting
from evaluation.sweep import Sweep
from report.collect import RunRecords


class Point(NamedTuple):
    """Accuracy under an attack of one radius."""

    attack: str  # fgsm or pgd10
    k: int  # the radius, as the sweep counts
    accuracy: float
    n: int


def of(run: RunRecords) -> Sweep | None:
    """Read a run's sweep; None if it has none."""
    found = run.records[SWEEP].measure if run.has(SWEEP) else None
    return sweep.read(found.scores) if found else None


def points(swept: Sweep | None) -> Iterator[Point]:
    """Yield what a sweep measured; nothing of none."""
    for attack, by_radius in swept.scores.items() if swept else ():
        yield from (Point(attack, k, one.accuracy, one.n) for k, one in by_radius.items())


def judge(run: RunRecords) -> EpsOverfitting | None:
    """Judge a run's sweep under FGSM by the radius that it was trained at; None if it has none."""
    swept = of(run)
    if swept is None:
        return None
    fgsm = {float(p.k): p.accuracy for p in points(swept) if p.attack == "fgsm"}
    return eps_overfitting.judge(fgsm, sweep.k_trained(run.config.eps, swept.unit))
