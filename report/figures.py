"""Pictures: Vega-Lite specifications that the page and the files of results/figures/ fill alike.

A text that begins with $ is a place to fill. What is drawn is the view's and the details' own data
(``report.page``), so that a file shows what the page shows when it opens.
"""

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pandas as pd
import vl_convert

from bench.runs import catalogue
from bench.runs.files import write_bytes
from report import sources
from report.groups import no_formula

# Okabe and Ito's, which colour-blind readers tell apart; shapes, dashes and outlines say it in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
ATTACKS = {"clean": ("#56B4E9", (8, 2)), "fgsm": ("#E69F00", (5, 3)), "pgd10": ("#0072B2", (1, 0)),
           "validation": ("#009E73", (2, 2)),
           "validation, average": ("#CC79A7", (4, 2))}  # fmt: skip
OTHER = ("#0072B2", (1, 0))  # of a curve that is no accuracy
COLLAPSE = "#D55E00"  # of the rule where one began
SWEEP = "radius sweep"
UNITS = {"accuracy": "%", SWEEP: "%", "PertAlign": "cosine", "loss": "as trained",
         "reach": "in units of eps"}  # fmt: skip
STATE_UNIT = "the method's own unit"
PANELS = 24  # small pictures at once
GAP = 15  # pixels between names
AXES = ("time_ratio", "autoattack")  # of the picture that a page opens with, and of its file
LIBRARY = "vl-convert-python"  # which holds the drawing library
BUNDLE = "library.cache"  # below results/: the drawing library as pages have it
KINDS = (".svg", ".pdf", ".csv")
MOST = 30  # pictures in files: each costs a fifth of a second, and the page can save any
WIDTHS = {"scatter": 720, "curves": 960}  # pixels of a file

CONFIG = {
    # a picture is one image with a name; its marks would be images without any
    "aria": False, "mark": {"aria": False},
    "background": "$background", "font": "$font", "view": {"stroke": None},
    "axis": {"labelColor": "$ink", "titleColor": "$ink", "gridColor": "$line",
             "domainColor": "$dim", "tickColor": "$dim", "labelFontSize": 11, "titleFontSize": 12,
             "labelSeparation": 4,
             "titleFontWeight": "normal"},  # one font: svg2pdf lists several in any order
    "header": {"labelColor": "$ink", "labelFontSize": 12, "labelLimit": 210, "title": None},
    "legend": {"labelColor": "$ink", "labelFontSize": 12, "orient": "top", "title": None,
               "symbolType": "stroke", "symbolSize": 500},
    "text": {"color": "$ink"},
}  # fmt: skip

LINEAR = {"type": "linear", "zero": False, "nice": False, "padding": 16}
LOG = {"type": "log", "nice": False, "padding": 16}

_COLOUR = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
_SHAPE = {"field": "shape", "type": "nominal", "scale": None, "legend": None}
_X = {"field": "x", "type": "quantitative", "title": "$xTitle", "scale": "$xScale"}
_Y = {"field": "y", "type": "quantitative", "title": "$yTitle",
      "scale": {"domain": ["$bottom", "$top"], "nice": False}}  # fmt: skip
_TOOLTIP = [
    {"field": "label", "title": "method"}, {"field": "y", "title": "$yTitle", "format": ".2f"},
    {"field": "low", "title": "95 % from", "format": ".2f"},
    {"field": "high", "title": "to", "format": ".2f"},
    {"field": "x", "title": "$xTitle", "format": ".2f"}, {"field": "best", "title": "front"},
]  # fmt: skip
_POINT = {"type": "point", "filled": True, "opacity": 1, "stroke": "$ink", "strokeWidth": 0.8}
SCATTER = {
    "width": "$width", "height": "$height",
    "padding": {"left": 5, "top": 10, "bottom": 5, "right": 5},
    "config": CONFIG, "data": {"values": "$data"}, "encoding": {"x": _X, "y": _Y},
    "params": [{"name": name, "value": f"${name}"} for name in ("bottom", "top", "worse")],
    "transform": [
        # the front: rows whose y is above that of all that are no worse in x
        {"calculate": "datum.x * worse", "as": "cost"},
        {"window": [{"op": "max", "field": "y", "as": "highest"}], "frame": [None, 0],
         "sort": [{"field": "cost"}, {"field": "y", "order": "descending"}]},
        {"window": [{"op": "lag", "field": "highest", "as": "above"}],
         "sort": [{"field": "cost"}, {"field": "y", "order": "descending"}]},
        {"calculate": "isValid(datum.above) && datum.y <= datum.above ? 'no' : 'yes'",
         "as": "best"},
        # the names: from the top, each a gap or more below the last; then from the bottom likewise
        {"window": [{"op": "row_number", "as": "i"}],
         "sort": [{"field": "y", "order": "descending"}, {"field": "x"}]},
        {"calculate": f"height * (top - datum.y) / (top - bottom) - {GAP} * datum.i", "as": "free"},
        {"window": [{"op": "max", "field": "free", "as": "down"}], "frame": [None, 0],
         "sort": [{"field": "i"}]},
        {"calculate": f"min(datum.down, height - {GAP} * datum.i)", "as": "free"},
        {"window": [{"op": "min", "field": "free", "as": "up"}], "frame": [None, 0],
         "sort": [{"field": "i", "order": "descending"}]},
        {"calculate": f"top - (top - bottom) * (datum.up + {GAP} * datum.i) / height",
         "as": "slot"},
    ],
    "layer": [
        {"mark": {"type": "line", "interpolate": "$step", "color": "$dim", "strokeDash": [4, 3]},
         "transform": [{"filter": "datum.best == 'yes'"}], "encoding": {"order": {"field": "x"}}},
        {"mark": {"type": "rule", "opacity": 0.5},
         "transform": [{"filter": "isValid(datum.low)"},
                       {"calculate": "min(datum.high, top)", "as": "most"},
                       {"calculate": "max(datum.low, bottom)", "as": "least"}],
         "encoding": {"color": _COLOUR, "y": {**_Y, "field": "least"}, "y2": {"field": "most"}}},
        {"mark": {"type": "rule", "opacity": 0.25, "color": "$dim"},
         "encoding": {"x2": {"value": "width"}, "y2": {"field": "slot"}}},
        {"mark": {**_POINT, "size": 110},
         "encoding": {"color": _COLOUR, "shape": _SHAPE, "tooltip": _TOOLTIP}},
        {"mark": {**_POINT, "size": 60, "xOffset": 8},
         "encoding": {"x": {"value": "width"}, "y": {**_Y, "field": "slot"}, "color": _COLOUR,
                      "shape": _SHAPE, "tooltip": _TOOLTIP}},
        {"mark": {"type": "text", "align": "left", "baseline": "middle", "fontSize": 11,
                  "limit": "$limit", "xOffset": 16},
         "encoding": {"x": {"value": "width"}, "y": {**_Y, "field": "slot"},
                      "text": {"field": "label"}, "tooltip": _TOOLTIP}},
    ],
    "usermeta": {"columns": {"label": "method", "x": "$xTitle", "y": "$yTitle",
                             "low": "95 % interval from", "high": "to", "records": "records"}},
}  # fmt: skip

_OVER = {"field": "x", "type": "quantitative", "title": "$xTitle", "scale": {"domain": "$xDomain"},
         "axis": {"tickMinStep": 1, "tickCount": 5}}  # fmt: skip
CURVES = {
    "config": CONFIG, "data": {"values": "$data"},
    "facet": {"field": "label", "type": "nominal", "sort": "$labels"}, "columns": "$columns",
    "spec": {
        "width": "$width", "height": 100,
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.8},
             "encoding": {
                 "x": _OVER,
                 "y": {"field": "y", "type": "quantitative", "title": "$yTitle", "scale": "$yScale",
                       "axis": {"format": ".4~g", "tickCount": 4}},
                 "detail": {"field": "seed"},
                 "tooltip": [{"field": field} for field in ("label", "seed", "kind", "x", "y")],
                 "color": {"field": "kind", "type": "nominal", "legend": "$legend",
                           "scale": {"domain": "$kinds", "range": "$colours"}},
                 "strokeDash": {"field": "kind", "type": "nominal", "legend": "$legend",
                                "scale": {"domain": "$kinds", "range": "$dashes"}}}},
            {"mark": {"type": "rule", "color": COLLAPSE, "strokeWidth": 2, "strokeDash": [2, 2]},
             "transform": [{"filter": "isValid(datum.onset)"},
                           {"aggregate": [{"op": "count", "as": "points"}],
                            "groupby": ["label", "seed", "onset"]}],
             "encoding": {"x": {**_OVER, "field": "onset"},
                          "tooltip": [{"field": "seed"},
                                      {"field": "onset", "title": "collapsed in epoch"}]}},
        ],
    },
    "resolve": {"scale": {"y": "$resolve"}},
    "usermeta": {"columns": {"label": "method", "seed": "seed", "kind": "curve", "x": "$xTitle",
                             "y": "$yName", "onset": "collapsed in epoch", "records": "record"}},
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture of a table."""

    name: str  # of its files, without a suffix
    make: Callable[[], dict[str, Any]]  # of its specification; of most pictures nobody asks for it

    @classmethod
    def of(cls, name: str, spec: dict[str, Any]) -> Self:
        """Make a picture whose specification is there already."""
        return cls(name, lambda: spec)

    @functools.cached_property
    def spec(self) -> dict[str, Any]:
        """What draws it, with the data that it draws."""
        return self.make()

    @property
    def csv(self) -> str:
        """The data, with the records that each line is from."""
        titles = self.spec["usermeta"]["columns"]
        frame = pd.DataFrame(self.spec["data"]["values"], columns=list(titles))
        return frame.map(no_formula).rename(columns=titles).to_csv(index=False)

    @property
    def mark(self) -> str:
        """The end of its SVG, which tells whether it was drawn from the same data."""
        drawn = json.dumps([version(LIBRARY), self.spec], sort_keys=True)
        return f"<!-- drawn from {hashlib.sha256(drawn.encode()).hexdigest()} -->\n"

    def draw(self, folder: Path) -> None:
        """Write its files, the SVG last, unless they show the same already."""
        svg_file = folder / f"{self.name}.svg"
        if svg_file.is_file() and svg_file.read_bytes().endswith(self.mark.encode()):
            return
        svg = vl_convert.vegalite_to_svg(self.spec)
        write_bytes(folder / f"{self.name}.csv", self.csv.encode())
        write_bytes(folder / f"{self.name}.pdf", _settled(vl_convert.svg_to_pdf(svg)))
        write_bytes(svg_file, f"{svg}\n{self.mark}".encode())


def script(results: Path | None = None) -> str:
    """Return the drawing library as one script, which sets ``window.vegaEmbed``.

    Args:
        results: a folder that keeps it, since bundling takes 1.5 s.
    """
    if results is None:
        return _bundle()
    if kept := _kept(results / BUNDLE):
        return kept
    with suppress(OSError):  # as the cache of records: it costs time, and no page
        write_bytes(results / BUNDLE, f"{_sum(_bundle())}\n{_bundle()}".encode())
    return _bundle()


@functools.cache
def _bundle() -> str:
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def _kept(path: Path) -> str:
    """Read a bundle; "" if there is none, or it is damaged or of another version."""
    try:
        head, _, bundle = path.read_bytes().decode().partition("\n")
    except (OSError, UnicodeDecodeError):
        return ""
    return bundle if head == _sum(bundle) else ""


def _sum(bundle: str) -> str:
    return f"{version(LIBRARY)} {hashlib.sha256(bundle.encode()).hexdigest()}"


def looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each method a colour and a shape: that of its place among all methods by year and name.

    Those without a paper come last, so that a method of one's own changes nobody's colour.
    """
    order = sorted({*catalogue.names("methods"), *methods}, key=lambda name: (_year(name), name))
    turn = len(COLOURS) * len(SHAPES)
    return {
        name: (COLOURS[i % len(COLOURS)], SHAPES[(i + i // turn) % len(SHAPES)])
        for i, name in enumerate(order)
        if name in methods
    }


def _year(method: str) -> int:
    standard = sources.described(method, "Family") == "standard"  # has no paper
    return 0 if standard else sources.year(method) or 9999


@functools.cache
def paper_colours() -> dict[str, str]:
    """Read the colours of text, lines and axes on white from the page's style."""
    style = (Path(__file__).parent / "templates/leaderboard.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--(ink|dim|line): light-dark\((#\w+),", style))
    return {**found, "background": "white", "font": "sans-serif"}


def described() -> dict[str, Any]:
    """List what the page needs to draw the same pictures."""
    return {"scatter": SCATTER, "curves": CURVES, "attacks": ATTACKS, "other": OTHER,
            "units": UNITS, "state_unit": STATE_UNIT, "sweep": SWEEP, "panels": PANELS,
            "linear": LINEAR, "log": LOG, "paper": paper_colours()}  # fmt: skip


def pictures(view: dict[str, Any], details: dict[str, Any]) -> Iterator[Picture]:
    """Make the pictures that the page shows of each table when it opens, and of every curve.

    Args:
        view: of ``report.page``.
        details: likewise.
    """
    columns = {column["key"]: (i, column) for i, column in enumerate(view["columns"])}
    for group in view["groups"]:
        if all(axis in columns for axis in AXES):
            points = _points(group["rows"], columns, details)
            if points:
                name = f"{group['file']}-{AXES[1]}-over-{AXES[0]}"
                yield Picture(name, functools.partial(_scatter, points, columns))
        for trace in _traces(group["rows"], details):
            name = re.sub(r"[^A-Za-z0-9]+", "-", trace)
            make = functools.partial(_curves, group["rows"], trace, details)
            yield Picture(f"{group['file']}-{name}", make)


def draw(drawn: Iterable[Picture], folder: Path, most: int | None = None) -> int:
    """Write the files of the first pictures into a folder, and remove those of others.

    Args:
        most: files of how many; None: of all.

    Returns:
        How many pictures there are.
    """
    drawn, names = iter(drawn), set()
    for picture in itertools.islice(drawn, most):
        picture.draw(folder)
        names.add(picture.name)
    for old in folder.glob("*.*"):
        if old.suffix in KINDS and old.stem not in names:
            old.unlink()
    return len(names) + sum(1 for _ in drawn)


def filled(template: Any, values: dict[str, Any]) -> Any:
    """Fill the places of a template."""
    if isinstance(template, dict):
        return {key: filled(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    if isinstance(template, str) and template.startswith("$"):
        return values[template[1:]]
    return template


def _points(
    rows: Sequence[dict[str, Any]], columns: dict[str, Any], details: dict[str, Any]
) -> list[dict[str, Any]]:
    """List the rows that have a rank and both numbers."""
    (x, _), (y, _) = (columns[axis] for axis in AXES)
    return [
        {"label": row["label"], "x": xs[0], "y": ys[0], "low": ys[3], "high": ys[4],
         "colour": row["look"][0], "shape": row["look"][1],
         "records": " ".join(details["runs"][run]["folder"] for run in row["runs"])}
        for row in rows
        if not row["unfit"]  # nor has it a rank
        and isinstance(xs := row["cells"][x], list) and isinstance(ys := row["cells"][y], list)
    ]  # fmt: skip


def _scatter(data: Sequence[dict[str, Any]], columns: dict[str, Any]) -> dict[str, Any]:
    (_, x), (_, y) = (columns[axis] for axis in AXES)
    return scatter(data, f"{x['title']}, {x['unit']}", f"{y['title']}, {y['unit']}")


def scatter(
    data: Sequence[dict[str, Any]], x_title: str, y_title: str, *, is_cost: bool = True,
    bottom: float = 0,
) -> dict[str, Any]:  # fmt: skip
    """Make a picture of points, each with its name and, dashed, those that no other beats on both.

    Args:
        data: label, x, y in percent, low and high of y's interval, colour, shape, records.
        is_cost: whether less of x is better.
        bottom: where the axis of y begins.
    """
    names = min(190, 24 + 7.5 * max(len(point["label"]) for point in data))
    return filled(SCATTER, {
        **paper_colours(), "data": data, "limit": names - 18,
        "width": WIDTHS["scatter"] - names - 60, "height": max(320, GAP * len(data)),
        "bottom": bottom,
        "top": min(102, bottom + 1.3 * max(8, *(point["y"] - bottom for point in data))),
        "xTitle": f"{x_title} (less is better)" if is_cost else x_title, "yTitle": y_title,
        "worse": 1 if is_cost else -1, "step": "step-after" if is_cost else "linear",
        "xScale": LOG if is_cost and min(point["x"] for point in data) > 0 else LINEAR,
    })  # fmt: skip


def _traces(rows: Sequence[dict[str, Any]], details: dict[str, Any]) -> list[str]:
    """List what there is to trace: accuracies, then everything else that curves hold."""
    runs = [details["runs"][run] for row in rows for run in row["runs"]]
    names = dict.fromkeys(name for run in runs for name in run.get("curves", {}))
    others = [name for name in names if name != "epoch" and name not in ATTACKS]
    first = ["accuracy"] if any(name in ATTACKS for name in names) else []
    return [*first, *others, *([SWEEP] if any("sweep" in run for run in runs) else [])]


def _curves(rows: Sequence[dict[str, Any]], trace: str, details: dict[str, Any]) -> dict[str, Any]:
    by_row = [list(_lines(row, trace, details)) for row in rows]
    data = [
        point for points in [points for points in by_row if points][:PANELS] for point in points
    ]
    kinds = list(dict.fromkeys(point["kind"] for point in data))
    unit = UNITS.get(trace, STATE_UNIT)
    columns = WIDTHS["curves"] // 235
    return filled(CURVES, {
        **paper_colours(), "data": data, "kinds": kinds,
        "colours": [ATTACKS.get(kind, OTHER)[0] for kind in kinds],
        "dashes": [ATTACKS.get(kind, OTHER)[1] for kind in kinds],
        "labels": list(dict.fromkeys(point["label"] for point in data)),
        "legend": {} if len(kinds) > 1 else None, "columns": columns,
        "width": WIDTHS["curves"] // columns - 62,
        "xDomain": [min(point["x"] for point in data), max(point["x"] for point in data)],
        "xTitle": f"radius of the attack, {data[0]['swept']}" if trace == SWEEP else "epoch",
        "yTitle": f"{trace}, {unit}" if unit == "%" else [trace, unit], "yName": f"{trace}, {unit}",
        "yScale": {"domain": [0, 100]} if unit == "%" else {"zero": False, "nice": True},
        "resolve": "shared" if unit == "%" else "independent",
    })  # fmt: skip


def _lines(row: dict[str, Any], trace: str, details: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for run in row["runs"]:
        one = details["runs"][run]
        curves, onset = one.get("curves", {}), one.get("training", {}).get("onset")
        if trace == SWEEP:
            onset, found = None, one.get("sweep", {})
        else:
            kinds = ATTACKS if trace == "accuracy" else [trace]
            found = {kind: zip(curves["epoch"], curves[kind], strict=True)
                     for kind in kinds if kind in curves}  # fmt: skip
        for kind, points in found.items():
            yield from (
                {"label": row["label"], "seed": one["seed"], "kind": kind, "x": x, "y": y,
                 "onset": onset, "records": one["folder"]}
                | ({"swept": one["swept"]} if trace == SWEEP else {})
                for x, y in points
                if y is not None
            )  # fmt: skip


def _settled(pdf: bytes) -> bytes:
    """Sort the names of resources, which svg2pdf lists in any order; no place in the file moves."""
    names = re.compile(rb"(?:^ +/\w+ \d+ 0 R\n)+", re.MULTILINE)
    return names.sub(lambda found: b"".join(sorted(found[0].splitlines(keepends=True))), pdf)
