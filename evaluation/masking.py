"""Doubts whether a run's accuracies measure robustness, raised from its records.

Gradient masking makes attacks by gradients fail on networks that are not robust. Its signs, by
Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018,
arXiv:1802.00420, section 3.1, and Carlini et al., "On evaluating adversarial robustness", 2019,
arXiv:1902.06705: a single step that does more than many, a black-box attack that succeeds where
white-box attacks failed, a stronger attack that finds much more than a weaker one, and an attack
that may reach any image, and does not break all.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from bench.runs import evaluations
from bench.runs.evaluations import Entry
from bench.runs.record import Attack, Evaluation, Norm, Score, Training, radius
from evaluation.binomial import standard_error

DoubtId = Literal["learning", "fgsm", "autoattack", "square", "black_box", "eps_1"]
ERRORS = 3.0  # standard errors, of a share or of a difference of two
WEAKER = 15.0  # points by which AutoAttack may go below PGD-10
TAKEN = 2  # images that Square may take, and that may stand at eps = 1, or
TAKEN_SHARE = 0.01  # of the attacked images, where that is more
BLACK_BOX = "square"
WHITE_BOX = ("apgd-ce", "apgd-t", "fab-t")
MANY = 10  # steps of PGD that break everything at eps = 1


class Doubt(NamedTuple):
    """A reason to doubt a run's accuracies: an id for code, a sentence for people."""

    id: DoubtId
    text: str


def doubts(
    training: Training,
    attack: Attack | None = None,
    *,
    classes: int | None = None,
    norm: Norm = "Linf",
    measured: Mapping[str, Evaluation] | None = None,
) -> list[Doubt]:
    """Check a run's accuracies, in percent, for failed learning and for signs of masking.

    Bounds are in binomial standard errors. The error of a difference is that of two attacks on
    different images, which is too large, and so raises fewer doubts, where they share images.

    Args:
        training: with accuracy without attack, under FGSM and under PGD-10.
        attack: AutoAttack's result; None skips the two doubts that compare with it.
        classes: of the data; None skips the doubt whether the run learned.
        norm: of the run.
        measured: results of optional evaluations, by name; those by attacks are compared.
    """
    met = [*_met(measured or {})]
    found = [_learning(training, classes), _fgsm(training)]
    if attack is not None:
        found += [_autoattack(training, attack), _square(attack)]
    found += [_black_box(training, met), _eps_1(met, norm)]
    return [doubt for doubt in found if doubt is not None]


def is_above(chance: float, accuracy: float, n: int) -> bool:
    """Tell whether an accuracy on n images is above that of guessing, beyond its noise."""
    return accuracy > chance + ERRORS * standard_error(chance, n)


def _learning(training: Training, classes: int | None) -> Doubt | None:
    """Doubt a clean accuracy that is near that of guessing, and one answer to every image."""
    if training.answers == 1:
        return Doubt("learning", "did not learn: one class is its answer to every clean image")
    clean, n = training.clean.accuracy, training.clean.n
    chance = 100 / classes if classes else -math.inf
    if classes is None or is_above(chance, clean, n):
        return None
    text = f"did not learn: {clean:.1f} % right on {n} clean images, chance is {chance:.1f} %"
    return Doubt("learning", text)


def _fgsm(training: Training) -> Doubt | None:
    """Doubt ten steps that find less than a single one: their gradients misled them."""
    fgsm, pgd10 = training.fgsm, training.pgd10
    less = pgd10.accuracy - fgsm.accuracy
    n = min(fgsm.n, pgd10.n)
    if less <= ERRORS * _error_of_difference(fgsm.accuracy, pgd10.accuracy, n):
        return None
    text = f"PGD-10 takes {less:.1f} points less than FGSM with its one step: a sign of masking"
    return Doubt("fgsm", text)


def _autoattack(training: Training, attack: Attack) -> Doubt | None:
    """Doubt a PGD-10 that finds much less than AutoAttack."""
    pgd10 = training.pgd10
    more = pgd10.accuracy - attack.accuracy
    n = min(pgd10.n, attack.n)
    error = _error_of_difference(pgd10.accuracy, attack.accuracy, n)
    if more <= max(WEAKER, ERRORS * error):
        return None
    return Doubt(
        "autoattack",
        f"AutoAttack (on {attack.n} images) takes {more:.1f} points more than PGD-10 (on "
        f"{pgd10.n}): gradients may be masked, or PGD-10 is weak here",
    )


def _square(attack: Attack) -> Doubt | None:
    """Doubt white-box attacks that left many images to the black-box attack after them."""
    before = [left for name, left in attack.after.items() if name in WHITE_BOX]
    if not before or BLACK_BOX not in attack.after:
        return None
    taken = round((before[-1] - attack.after[BLACK_BOX]) / 100 * attack.n)
    if taken <= max(TAKEN, TAKEN_SHARE * attack.n):
        return None
    return Doubt(
        "square",
        f"Square, a black-box attack, takes {taken} of {attack.n} images that the white-box "
        "attacks left: a sign of masking",
    )


def _met(measured: Mapping[str, Evaluation]) -> Iterator[tuple[Entry, Score]]:
    """Yield the attacks that the last weights met inside a ball, and what these got right."""
    for name, one in measured.items():
        entry = evaluations.read(name)
        inside = entry.kind == "attack" and entry.constant("bounded") is not False
        if inside and entry.weights == "last" and entry.at is None and entry.printed in one.scores:
            yield entry, one.scores[entry.printed]


def _black_box(training: Training, met: list[tuple[Entry, Score]]) -> Doubt | None:
    """Doubt white-box attacks, of which the best finds less than one that knows no gradient."""
    for entry, score in met:
        if not entry.constant("black_box"):
            continue
        ball = (entry.norm, entry.eps)
        white = [(e.title, s) for e, s in met
                 if not e.constant("black_box") and (e.norm, e.eps) == ball]  # fmt: skip
        if ball == (None, None):
            white.append(("PGD-10", training.pgd10))
        if not white:
            continue
        title, best = min(white, key=lambda one: one[1].accuracy)
        more, n = best.accuracy - score.accuracy, min(best.n, score.n)
        if more > ERRORS * _error_of_difference(best.accuracy, score.accuracy, n):
            return Doubt(
                "black_box",
                f"{entry.title} (on {score.n} images), which knows no gradient of this network, "
                f"takes {more:.1f} points more than {title} (on {best.n}): a sign of masking",
            )
    return None


def _eps_1(met: list[tuple[Entry, Score]], norm: Norm) -> Doubt | None:
    """Doubt gradients that do not lead to an error where any image may be reached."""
    for entry, score in met:
        all_ = (entry.norm or norm) == "Linf" and entry.eps and radius(entry.eps) == 1
        if entry.file != "pgd" or entry.settings["steps"] < MANY or not all_:
            continue
        left = round(score.accuracy / 100 * score.n)
        if left > max(TAKEN, TAKEN_SHARE * score.n):
            return Doubt(
                "eps_1",
                f"{entry.title} leaves {left} of {score.n} images, though it may turn them into "
                "any other: a sign of masking",
            )
    return None


def _error_of_difference(one: float, other: float, n: int) -> float:
    """Standard error, in points, of the difference of two accuracies on n images each."""
    return math.hypot(standard_error(one, n), standard_error(other, n))
