"""Weight landscapes on a line: the adversarial loss around the weights along one direction.

The direction is random and filter-normalised; images are attacked anew at each point. A flat valley
is said to go with robustness on images that were not trained on.

Figure: SEAT (arXiv:2210.05373), Figure 3.

Reads: the evaluation weight_landscape, at the end or at updates (weight_landscape-at_315).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from report import arrays
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._updates import measured, named

COLUMNS = {"line": "method", "update": "update", "x": "distance", "y": "mean loss under PGD",
           "seed": "seed", "n": "images"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, a panel an update and a line a network."""
    points: list[dict[str, Any]] = []
    methods = {name: run.config.method for name, run in named(runs)}
    for name, run in named(runs):
        for one in measured(run, "weight_landscape", dims=1):
            losses = arrays.read(run, one.entry.name).get("loss", np.empty((0, 0)))
            most = one.entry.settings["most"]
            places = np.linspace(-most, most, losses.shape[1])
            points += [
                {"line": name, "update": one.update, "x": round(float(x), 4),
                 "y": float(f"{loss:.4g}"), "panel": f"update {one.update}", "n": len(losses),
                 "seed": run.config.seed, "records": one.record}
                for x, loss in zip(places, losses.mean(0), strict=True)
            ]  # fmt: skip
    if not points:
        return
    looks = parts.of_methods(methods.values())
    shown = {name: looks[method] for name, method in methods.items()}
    top = 1.05 * max(point["y"] for point in points)
    panels = [
        parts.lines(f"update {update}", shown, x="distance, in norms of the filters",
                    domain=(0, top), y=parts.titled("mean loss under PGD", points))
        for update in sorted({point["update"] for point in points})
    ]  # fmt: skip
    yield parts.picture("weight_landscape", points, COLUMNS, {"hconcat": panels})
