"""Catastrophic overfitting, told from the curves of attacks on held-out images."""

import math
from collections.abc import Sequence

from bench.record import Verdict

DROP = 15.0  # points below its own maximum
ERRORS = 3.0  # standard errors of a difference of two shares, which few images make larger


def collapse(probes: Sequence[dict[str, float]], *, classes: int, images: int) -> Verdict:
    """Judge a run by its accuracy after each epoch, in percent: clean, fgsm and pgd10.

    An epoch is in collapse if accuracy under PGD-10 is at least 15 points below the run's maximum
    (more where the probe has fewer than 200 images: three standard errors), or if it is below half
    of chance while accuracy under FGSM is above half of the clean one: a run that falls in its
    first epochs has no maximum to fall from. The run collapsed if its last epoch is; the onset is
    the first epoch, counted from 0, from which on all are.

    Args:
        probes: one dict an epoch.
        classes: of the data.
        images: behind each percentage.
    """
    peak = max((probe["pgd10"] for probe in probes), default=0.0)
    floor = peak - max(DROP, ERRORS * 100 * math.sqrt(2 * 0.25 / images))
    onset = len(probes)
    while onset > 0 and _fallen(probes[onset - 1], floor, 100 / classes):
        onset -= 1
    collapsed = onset < len(probes)
    return Verdict(collapsed=collapsed, onset_epoch=onset if collapsed else None)


def _fallen(probe: dict[str, float], floor: float, chance: float) -> bool:
    fooled = probe["pgd10"] < chance / 2 and probe["fgsm"] > probe["clean"] / 2
    return probe["pgd10"] <= floor or fooled
