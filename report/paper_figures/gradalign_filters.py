"""Filters of a network's first layer: norms by update, weights and feature maps before and after.

One filter grows away from the rest as training collapses, and with it the weights that read its
map. Without it (last column), the gradients inside the ball are aligned again; "none" is the whole
network. In the pictures of filters, light is negative and dark positive. In those of feature maps,
after ReLU, dark is large, on one scale for the maps of a filter of a network; below each pair
stands how far FGSM moves a pixel of the map in the mean, in units of the clean map's mean.

Figure: GradAlign (arXiv:2007.02617), Figures 5 to 7.

Reads: the evaluation filters, at the end or at updates (filters-at_1173); and, for norms by update,
    measured while training.
"""

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from bench.runs import evaluations
from bench.runs.record import TRACES, TRAIN
from report import arrays
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._planes import BAR
from report.paper_figures._updates import Found, measured, named, stage_of, watched

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
MAPS = {"run": "run", "update": "update", "image": "test image", "version": "version",
        "filter": "filter", "largest": "largest",
        "moved": "moved by FGSM, in units of the clean mean"}  # fmt: skip
VERSIONS = ("clean", "FGSM")
SIDE = 48  # pixels of a map in the picture
SHARPER = 3  # of its file's, to one of its own
FRAME = 160  # grey, of 255


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
    for i, (name, run) in enumerate(by_run.items(), 1):
        maps = [one for found in measured(run, "filters") for one in _maps(name, found)]
        if maps:
            place = f"-{i}" if len(by_run) > 1 else ""
            yield parts.picture(f"gradalign_filters-maps{place}", maps, MAPS, _shown(maps))


def _points(name: str, run: RunRecords) -> Iterator[dict[str, Any]]:
    """Yield what was measured of a run's filters while it trained."""
    trained, most = run.training, evaluations.read("filters").settings["images"]
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
    cosine = parts.titled("cosine", own)
    return {
        "title": name, "transform": [{"filter": {"field": "run", "equal": name}}],
        "hconcat": [
            parts.lines(title, shown, x="update", y=cosine if kind == "without" else "L2 norm",
                        domain=(-0.1, 1) if kind == "without" else None, dots=0,
                        width=parts.NARROW)
            for kind, title in PANELS.items()
        ],
    }  # fmt: skip


def _weights(name: str, one: Found) -> Iterator[dict[str, Any]]:
    """Yield the weights of every filter of a network."""
    found = arrays.read(one.run, one.entry.name).get("filter", np.empty((0, 0, 0, 0)))
    for i, channel, row, column in np.ndindex(found.shape):
        yield {
            "run": name, "update": one.update, "filter": i, "channel": channel, "row": row,
            "column": column, "weight": float(f"{found[i, channel, row, column]:.4g}"),
            "panel": _panel(name, one),
            "of": f"filter {i}", "place": channel * (found.shape[3] + 0.5) + column,
            "records": one.record,
        }  # fmt: skip


def _panel(name: str, one: Found) -> str:
    stage = stage_of(one)
    return f"{name}, update {one.update}" + (f", {stage}" if stage else "")


def _patches(weights: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw each filter as a patch a colour channel, a row for each network."""
    most = max(abs(square["weight"]) for square in weights)
    wide, high = (max(square[key] for square in weights) + 1 for key in ("place", "row"))
    colour = {"field": "weight", "type": "quantitative",
              "scale": {"domain": [-most, -most / 2, 0, most / 2, most], "range": SIGNED,
                        "interpolate": "rgb"},
              "legend": {**BAR, "title": "weight; a patch for each colour channel"}}  # fmt: skip
    place = {"type": "quantitative", "axis": None}
    panels = list(dict.fromkeys(square["panel"] for square in weights))
    return {
        "padding": {"left": 16, "top": 5, "right": 16, "bottom": 5},  # for the bar's last numbers
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


def _maps(name: str, one: Found) -> Iterator[dict[str, Any]]:
    """Yield the first test images of a network, clean and under FGSM, and their feature maps."""
    found = arrays.read(one.run, one.entry.name)
    if not found.get("map", np.empty(0)).size:
        return
    images = found["image"].transpose(0, 1, 3, 4, 2)  # image, version, row, column, channel
    maps = np.nan_to_num(found["map"].astype(np.float32).clip(0))
    for image, version in np.ndindex(images.shape[:2]):
        common = {
            "run": name, "update": one.update, "image": image, "version": VERSIONS[version],
            "panel": _panel(name, one), "down": image * (len(VERSIONS) + 0.6) + version,
            "records": one.record,
        }  # fmt: skip
        yield {**common, "filter": None, "head": "image", "across": 0, "moved": None,
               "largest": None, "url": _png(images[image, version])}  # fmt: skip
        for i, seen in enumerate(maps[image, version]):
            clean, most = maps[image, 0, i], maps[:, :, i].max()
            moved = abs(seen - clean).mean() / clean.mean() if version and clean.any() else None
            shades = 255 * (1 - seen / most) if most else np.full(seen.shape, 255)
            yield {**common, "filter": i, "head": f"filter {i}", "across": i + 1,
                   "moved": None if moved is None else float(f"{moved:.3g}"),
                   "largest": float(f"{seen.max():.3g}"),
                   "url": _png(shades.astype(np.uint8)[..., None])}  # fmt: skip


def _png(pixels: np.ndarray) -> str:
    """Write pixels (rows, columns, 1 or 3) as the address of a picture."""
    sharp = pixels.repeat(SHARPER, 0).repeat(SHARPER, 1)  # whoever scales it would blur it
    sharp[[0, -1]] = sharp[:, [0, -1]] = FRAME
    file = io.BytesIO()
    Image.fromarray(sharp.squeeze(-1) if sharp.shape[2] == 1 else sharp).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _shown(maps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw the networks side by side: images down, filters across."""
    wide, high = (max(one[key] for one in maps) + 1 for key in ("across", "down"))
    place = {"type": "quantitative", "axis": None}
    ends = {"x": ("across", [0, wide]), "y": ("down", [high + 0.5, -0.6])}  # with room for texts
    at = {way: {"field": field, **place, "scale": {"domain": domain, "nice": False}}
          for way, (field, domain) in ends.items()}  # fmt: skip
    text = {"type": "text", "fontSize": 11, "baseline": "middle"}
    of_first = {"filter": "datum.down == 0"}
    return {
        "hconcat": [
            {
                "title": panel, "width": SIDE * wide, "height": SIDE * (high + 1.1), "encoding": at,
                "transform": [{"filter": {"field": "panel", "equal": panel}}],
                "layer": [
                    {"mark": {"type": "image", "width": SIDE - 3, "height": SIDE - 3,
                              "align": "left", "baseline": "top"},
                     "encoding": {"url": {"field": "url", "type": "nominal"}}},
                    {"mark": {**text, "dy": -8, "dx": SIDE / 2, "align": "center"},
                     "transform": [of_first], "encoding": {"text": {"field": "head"}}},
                    {"mark": {**text, "dy": SIDE / 2, "dx": -4, "align": "right"},
                     "transform": [{"filter": "datum.across == 0"}],
                     "encoding": {"text": {"field": "version"}}},
                    {"mark": {**text, "dy": SIDE + 6, "dx": SIDE / 2, "align": "center"},
                     "transform": [{"filter": "isValid(datum.moved)"}],
                     "encoding": {"text": {"field": "moved", "format": ".2~r"}}},
                ],
            }
            for panel in dict.fromkeys(one["panel"] for one in maps)
        ],
    }  # fmt: skip
