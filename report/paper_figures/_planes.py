"""Landscapes on planes: a small map of the loss for each network, all on one scale."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from report import arrays
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._updates import ONSET, STAGES, Found, stage_of

LIGHT_TO_DARK = ["#f3f7fb", "#b7d3ea", "#5f9fd0", "#0072B2", "#003a5c", "#000a14"]
SIDE = 165  # pixels of a plane
COLOURS: dict[
    str, tuple[str, dict[str, Any]]
] = {  # of what a square shows: dark is where the network is worse
    "loss": ("mean cross-entropy", {"type": "log", "range": LIGHT_TO_DARK}),
    "same": ("% that keep the class of (0, 0)", {"domain": [0, 100], "range": LIGHT_TO_DARK[::-1]}),
}
BAR = {"gradientLength": 240, "titleLimit": 400, "titleFontWeight": "normal"}  # of a legend


def squares(
    name: str, one: Found, axis: Sequence[float], *, number: str
) -> Iterator[dict[str, Any]]:
    """Yield the squares of one network's plane; nothing where its arrays are not here.

    Args:
        name: of the run.
        one: what was measured.
        axis: where both axes begin and end.
        number: of its values that stands above the plane.
    """
    found = arrays.read(one.run, one.entry.name)
    if "loss" not in found:
        return
    losses = found["loss"]
    grid, value = losses.mean(0), one.found.values[number].value
    places = np.linspace(axis[0], axis[1], len(grid))
    half, zero = (places[1] - places[0]) / 2, np.abs(places).argmin()
    classes = found.get("class", np.zeros(losses.shape))
    same = 100 * (classes == classes[:, zero : zero + 1, zero : zero + 1]).mean(0)
    stage, seed = stage_of(one), one.run.config.seed
    shown = "-" if value is None else f"{value:.2g}"
    head = [f"{name}, seed {seed}", f"update {one.update}" + (f", {stage}" if stage else ""),
            f"{number.replace('_', ' ')} {shown}"]  # fmt: skip
    for i, j in np.ndindex(grid.shape):
        yield {
            "panel": "|".join(head), "line": name, "update": one.update, "stage": stage,
            "x": round(float(places[i]), 4), "y": round(float(places[j]), 4), "half": float(half),
            "loss": float(f"{grid[i, j]:.4g}"), "same": float(same[i, j]), "number": value,
            "n": len(losses), "seed": seed, "records": one.record,
        }  # fmt: skip


def picture(
    name: str,
    found: Iterable[dict[str, Any]],
    *,
    x: str,
    y: str,
    across: int,
    number: str,
    shown: str = "loss",
) -> Iterator[Picture]:
    """Draw planes as one picture; none if there are none.

    Args:
        name: of the picture.
        found: what ``squares`` yields.
        x: title of the axis across.
        y: title of the axis upwards.
        across: planes in a row.
        number: title of the number above each plane.
        shown: what the colour of a square says, of COLOURS.
    """
    found = list(found)
    if not found:
        return
    n = parts.counted(found)
    columns = {"line": "method", "seed": "seed", "update": "update", "stage": "stage",
               "x": x, "y": y, shown: COLOURS[shown][0], "number": number,
               "n": "images"}  # fmt: skip
    axes = {
        f"{way}{end}": {
            "field": f"{way}_{edge}", **({} if end else {
                "type": "quantitative", "title": title,
                "scale": {"nice": False, "domain": [
                    min(square[way] - square["half"] for square in found),
                    max(square[way] + square["half"] for square in found),
                ]},
                "axis": {"tickCount": 4, "grid": False},
            }),
        }
        for way, title in (("x", x), ("y", y)) for end, edge in (("", "from"), ("2", "to"))
    }  # fmt: skip
    title, scale = COLOURS[shown]
    colour = {"field": shown, "type": "quantitative", "scale": {**scale, "interpolate": "rgb"},
              "legend": {**BAR, "title": f"{title}, {n}", "format": ".3~g",
                         "tickCount": 4}}  # fmt: skip
    seen = {square["stage"] for square in found}
    stages = ", ".join(stage.removesuffix(ONSET) for stage in STAGES if stage in seen)
    yield parts.picture(name, found, columns, {
        **({"title": {"text": f"Of runs that collapsed: {stages}{ONSET}", "offset": 14}}
           if stages else {}),
        # they overlap by a pixel, as seams between squares would show
        "transform": [{"calculate": f"datum.{way} {share} * datum.half", "as": f"{way}_{edge}"}
                      for way in "xy" for share, edge in (("- 1", "from"), ("+ 1.3", "to"))],
        "facet": {"field": "panel", "type": "nominal", "title": None,
                  "sort": list(dict.fromkeys(square["panel"] for square in found)),
                  "header": {"labelExpr": "split(datum.label, '|')", "labelLimit": 240}},
        "columns": across,
        "spec": {"width": SIDE, "height": SIDE,
                 "mark": {"type": "rect", "strokeWidth": 0, "clip": True},
                 "encoding": {**axes, "color": colour}},
    })  # fmt: skip
