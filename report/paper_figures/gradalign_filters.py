"""Filters of a network's first layer: their norms by update, and their weights before and after.

One filter grows away from the rest as training collapses, and with it the weights that read its
map. Without it (last column), the gradients inside the ball are aligned again; "none" is the whole
network. In the pictures of filters, light is negative and dark positive.

Figure: GradAlign (arXiv:2007.02617), Figures 5 to 7.

Reads: the evaluation filters, at the end or at updates (filters-at_1173); and, for norms by update,
    measured while training.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench.runs import evaluations
from bench.runs.record import TRACES, TRAIN
from report import arrays
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._planes import BAR
from report.paper_figures._updates import Found, measured, named, stage_of, training, watched

PANELS = {"norm": "norm of the filter", "outgoing": "norm of its outgoing weights",
          "without": "gradient alignment without it"}  # fmt: skip
NONE = "none"  # of the filters is left out
BY_UPDATE = {"run": "run", "panel": "what", "line": "filter", "seed": "seed", "x": "update",
             "y": "value", "n": "images of alignments"}  # fmt: skip
WEIGHTS = {"run": "run", "update": "update", "filter": "filter", "channel": "channel", "row": "row",
           "column": "column", "weight": "weight"}  # fmt: skip
# least, 0, most: two hues, and ever darker, so that signs are told in grey, too
SIGNED = ["#fff1df", "#f2c08c", "#9fb0ba", "#3c7ba6", "#00263d"]
PIXEL = 17  # pixels of the picture


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw norms and alignment by update, and the filters at the updates that were kept."""
    by_run = {f"{name}, seed {run.config.seed}": run for name, run in named(runs)}
    points = [point for name, run in by_run.items() for point in _points(name, run)]
    if points:
        shown = {line: parts.shade(i) for i, line in enumerate(sorted({p["line"] for p in points}))}
        rows = [_row(name, points, shown) for name in by_run]
        view = {"vconcat": [row for row in rows if row]}
        yield parts.picture("gradalign_filters-by-update", points, BY_UPDATE, view)
    weights = [
        square
        for name, run in by_run.items()
        for one in measured(run, "filters")
        for square in _weights(name, one)
    ]
    if weights:
        yield parts.picture("gradalign_filters-weights", weights, WEIGHTS, _patches(weights))


def _points(name: str, run: RunRecords) -> Iterator[dict[str, Any]]:
    """Yield what was measured of a run's filters while it trained."""
    trained, most = training(run), evaluations.read("filters").settings["images"]
    for column, (updates, values) in watched(run).items():
        kind, _, i = column.partition(".")
        kind, line = ("without", NONE) if column == "alignment" else (kind, f"filter {i}")
        if kind not in PANELS or trained is None:
            continue
        for update, value in zip(updates, values, strict=True):
            yield {
                "run": name, "panel": PANELS[kind], "line": line, "seed": run.config.seed,
                "x": int(update), "y": float(f"{value:.4g}"), "n": min(most, trained.probe_images),
                "records": f"{parts.record(run, TRAIN)} {run.folder}/{TRACES}",
            }  # fmt: skip


def _row(name: str, points: Sequence[dict[str, Any]], shown: dict[str, parts.Look]) -> Any:
    """Make the panels of one run; None if it has no points."""
    own = [point for point in points if point["run"] == name]
    if not own:
        return None
    cosine = f"cosine, {parts.counted(own)}"
    return {
        "title": name, "transform": [{"filter": {"field": "run", "equal": name}}],
        "hconcat": [
            parts.lines(title, shown, x="update", y=cosine if kind == "without" else "L2 norm",
                        domain=(-0.1, 1) if kind == "without" else None, dots=0)
            for kind, title in PANELS.items()
        ],
    }  # fmt: skip


def _weights(name: str, one: Found) -> Iterator[dict[str, Any]]:
    """Yield the weights of every filter of a network."""
    found = arrays.read(one.run, one.entry.name).get("filter", np.empty((0, 0, 0, 0)))
    stage = stage_of(one)
    for i, channel, row, column in np.ndindex(found.shape):
        yield {
            "run": name, "update": one.update, "filter": i, "channel": channel, "row": row,
            "column": column, "weight": float(f"{found[i, channel, row, column]:.4g}"),
            "panel": f"{name}, update {one.update}" + (f", {stage}" if stage else ""),
            "of": f"filter {i}", "place": channel * (found.shape[3] + 0.5) + column,
            "records": one.record,
        }  # fmt: skip


def _patches(weights: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw each filter as a patch a colour channel, a row for each network."""
    most = max(abs(square["weight"]) for square in weights)
    wide, high = (max(square[key] for square in weights) + 1 for key in ("place", "row"))
    colour = {"field": "weight", "type": "quantitative",
              "scale": {"domain": [-most, -most / 2, 0, most / 2, most], "range": SIGNED},
              "legend": {**BAR, "title": "weight; a patch for each colour channel"}}  # fmt: skip
    place = {"type": "quantitative", "axis": None}
    panels = list(dict.fromkeys(square["panel"] for square in weights))
    return {
        "vconcat": [
            {
                "title": panel, "transform": [
                    {"filter": {"field": "panel", "equal": panel}},
                    {"calculate": "datum.place + 1", "as": "right"},
                    {"calculate": "datum.row + 1", "as": "below"},
                ],
                "facet": {"column": {"field": "of", "type": "nominal", "title": None}},
                "spec": {
                    "width": PIXEL * wide, "height": PIXEL * high,
                    "mark": {"type": "rect", "stroke": "white", "strokeWidth": 0.5},
                    "encoding": {
                        "x": {"field": "place", **place, "scale": {"domain": [0, wide]}},
                        "x2": {"field": "right"},
                        "y": {"field": "row", **place, "scale": {"domain": [high, 0]}},
                        "y2": {"field": "below"}, "color": colour,
                    },
                },
            }
            for panel in panels
        ],
    }  # fmt: skip
