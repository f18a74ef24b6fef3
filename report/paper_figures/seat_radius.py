"""Training at a radius larger than the test's: accuracy at the test radius, over that of training.

Every network is attacked at the least of the training radii (upright line). What a method gains
there from a larger training radius ends where it collapses, or where clean accuracy is lost.

Figure: SEAT (arXiv:2210.05373), Figure 6.

Reads: trained runs at several radii, and their evaluation by PGD at the least of these.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.runs import evaluations
from bench.runs.record import radius
from report.collect import RunRecords
from report.columns import COLUMNS, measured
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.sources import title

CLEAN = "no attack"


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture of all radii."""
    looks = parts.of_methods(run.config.method for run in runs)
    clean = next(column for column in COLUMNS if column.key == "clean")
    points: list[dict[str, Any]] = []
    at = None
    records = [record for run in runs for record in run.records.values()]
    for column in (clean, *measured(records)):
        fixed = None if column is clean else evaluations.read(column.stage).eps
        if column is not clean and not (column.stage.startswith("pgd") and fixed):
            continue
        at = 255 * radius(fixed) if fixed else at
        for run in runs:
            if found := parts.reading(run, column):
                y, n = found
                points.append({
                    "panel": CLEAN if column is clean else column.title,
                    "line": title(run.config.method), "x": 255 * radius(run.config.eps),
                    "y": y, "seed": run.config.seed, "n": n,
                    "records": parts.record(run, column.stage),
                })  # fmt: skip
    radii = {point["x"] for point in points}
    if at is None or len(radii) < 2:
        return
    lines = {title(method): look for method, look in looks.items()}
    panels = [
        parts.lines(panel, lines, x="radius of training, 1/255", at=at, ticks=radii,
                    y=parts.titled("accuracy, %", [p for p in points if p["panel"] == panel]))
        for panel in dict.fromkeys(point["panel"] for point in points)
    ]  # fmt: skip
    columns = {"panel": "attack", "line": "method", "x": "radius of training, 1/255",
               "seed": "seed", "n": "images", "y": "accuracy, %"}  # fmt: skip
    yield parts.picture("seat_radius", points, columns, {"hconcat": panels})
