"""How sure a share of n images is. Standard library only."""

import math


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval, in percent, of a share seen in n images; Wilson's (JASA 22, 1927)."""
    z = 1.959964
    middle = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return 100 * (middle - half) / scale, 100 * (middle + half) / scale


def standard_error(accuracy: float, n: int) -> float:
    """Binomial standard error, in points, of an accuracy in percent on n images."""
    share = accuracy / 100
    return 100 * math.sqrt(share * (1 - share) / n)
