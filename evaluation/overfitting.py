"""Catastrophic overfitting, told from the curves of attacks on held-out images.

A network trained on single-step attacks can learn within an epoch to defeat the single step alone:
accuracy under FGSM holds or rises while accuracy under PGD-10, which takes ten steps, goes to
zero. Some runs find back. Robust overfitting is another thing, and none of this rule: accuracy
under every attack wears away over many epochs.
"""

import math
from collections.abc import Sequence

from bench.runs.record import Episode, Verdict

FALL = 0.5  # a level has fallen that is at most this share of the one it is compared with
RETURN = 0.75  # share of the former best at which a run is back
ERRORS = 3.0  # standard errors by which a fall exceeds the noise of few images


def judge(curves: Sequence[dict[str, float]], *, classes: int, images: int) -> Verdict:
    """Find the epochs in which a run was in collapse.

    A spell begins where accuracy under PGD-10 falls to half of the run's best so far, or of chance
    where that is more. It ends where the run is back at three quarters of that best and does not
    fall again in the next epoch; a run that is back in its last epoch only is not back. The spell
    is an episode of collapse if in one of its epochs the network defeats FGSM (`_defeats_fgsm`).

    Args:
        curves: one dict an epoch, accuracy in percent: clean, fgsm and pgd10.
        classes: of the data.
        images: behind each percentage.
    """
    chance = 100 / classes
    pgd10 = [probe["pgd10"] for probe in curves]
    episodes: list[Episode] = []
    best, first = chance, 0
    while first < len(curves):
        best = max(best, pgd10[first])
        if not _falls(best, pgd10[first], images=images):
            first += 1
            continue
        end = _end(pgd10, first, best=best, images=images)
        spell = curves[first:end]
        if any(_defeats_fgsm(probe, chance=chance, images=images) for probe in spell):
            depth = 1 - min(pgd10[first:end]) / best
            episodes.append(Episode(first=first, last=end - 1, depth=depth))
        first = end
    collapsed = bool(episodes) and episodes[-1].last == len(curves) - 1
    return Verdict(
        collapsed=collapsed,
        onset_epoch=episodes[-1].first if collapsed else None,
        episodes=episodes,
    )


def _end(pgd10: Sequence[float], first: int, *, best: float, images: int) -> int:
    """Return the epoch in which a run that fell in `first` is back, or the number of epochs."""
    for epoch in range(first + 1, len(pgd10) - 1):
        back = pgd10[epoch] >= RETURN * best
        if back and not _falls(best, pgd10[epoch + 1], images=images):
            return epoch
    return len(pgd10)


def _defeats_fgsm(probe: dict[str, float], *, chance: float, images: int) -> bool:
    """Tell whether a network resists one step and yields to ten.

    Accuracy under PGD-10 is at most half of that under FGSM, FGSM costs less than half of the clean
    accuracy (it costs a network of standard training more), and the network has learnt something:
    chance is at most half of FGSM; each beyond the noise of `images`.
    """
    fgsm = probe["fgsm"]
    return (
        _falls(fgsm, probe["pgd10"], images=images)
        and fgsm - FALL * probe["clean"] >= _noise(fgsm, images=images)
        and _falls(fgsm, chance, images=images)
    )


def _falls(before: float, after: float, *, images: int) -> bool:
    """Tell whether a percentage is at most half of another, beyond the noise of `images`."""
    return after <= FALL * before and before - after >= _noise(before, after, images=images)


def _noise(*percentages: float, images: int) -> float:
    """Return `ERRORS` standard errors, in points, of a percentage or a difference of two."""
    return ERRORS * math.sqrt(sum(p * (100 - p) for p in percentages) / images)
