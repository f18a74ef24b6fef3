"""SOAR and FOAR from three starts, beside what they are compared with.

The start is where the bound of the loss is taken: after one step of PGD (start=pgd1 in tables), at
a random point (rand), or at the image itself (zero). FOAR is the bound of first order (order=1).
Gradients that a start masks show as accuracy under PGD-20 far above that under attacks without
gradients (Square) or on another loss (APGD, targeted DLR).

Figure: SOAR (arXiv:2004.01832), Tables 3, 5, 7 and 20.

Reads: trained runs of soar with several start and order, and their evaluations pgd20, square and
    apgd_dlr_targeted where there are any.
"""

from collections.abc import Iterator, Sequence

from report import sources
from report.collect import RunRecords
from report.figures import Picture
from report.notes import has_learned
from report.paper_figures import _parts as parts

KEYS = ("clean", "pgd20", "square", "apgd_dlr_targeted", "autoattack")
STARTS = {"pgd1": "PGD-1", "rand": "random", "zero": "none"}
ORDERS = {"2": "SOAR", "1": "FOAR"}


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture of all tables together: fine-tuning has another protocol, and so another."""
    points = []
    for _, group in parts.tables("soar_starts", runs):
        points += [one.point(name=_name(one)) for one in parts.measured(group, KEYS)]
    soar = [p["name"] for p in points if p["name"].partition(",")[0] in ORDERS.values()]
    if len(set(soar)) < 2:
        return
    order = sorted({point["name"] for point in points}, key=lambda name: (name not in soar, name))
    shown = {p["line"] for p in points}
    lines = {parts.title(key): parts.MEASURES[key] for key in KEYS if parts.title(key) in shown}
    columns = {"name": "trained with", "line": "measured", "seed": "seed", "n": "images",
               "y": "accuracy, %"}  # fmt: skip
    view = parts.dots(order, lines, x=parts.titled("accuracy, %", points))
    yield parts.picture("soar_starts", points, columns, view)


def _name(one: parts.Measured) -> str:
    """Name a row by what tells it from others here, and say of a run if it did not learn."""
    name = one.row.title
    if one.row.method == "soar":
        chosen = sources.settings(one.run.config)
        name = f"{ORDERS[chosen['order']]}, start {STARTS[chosen['start']]}"
    return name if has_learned(one.run) else f"{name}: did not learn"
