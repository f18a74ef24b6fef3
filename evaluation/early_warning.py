"""Early warning of a collapse: which detectors alarm before it, by a rule that is fixed in advance.

Pure functions of readings: numbers of a network in training, at some updates (or epochs). A
detector is a series of readings and the way it is expected to move. All detectors of a comparison
are read on one grid, those too that cost nothing and have a number for every update.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHARE = 0.5  # of its running maximum, to which accuracy under PGD-10 falls at the onset
ROUNDING = 1e-9  # of the mean: a move below that is none


class Rule(NamedTuple):
    """When a detector alarms; lengths in readings.

    Readings are smoothed. An alarm begins with the last of `in_a_row` smoothed readings that all
    lie more than `beyond` standard deviations, in the direction of the detector, from the mean of
    the `baseline` before them, or of as many as there are from `least` on.
    """

    smoothing: float = 0.9  # weight of the past
    baseline: int = 200
    least: int = 100
    beyond: float = 6.0
    in_a_row: int = 3
    horizon: int = 1000  # updates before and after the onset within which an alarm is of it


RULE = Rule()  # SORA's curves are judged by it
EPOCHS = RULE._replace(baseline=20, least=10, horizon=10)  # of curves with one reading an epoch


class Warned(NamedTuple):
    """What one detector said of one run."""

    onset: int | None  # of the run; None: it held
    readings: int  # that precede the onset, or all of a run that held
    judged: bool  # enough readings precede an onset, or an alarm could be given at all
    lead: int | None  # from the first alarm of the onset to it; below 0: late. None: no such alarm
    false_alarms: int  # before the horizon of the onset, or ever
    quiet: int  # updates in which an alarm would have been false
    half: int | None = None  # from where a falling detector has halved to the onset; None: nowhere


def halved(
    updates: Sequence[int] | np.ndarray, readings: Sequence[float] | np.ndarray
) -> int | None:
    """Return the first update from which readings stay at half of their maximum so far, or below.

    Of accuracy under PGD-10 it is the onset of the collapse.
    """
    numbers = np.asarray(readings, float)
    low = numbers <= SHARE * np.maximum.accumulate(numbers)
    stays = np.logical_and.accumulate(low[::-1])[::-1]
    return int(updates[int(stays.argmax())]) if stays.any() else None


def alarms(readings: Sequence[float], *, rises: bool, rule: Rule = RULE) -> list[int]:
    """Return the places of the readings at which alarms begin."""
    smooth = _smoothed(np.asarray(readings, float), rule.smoothing) * (1 if rises else -1)
    on = [_is_beyond(smooth, i, rule) for i in range(len(smooth))]
    return [i for i, now in enumerate(on) if now and not (i and on[i - 1])]


def judge(
    updates: Sequence[int] | np.ndarray,
    readings: Sequence[float] | np.ndarray,
    onset: int | None,
    *,
    rises: bool,
    rule: Rule = RULE,
) -> Warned:
    """Compare a detector's alarms with the onset of the run's collapse.

    Args:
        updates: of the readings, ascending; of one grid.
        readings: those that are not a number are left out.
        onset: None if the run holds.
        rises: which way the detector is expected to move.
    """
    finite = np.isfinite(np.asarray(readings, float))
    at, values = np.asarray(updates)[finite], np.asarray(readings, float)[finite]
    before = len(at) if onset is None else int((at < onset).sum())
    able = rule.least + rule.in_a_row  # readings that the first alarm takes
    if before < (able if onset is None else rule.least):
        return Warned(onset, before, False, None, 0, 0)
    begun = at[alarms(values, rises=rises, rule=rule)]
    first = int(at[able - 1]) if len(at) >= able else int(at[-1])
    if onset is None:
        return Warned(None, before, True, None, len(begun), int(at[-1]) - first)
    near = begun[abs(begun - onset) <= rule.horizon]
    lead = onset - int(near[0]) if len(near) else None
    early = int((begun < onset - rule.horizon).sum())
    quiet = max(onset - rule.horizon - first, 0)
    down = None if rises else halved(at, values)
    return Warned(onset, before, True, lead, early, quiet, None if down is None else onset - down)


class Summary(NamedTuple):
    """What one detector said of several runs."""

    leads: list[int]  # ascending
    halves: list[int]  # likewise: how long before the onset it had halved
    missed: int  # collapses without an alarm
    unjudged: list[int]  # readings that preceded each onset of which there were too few
    held: int  # runs without a collapse that were judged
    false_alarms: int
    quiet: int  # updates of all judged runs in which an alarm would have been false

    @property
    def per_1000(self) -> float | None:
        """False alarms per 1,000 updates (or epochs)."""
        return 1000 * self.false_alarms / self.quiet if self.quiet else None


def summary(found: Sequence[Warned]) -> Summary:
    """Count what a detector said of the runs."""
    judged = [one for one in found if one.judged]
    fell = [one for one in judged if one.onset is not None]
    leads = sorted(one.lead for one in fell if one.lead is not None)
    return Summary(
        leads=leads,
        halves=sorted(one.half for one in fell if one.half is not None),
        missed=len(fell) - len(leads),
        unjudged=[one.readings for one in found if not one.judged and one.onset is not None],
        held=len(judged) - len(fell),
        false_alarms=sum(one.false_alarms for one in judged),
        quiet=sum(one.quiet for one in judged),
    )


def _smoothed(readings: np.ndarray, weight: float) -> np.ndarray:
    smooth = readings.copy()
    for i in range(1, len(smooth)):
        smooth[i] = weight * smooth[i - 1] + (1 - weight) * readings[i]
    return smooth


def _is_beyond(rising: np.ndarray, i: int, rule: Rule) -> bool:
    first = i + 1 - rule.in_a_row
    past = rising[max(first - rule.baseline, 0) : max(first, 0)]
    if len(past) < rule.least:
        return False
    mean = past.mean()
    limit = mean + rule.beyond * past.std() + ROUNDING * abs(mean)
    return bool((rising[first : i + 1] > limit).all())
