"""Which rows a table can tell apart, from verdicts image by image and seed by seed.

A paired bootstrap would draw images, the same for both rows, and seeds, for each row its own, with
replacement, and look at how the difference of the two means varies. Its variance has a closed
form, which is used here, free of draws: the variance of the per-image difference over n images,
plus each row's variance over its seeds. With few seeds that variance is itself a guess, so the
interval is Student's, with Welch's degrees of freedom.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# Student's 97.5 % points; between them the point is nearly linear in 1 / degrees
DEGREES = np.array([1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, np.inf])
POINTS = np.array(
    [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.306, 2.228, 2.131, 2.086, 2.042, 2.000, 1.960]
)

# What is said of a pair of rows. A digit: so many more seeds of each would tell them apart, if
# means and spreads stayed as they are.
APART = "."
MANY = "+"  # ten seeds or more
IMAGES = "i"  # no number of seeds would, on so few images
SECOND = "?"  # a row has one seed, so nothing is known of the spread over seeds
EQUAL, UNKNOWN = "=", "-"  # by the means alone, where verdicts are missing


def student(degrees: Matrix) -> Matrix:
    """Half a 95 % interval in standard errors, for any degrees of freedom from 1 up."""
    return np.interp(1 / degrees, (1 / DEGREES)[::-1], POINTS[::-1])


def unpack(mask: str, n: int) -> NDArray[np.bool_]:
    """Read the verdicts on n images, (n,); the first image is the highest bit of the mask."""
    # evaluation.autoattack reads them too, but into torch, which would take a report seconds
    digits = mask + "0" * (len(mask) % 2)
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))[:n].astype(bool)


def compare(verdicts: Sequence[NDArray[np.bool_] | None], means: Sequence[float]) -> list[str]:
    """Say of every pair of rows whether they are told apart.

    Args:
        verdicts: of each row (seeds, images), True where an image stood; None if unknown.
        means: of each row, percent; all there is to go by where a row has no verdicts.

    Returns:
        One string a row, whose j-th character is about row j.
    """
    said = np.where(np.subtract.outer(means, means) == 0, EQUAL, UNKNOWN)
    sizes = np.array([0 if rows is None else rows.shape[1] for rows in verdicts])
    # a pair is compared on the first images that both were attacked on: what a larger n says of it
    # comes later, up to the smaller of the two sizes
    for n in np.unique(sizes[sizes > 0]):
        members = np.flatnonzero(sizes >= n)
        among = [rows[:, :n] for rows in verdicts if rows is not None and rows.shape[1] >= n]
        said[np.ix_(members, members)] = _compare(among)
    return ["".join(line) for line in said]


def _compare(verdicts: Sequence[NDArray[np.bool_]]) -> NDArray[np.str_]:
    pairs = Pairs(verdicts)
    said = np.where(pairs.apart(np.inf), MANY, IMAGES)
    for more in range(9, 0, -1):
        said = np.where(pairs.apart(more), str(more), said)
    said = np.where(np.minimum.outer(pairs.seeds, pairs.seeds) == 1, SECOND, said)
    return np.where(pairs.apart(), APART, said)


class Pairs:
    """Every difference of two rows, (rows, rows), and how well it is known.

    Args:
        verdicts: of each row (seeds, images), all on the same images.
    """

    def __init__(self, verdicts: Sequence[NDArray[np.bool_]]) -> None:
        per_image = np.stack([rows.mean(axis=0) for rows in verdicts])  # (rows, images)
        self.images = per_image.shape[1]
        self.seeds = np.array([len(rows) for rows in verdicts], dtype=float)
        means = per_image.mean(axis=1)
        self.gap = np.abs(np.subtract.outer(means, means))
        # sums, not np.cov, which has nothing to say of one image
        centred = per_image - means[:, None]
        covariance = centred @ centred.T / max(self.images - 1, 1)
        own = np.diag(covariance)
        self._paired = np.maximum(np.add.outer(own, own) - 2 * covariance, 0) / self.images
        self._over_seeds = np.array(
            [rows.mean(axis=1).var(ddof=1) if len(rows) > 1 else 0.0 for rows in verdicts]
        )

    def apart(self, more: float = 0) -> NDArray[np.bool_]:
        """Say which rows differ by more than the 95 % interval of so many more seeds each."""
        error = self.error(more)
        degrees = self._degrees(more, error)
        return np.asarray(self.gap > student(degrees) * error)

    def error(self, more: float = 0) -> Matrix:
        """Standard error of each difference, with so many more seeds of the same spread."""
        own = self._over_seeds / (self.seeds + more)
        return np.asarray(np.sqrt(self._paired + np.add.outer(own, own)))

    def _degrees(self, more: float, error: Matrix) -> Matrix:
        """Welch's degrees of freedom of each standard error."""
        # a row with one seed has no variance over seeds, and none of its degrees of freedom
        own = (self._over_seeds / (self.seeds + more)) ** 2 / np.maximum(self.seeds + more - 1, 1)
        weight = self._paired**2 / max(self.images - 1, 1) + np.add.outer(own, own)
        degrees = np.full_like(error, np.inf)
        np.divide(error**4, weight, out=degrees, where=weight > 0)
        return np.maximum(degrees, 1)


def tied(apart: Sequence[str]) -> list[int]:
    """Rank rows that are in order: those not told apart from the first of a group share its rank.

    Args:
        apart: what ``compare`` says of them, in the same order.

    Returns:
        Ranks from 1.
    """
    ranks, leader = [], 0
    for i in range(len(apart)):
        if apart[leader][i] in (APART, UNKNOWN):
            leader = i
        ranks.append(leader + 1)
    return ranks
