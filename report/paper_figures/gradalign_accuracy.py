"""Accuracy over the radius of training: clean, under PGD-50-10, and under it with early stopping.

Every radius is another training, attacked at that radius. Lines are means over seeds, bands their
least and most. Early stopping takes the weights that are best under PGD on training images.

Figure: GradAlign (arXiv:2007.02617), Figures 1 and 8.

Reads: trained runs at two radii or more, and their evaluations pgd50_10 and pgd50_10-weights_best.
"""

from collections.abc import Iterator, Sequence

from bench.runs.record import radius
from report.collect import RunRecords
from report.figures import Picture
from report.groups import groups
from report.paper_figures import _parts as parts

PANELS = {"clean": "clean", "pgd50_10": "PGD-50-10",
          "pgd50_10-weights_best": "PGD-50-10, early stopping"}  # fmt: skip
COLUMNS = {"panel": "accuracy", "line": "method", "seed": "seed", "x": "eps, 1/255",
           "y": "accuracy, %", "n": "images"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, a panel an accuracy."""
    points, methods = [], {}
    for group in groups(runs):
        for one in parts.measured(group, [*PANELS]):
            methods[one.row.title] = one.row.method
            eps = 255 * radius(one.run.config.eps)
            points.append(one.point(panel=PANELS[one.column.key], x=eps, line=one.row.title))
    if len({point["x"] for point in points}) < 2:
        return
    looks = parts.of_methods(methods.values())
    shown = {name: looks[method] for name, method in sorted(methods.items())}
    panels = [
        parts.lines(
            title, shown, x="radius of training and attack, 1/255",
            ticks=[point["x"] for point in points], width=parts.NARROW,
            y=parts.titled("accuracy, %", there),
        )
        for title in PANELS.values() if (there := [p for p in points if p["panel"] == title])
    ]  # fmt: skip
    yield parts.picture("gradalign_accuracy", points, COLUMNS, {"hconcat": panels})
