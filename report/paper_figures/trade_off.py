"""Clean against robust accuracy: what robustness costs on images that nobody attacked.

A point is a method, the mean over its seeds, upright bars are 95 % intervals; dashed are the
methods that no other beats on both axes. PGD-10 flatters networks that mask their gradients, and
AutoAttack is on fewer images: so a picture of each.

Figure: SORA (arXiv:2606.00738), clean against robust accuracy.

Reads: trained runs, and AutoAttack where there is any.
"""

import functools
from collections.abc import Iterator, Sequence

from bench.runs.record import AUTOATTACK, TRAIN
from report import figures
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

STAGES = {"pgd10": [TRAIN], "autoattack": [TRAIN, AUTOATTACK]}  # that a column's point reads


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture of each attack, a table."""
    for name, group in parts.tables("trade_off", runs):
        titles = {column.key: column.title for column in group.columns}
        looks = figures.looks([row.method for row in group.rows])
        for key, stages in STAGES.items():
            shown = [row for row in group.rows if row.cells[key].mean is not None
                     and row.cells["clean"].mean is not None]  # fmt: skip
            points = []
            for row in shown:
                low, high = row.cells[key].interval or (None, None)
                colour, shape = looks[row.method]
                files = [parts.record(run, stage) for run in row.runs for stage in stages
                         if run.has(stage)]  # fmt: skip
                points.append({
                    "label": row.title, "x": row.cells["clean"].mean, "y": row.cells[key].mean,
                    "low": low, "high": high, "colour": colour, "shape": shape,
                    "records": " ".join(files),
                })  # fmt: skip
            if points:
                yield Picture(f"{name}-{key}", functools.partial(
                    figures.scatter, points, f"clean accuracy, %, {parts.of_rows(shown, 'clean')}",
                    f"{titles[key]} accuracy, %, {parts.of_rows(shown, key)}", is_cost=False,
                ))  # fmt: skip
