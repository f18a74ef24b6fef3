"""How a sweep counts and names its radii: k/255 in Linf, and in L2 k/32 of the run's. No torch."""

from collections.abc import Mapping
from typing import NamedTuple

from bench.runs.record import Norm, Score, radius

PARTS = 32  # of eps in L2
UNITS: dict[Norm, str] = {"Linf": "/255", "L2": f"/{PARTS} eps"}  # behind k, in names


class Sweep(NamedTuple):
    """Accuracies of a sweep."""

    scores: dict[str, dict[int, Score]]  # by attack and k
    unit: str  # behind k: "/255"


def size(k: int, norm: Norm, eps: float) -> float:
    """Return a radius on the scale of eps."""
    return k / 255 if norm == "Linf" else k / PARTS * eps


def usual(norm: Norm, eps: float) -> list[int]:
    """Count the radii of a suite that names none.

    In Linf they are 0 to 32, then in fours beyond a larger eps; in L2, all to 1.25 eps.
    """
    if norm == "L2":
        return [*range(5 * PARTS // 4 + 1)]
    return [*range(33), *range(36, int(1.25 * 255 * eps) + 1, 4)]


def read(scores: Mapping[str, Score]) -> Sweep:
    """Read the names that a sweep gave its accuracies, as "fgsm 8/255"."""
    found: dict[str, dict[int, Score]] = {}
    unit = ""
    for name, score in scores.items():
        attack, _, at = name.partition(" ")
        k, _, rest = at.partition("/")
        found.setdefault(attack, {})[int(k)] = score
        unit = f"/{rest}"
    return Sweep(found, unit)


def k_trained(eps: str, unit: str) -> float:
    """Return k of the radius that a run was trained at."""
    return 255 * radius(eps) if unit == UNITS["Linf"] else PARTS
