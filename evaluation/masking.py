"""What speaks against reading a run's accuracies as robustness, told from its records.

Gradient masking makes attacks by gradients fail without making a network robust. Signs of it, by
Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018,
arXiv:1802.00420, section 3.1, and Carlini et al., "On evaluating adversarial robustness", 2019,
arXiv:1902.06705: a single step that does more than many, a black-box attack that succeeds where
white-box attacks failed, and a stronger attack that finds much more than a weaker one.
"""

import math

from bench.runs.record import Attack, Training
from evaluation.binomial import standard_error

ERRORS = 3.0  # standard errors, of a share or of a difference of two
WEAKER = 15.0  # points by which AutoAttack may go below PGD-10
TAKEN = 2  # images that Square may take, or
TAKEN_SHARE = 0.01  # of the attacked images, where that is more
BLACK_BOX = "square"
WHITE_BOX = ("apgd-ce", "apgd-t", "fab-t")


def doubts(
    training: Training, attack: Attack | None = None, *, classes: int | None = None
) -> dict[str, str]:
    """Say in a sentence each what is doubtful about a run's accuracies, which are in percent.

    Standard errors are binomial. Attacks are taken as made on different images, which makes their
    difference seem less certain than it is where they share them.

    Args:
        training: with accuracy without attack, under FGSM and under PGD-10.
        attack: AutoAttack's verdict; None where there is none.
        classes: of the data; None if unknown, and then whether the run learned is not judged.

    Returns:
        Sentences by what they doubt: "learning", "fgsm", "autoattack" or "square".
    """
    found = {"learning": _learning(training, classes), "fgsm": _fgsm(training)}
    if attack is not None:
        found |= {"autoattack": _autoattack(training, attack), "square": _square(attack)}
    return {what: said for what, said in found.items() if said}


def _learning(training: Training, classes: int | None) -> str | None:
    clean, n = training.clean.accuracy, training.clean.n
    chance = 100 / classes if classes else -math.inf
    if classes is None or clean > chance + ERRORS * standard_error(chance, n):
        return None
    return f"did not learn: {clean:.1f} % right on {n} clean images, chance is {chance:.1f} %"


def _fgsm(training: Training) -> str | None:
    """Ten steps that find less than a single one were misled by their gradients."""
    fgsm, pgd10 = training.fgsm, training.pgd10
    less = pgd10.accuracy - fgsm.accuracy
    n = min(fgsm.n, pgd10.n)
    if less <= ERRORS * _apart(fgsm.accuracy, pgd10.accuracy, n):
        return None
    return f"PGD-10 takes {less:.1f} points less than FGSM with its one step: a sign of masking"


def _autoattack(training: Training, attack: Attack) -> str | None:
    pgd10 = training.pgd10
    more = pgd10.accuracy - attack.accuracy
    n = min(pgd10.n, attack.n)
    error = _apart(pgd10.accuracy, attack.accuracy, n)
    if more <= max(WEAKER, ERRORS * error):
        return None
    return (
        f"AutoAttack (on {attack.n} images) takes {more:.1f} points more than PGD-10 (on "
        f"{pgd10.n}): gradients may be masked, or PGD-10 is weak here"
    )


def _square(attack: Attack) -> str | None:
    before = [left for name, left in attack.after.items() if name in WHITE_BOX]
    if not before or BLACK_BOX not in attack.after:
        return None
    taken = round((before[-1] - attack.after[BLACK_BOX]) / 100 * attack.n)
    if taken <= max(TAKEN, TAKEN_SHARE * attack.n):
        return None
    return (
        f"Square, a black-box attack, takes {taken} of {attack.n} images that the white-box "
        "attacks left: a sign of masking"
    )


def _apart(one: float, other: float, n: int) -> float:
    """Standard error, in points, of the difference of two accuracies on n images each."""
    return math.hypot(standard_error(one, n), standard_error(other, n))
