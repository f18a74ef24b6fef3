"""Catastrophic overfitting, told from the curve of an attack on held-out images."""

from collections.abc import Sequence

from bench.record import Verdict

DROP = 15.0  # points below its own maximum


def collapse(pgd10: Sequence[float]) -> Verdict:
    """Judge a run by its accuracy under PGD-10 after each epoch, in percent.

    It collapsed if the curve ends at least 15 points below its own maximum; the onset is the first
    epoch, counted from 0, from which on it stays there.
    """
    if not pgd10 or pgd10[-1] > max(pgd10) - DROP:
        return Verdict(collapsed=False, onset_epoch=None)
    floor = max(pgd10) - DROP
    onset = len(pgd10)
    while onset > 0 and pgd10[onset - 1] <= floor:
        onset -= 1
    return Verdict(collapsed=True, onset_epoch=onset)
