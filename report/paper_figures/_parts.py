"""What the figures share: names of record files, what runs measured, and panels to draw it in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.runs import catalogue, evaluations
from bench.runs.ending import plural
from report import sources
from report.collect import RunRecords
from report.columns import COLUMNS, Column
from report.figures import ATTACKS, COLOURS, CONFIG, SHAPES, Picture, filled, looks, paper_colours
from report.groups import Group, groups
from report.rows import Row

DASHES = ((1, 0), (6, 2), (2, 2), (9, 2, 2, 2), (4, 4), (12, 3))
WIDTH, HEIGHT = 250, 210  # pixels of a panel
GAP = 18  # pixels of a row of a table, or of dots


class Look(NamedTuple):
    """How a line is told from others, with colours and without."""

    colour: str
    dash: tuple[int, ...]
    shape: str


# of what is measured: an attack looks the same everywhere, by its column's key
MEASURES = {
    "clean": Look(*ATTACKS["clean"], "circle"),
    "fgsm": Look(*ATTACKS["fgsm"], "square"),
    "pgd10": Look(*ATTACKS["pgd10"], "triangle-up"),
    "autoattack": Look("#D55E00", (2, 2), "diamond"),
    "pgd20": Look(*ATTACKS["pgd10"], "triangle-up"),
    "square": Look("#009E73", (9, 2, 2, 2), "cross"),
    "apgd_dlr_targeted": Look("#CC79A7", (4, 4), "triangle-down"),
}


class Measured(NamedTuple):
    """One number of one run."""

    row: Row
    run: RunRecords
    column: Column
    value: float
    n: int  # images

    def point(self, **more: Any) -> dict[str, Any]:
        """Make a point of it, to which a figure adds where it stands."""
        return {
            "line": self.column.title, "y": self.value, "seed": self.run.config.seed, "n": self.n,
            "records": record(self.run, self.column.stage), **more,
        }  # fmt: skip


def record(run: RunRecords, *stages: str) -> str:
    """Name the record files of a run, as a column "records" has them."""
    return " ".join(f"{run.folder}/{stage}.json" for stage in stages)


def tables(name: str, runs: Iterable[RunRecords]) -> Iterator[tuple[str, Group]]:
    """Yield the tables of some runs, each with the name of its picture."""
    found = groups(runs)
    for group in found:
        yield (name if len(found) == 1 else f"{name}-{group.file_name}"), group


def measured(group: Group, keys: Sequence[str]) -> Iterator[Measured]:
    """Yield what the runs of a table measured of some columns, by key."""
    columns = {column.key: column for column in group.columns}
    for row in group.rows:
        for column in (columns[key] for key in keys if key in columns):
            for run in row.runs:
                if found := reading(run, column):
                    yield Measured(row, run, column, *found)


def reading(run: RunRecords, column: Column) -> tuple[float, int] | None:
    """Return a run's number of a column and its images; None if it has none."""
    if not run.has(column.stage):
        return None
    body = run.records[column.stage].body
    value = column.value(body)
    return None if value is None else (value, column.images(body) if column.images else 0)


def swept(
    group: Group, method: str, setting: str, keys: Sequence[str], others: Sequence[str] = ()
) -> Iterator[Measured]:
    """Yield what runs of a method measured that differ from the published one in a setting.

    Args:
        others: settings that may differ as well.
    """
    published = catalogue.default_settings(method)
    for one in measured(group, keys):
        if one.row.method != method:
            continue
        chosen = sources.settings(one.run.config)
        if all(chosen[k] == v for k, v in published.items() if k not in (setting, *others)):
            yield one


def counted(points: Iterable[Mapping[str, Any]]) -> str:
    """Say how many images and seeds points are of: "n = 500, 3 seeds"."""
    points = list(points)
    images = " or ".join(map(str, sorted({point["n"] for point in points})))
    seeds = len({point["seed"] for point in points})
    return f"n = {images}, {plural(seeds, 'seed')}"


def of_rows(rows: Iterable[Row], key: str) -> str:
    """Say the same of what rows measured of a column."""
    return counted(
        {"n": n, "seed": run.config.seed}
        for row in rows for run in row.runs for n in row.cells[key].images
    )  # fmt: skip


def title(key: str) -> str:
    """Name an attack as the heads of tables do, by its column's key."""
    own = {column.key: column.title for column in COLUMNS}
    return own.get(key) or evaluations.read(key).title


def of_methods(methods: Iterable[str]) -> dict[str, Look]:
    """Give each method its look: colour and shape are the same in all pictures, dashes in one."""
    found = looks(list(dict.fromkeys(methods)))
    return {
        name: Look(colour, DASHES[i % len(DASHES)], shape)
        for i, (name, (colour, shape)) in enumerate(found.items())
    }


def picture(
    name: str, points: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
    view: Mapping[str, Any],
) -> Picture:  # fmt: skip
    """Make a picture of points.

    Args:
        columns: of its CSV, title by field.
        view: what is drawn, as Vega-Lite has it, without data and settings.
    """
    config = filled(CONFIG, paper_colours())
    ink = paper_colours()["ink"]
    config["legend"] = {k: v for k, v in config["legend"].items() if not k.startswith("symbol")}
    config["legend"] |= {
        "symbolSize": 90,
        "symbolOpacity": 1,
        "columns": 6,
        "labelLimit": 260,
        "symbolStrokeWidth": 0,
    }  # dashes would fray the shapes
    config["title"] = {"color": ink, "fontSize": 12, "fontWeight": "normal", "anchor": "start"}
    spec = {"config": config, "data": {"values": list(points)}, **view,
            "usermeta": {"columns": {**columns, "records": "records"}}}  # fmt: skip
    return Picture.of(name, spec)


def lines(
    title: str,
    shown: Mapping[str, Look],
    *,
    x: str,
    y: str,
    log: bool = False,
    at: float | None = None,
    width: int = WIDTH,
    domain: Sequence[float] | None = (0, 100),
    dots: int = 38,
) -> dict[str, Any]:
    """Make a panel of lines over x: bold the mean over seeds, thin each seed.

    It draws the points whose field "panel" is its title.

    Args:
        shown: how the lines look that its points name in the field "line".
        x: title of the axis.
        y: likewise.
        at: where an upright rule stands.
        domain: of y; None: that of the points.
        dots: size of the points on a line; 0: none, where there are hundreds.
    """
    across: dict[str, Any] = {
        "field": "x", "type": "quantitative", "title": x,
        "scale": {"type": "log" if log else "linear", "nice": False, "padding": 8}
        | ({} if log else {"zero": False}),
        "axis": {"grid": False, "format": ".4~g"},
    }  # fmt: skip
    up = {"field": "y", "type": "quantitative", "title": y,
          "scale": {"domain": [*domain]} if domain else {"zero": False}}  # fmt: skip
    mean = {"x": across, "y": {**up, "aggregate": "mean"}}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 0.8, "opacity": 0.45},
         "encoding": {"x": across, "y": up, "detail": {"field": "seed"},
                      **look(shown, "color", "strokeDash")}},
        {"mark": {"type": "line", "strokeWidth": 2},
         "encoding": {**mean, **look(shown, "color", "strokeDash")}},
        {"mark": {"type": "point", "filled": True, "opacity": 1, "size": dots},
         "encoding": {**mean, **look(shown, "color", "shape")}},
    ]  # fmt: skip
    for layer in layers:
        layer["transform"] = [{"filter": {"field": "panel", "equal": title}}]
    if at is not None:
        rule = {"type": "rule", "strokeDash": [2, 2], "color": paper_colours()["dim"]}
        layers.insert(0, {"mark": rule, "data": {"values": [{"x": at}]}, "encoding": {"x": across}})
    named = {} if title == x else {"title": title}
    return {**named, "width": width, "height": HEIGHT, "layer": layers}


def look(shown: Mapping[str, Look], *channels: str) -> dict[str, Any]:
    """Make the encodings that tell lines apart by the field "line"."""
    values = {"color": [one.colour for one in shown.values()],
              "strokeDash": [one.dash for one in shown.values()],
              "shape": [one.shape for one in shown.values()]}  # fmt: skip
    return {
        channel: {"field": "line", "type": "nominal", "title": None,
                  "scale": {"domain": list(shown), "range": values[channel]}}
        for channel in channels
    }  # fmt: skip


def dots(
    names: Sequence[str], shown: Mapping[str, Look], *, x: str, width: int = 2 * WIDTH
) -> dict[str, Any]:
    """Make a panel with a name a line, in the field "name": means over seeds, and their range.

    Points whose field "hollow" is true are drawn so.
    """
    across = {"field": "y", "type": "quantitative", "title": x, "scale": {"zero": False}}
    down = {"field": "name", "type": "nominal", "title": None, "sort": list(names),
            "scale": {"domain": list(names)},
            "axis": {"grid": True, "labelLimit": 300}}  # fmt: skip
    mark = {"type": "point", "size": 60, "opacity": 1, "strokeWidth": 1.6}
    mean = {"x": {**across, "aggregate": "mean"}, "y": down, **look(shown, "color", "shape")}
    return {
        "width": width, "height": {"step": GAP},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 1.5},
             "encoding": {"x": {**across, "aggregate": "min"},
                          "x2": {"field": "y", "aggregate": "max"}, "y": down,
                          **look(shown, "color")}},
            {"mark": {**mark, "filled": True}, "transform": [{"filter": "!datum.hollow"}],
             "encoding": mean},
            {"mark": {**mark, "filled": False, "fill": "white"},
             "transform": [{"filter": "datum.hollow"}], "encoding": mean},
        ],
    }  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, int]]) -> Any:
    """Make a table: rows of texts by field, under heads.

    Args:
        columns: head and pixels by field; a field whose texts are numbers is set to the right.
    """
    layers: list[dict[str, Any]] = []
    place, height = 0, GAP * (len(rows) + 1)
    down = {"field": "at", "type": "quantitative", "axis": None,
            "scale": {"domain": [height, 0], "nice": False}}  # fmt: skip
    for field, (head, pixels) in columns.items():
        is_text = not any(str(row[field])[:1].isdigit() for row in rows)
        at = place if is_text else place + pixels - 12
        mark = {"type": "text", "fontSize": 11, "baseline": "middle", "x": at,
                "align": "left" if is_text else "right"}  # fmt: skip
        layers += [
            {"mark": {**mark, "fontWeight": "bold", "y": 0, "text": head},
             "data": {"values": [{}]}},
            {"mark": mark,
             "transform": [{"window": [{"op": "row_number", "as": "i"}]},
                           {"calculate": f"{GAP} * datum.i", "as": "at"}],
             "encoding": {"y": down, "text": {"field": field, "type": "nominal"}}},
        ]  # fmt: skip
        place += pixels
    return {"width": place, "height": height, "layer": layers}


def shade(i: int) -> Look:
    """Give a line a look by its place, where it is neither a method nor an attack."""
    return Look(COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)], SHAPES[i % len(SHAPES)])
