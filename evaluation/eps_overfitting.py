"""Epsilon overfitting, told from a sweep: accuracy under FGSM that rises with the radius.

A sound network loses accuracy with every larger radius. One that has learnt the step of its
training loses it at smaller radii and finds it again near the trained one.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

BEYOND = 1.5  # largest radius that counts, in units of the trained one


class EpsOverfitting(NamedTuple):
    """Numbers of a sweep; accuracies in percent, so differences in points."""

    eo: float  # largest rise from one radius to the next; above 0: it overfits
    k_peak: float  # radius that this rise ends at, as the sweep counts
    eo_gap: float  # accuracy at the trained radius, less the least at any up to it


def judge(fgsm: Mapping[float, float], trained: float) -> EpsOverfitting | None:
    """Find the largest rise of accuracy under FGSM; None if there are no two radii to compare.

    Args:
        fgsm: accuracy in percent, by the attack's radius, as the sweep counts.
        trained: radius, likewise; if the sweep lacks it, the largest below stands for it.
    """
    within = [k for k in sorted(fgsm) if k <= BEYOND * trained]
    below = [k for k in within if k <= trained + 1e-9]
    if len(within) < 2 or not below:
        return None
    eo, k_peak = max(
        ((fgsm[b] - fgsm[a], b) for a, b in pairwise(within)), key=lambda rise: rise[0]
    )
    return EpsOverfitting(eo, k_peak, fgsm[below[-1]] - min(fgsm[k] for k in below))
