"""Ranks and tie groups of rows, from what stood the attack image by image and seed by seed.

Two rows are told apart if the 95 % confidence interval of the difference of their means excludes
zero. The variance of that difference is the closed form of a paired bootstrap, which draws images,
the same for both rows, and seeds, for each row its own, with replacement: the variance of the
per-image difference over n images, plus each row's variance over its seeds. Few seeds estimate
their variance badly, so the interval is Student's, with Welch's degrees of freedom.
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

# Marks of a pair of rows. A digit: so many more seeds of each would tell them apart, if means and
# spreads stayed as they are.
APART = "."
MANY = "+"  # ten seeds or more
IMAGES = "i"  # only more images would
SECOND = "?"  # a row has one seed, which leaves its spread over seeds unknown
EQUAL, UNKNOWN = "=", "-"  # by the means alone, where verdicts are missing


def student(degrees: Matrix) -> Matrix:
    """Half a 95 % interval in standard errors, for any degrees of freedom from 1 up."""
    return np.interp(1 / degrees, (1 / DEGREES)[::-1], POINTS[::-1])


def unpack(mask: str, n: int) -> NDArray[np.bool_]:
    """Read a record's mask of n images as (n,), True where an image stood the attack.

    Args:
        mask: hexadecimal; the first image is the highest bit.
    """
    # evaluation.autoattack reads masks too, but into torch, which would take a report seconds
    digits = mask + "0" * (len(mask) % 2)
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), dtype=np.uint8))[:n].astype(bool)


def pair_marks(verdicts: Sequence[NDArray[np.bool_] | None], means: Sequence[float]) -> list[str]:
    """Mark every pair of rows: told apart, or tied and what more it would take to tell them apart.

    Args:
        verdicts: of each row (seeds, images), True where an image stood; None if unknown.
        means: of each row, percent; they decide alone where a row's verdicts are unknown.

    Returns:
        One string a row, whose j-th character is the mark of its pair with row j.
    """
    marks = np.where(np.subtract.outer(means, means) == 0, EQUAL, UNKNOWN)
    sizes = np.array([0 if rows is None else rows.shape[1] for rows in verdicts])
    # a pair is compared on the first images that both were attacked on: sizes rise, and the last
    # one that writes a pair's mark is the smaller of its two
    for n in np.unique(sizes[sizes > 0]):
        members = np.flatnonzero(sizes >= n)
        among = [rows[:, :n] for rows in verdicts if rows is not None and rows.shape[1] >= n]
        marks[np.ix_(members, members)] = _marks(among)
    return ["".join(line) for line in marks]


def _marks(verdicts: Sequence[NDArray[np.bool_]]) -> NDArray[np.str_]:
    pairs = Pairs(verdicts)
    marks = np.where(pairs.differ(np.inf), MANY, IMAGES)
    for more in range(9, 0, -1):
        marks = np.where(pairs.differ(more), str(more), marks)
    marks = np.where(np.minimum.outer(pairs.seeds, pairs.seeds) == 1, SECOND, marks)
    return np.where(pairs.differ(), APART, marks)


class Pairs:
    """The differences of the means of every two rows, (rows, rows), and their standard errors.

    Args:
        verdicts: of each row (seeds, images), all on the same images.
    """

    def __init__(self, verdicts: Sequence[NDArray[np.bool_]]) -> None:
        per_image = np.stack([rows.mean(axis=0) for rows in verdicts])  # (rows, images)
        self.images = per_image.shape[1]
        self.seeds = np.array([len(rows) for rows in verdicts], dtype=float)
        means = per_image.mean(axis=1)
        self.gap = np.abs(np.subtract.outer(means, means))
        # by sums, because np.cov of a single image is nan
        centred = per_image - means[:, None]
        covariance = centred @ centred.T / max(self.images - 1, 1)
        own = np.diag(covariance)
        self._paired = np.maximum(np.add.outer(own, own) - 2 * covariance, 0) / self.images
        self._over_seeds = np.array(
            [rows.mean(axis=1).var(ddof=1) if len(rows) > 1 else 0.0 for rows in verdicts]
        )

    def differ(self, more: float = 0) -> NDArray[np.bool_]:
        """Test each difference against half its 95 % confidence interval; True where larger.

        Args:
            more: seeds that each row is imagined to have beside its own, of the same spread.
        """
        return np.asarray(self.gap > self.half(more))

    def half(self, more: float = 0) -> Matrix:
        """Half the 95 % confidence interval of each difference, as a share; ``more`` as above."""
        error = self.error(more)
        return np.asarray(student(self._degrees(more, error)) * error)

    def error(self, more: float = 0) -> Matrix:
        """Standard error of each difference, as a share; ``more`` as above."""
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


def tie_group_ranks(marks: Sequence[str]) -> list[int]:
    """Rank rows that are in order, from 1.

    A tie group is a row and those after it that are tied with it; all have the rank of the first.

    Args:
        marks: what ``pair_marks`` returns for the rows, in the same order.
    """
    ranks, leader = [], 0
    for i in range(len(marks)):
        if marks[leader][i] in (APART, UNKNOWN):
            leader = i
        ranks.append(leader + 1)
    return ranks
