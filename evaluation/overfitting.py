"""Catastrophic overfitting, told from the curves of attacks on held-out images."""

import math
from collections.abc import Sequence

from bench.runs.record import Verdict

DROP = 15.0  # points below its own maximum
ERRORS = 3.0  # standard errors of a difference of two shares, which few images make larger


def collapse(probes: Sequence[dict[str, float]], *, classes: int, images: int) -> Verdict:
    """Judge a run by its accuracy after each epoch, in percent: clean, fgsm and pgd10.

    An epoch is in collapse if accuracy under PGD-10 is at least a drop below the run's maximum, or
    if it is below half of chance and a drop below accuracy under FGSM, which is above half of the
    clean one: a run that falls in its first epochs has no maximum to fall from. A drop is 15
    points, or three standard errors of a difference where that is more (fewer than 200 images).
    The run collapsed if its last epoch is in collapse; the onset is the first epoch, counted from
    0, from which on all are.

    Args:
        probes: one dict an epoch.
        classes: of the data.
        images: behind each percentage.
    """
    peak = max((probe["pgd10"] for probe in probes), default=0.0)
    drop = max(DROP, ERRORS * 100 * math.sqrt(2 * 0.25 / images))

    def fallen(clean: float, fgsm: float, pgd10: float) -> bool:
        fooled = fgsm > clean / 2 and pgd10 < 100 / classes / 2 and pgd10 <= fgsm - drop
        return pgd10 <= peak - drop or fooled

    onset = len(probes)
    while onset > 0 and fallen(*(probes[onset - 1][k] for k in ("clean", "fgsm", "pgd10"))):
        onset -= 1
    collapsed = onset < len(probes)
    return Verdict(collapsed=collapsed, onset_epoch=onset if collapsed else None)
