"""What the figures share: names of record files, what runs measured, and panels to draw it in."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs import catalogue, evaluations
from bench.runs.ending import plural
from report import figures, sources
from report.collect import RunRecords
from report.columns import COLUMNS, Column
from report.figures import ATTACKS, COLOURS, CONFIG, SHAPES, Picture, filled, paper_colours
from report.groups import Group, groups
from report.rows import Row

DASHES = ((1, 0), (6, 2), (2, 2), (9, 2, 2, 2), (4, 4), (12, 3))
WIDTH, HEIGHT = 250, 210  # pixels of a panel
NARROW = 200  # of one of three in a row, so that 11 pixels are 6.5 pt on a page 180 mm wide
GAP = 18  # pixels of a row of a table, or of dots
PLACE = ("panel", "name", "line", "update", "x")  # fields that tell one mean from another


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


def records(runs: Iterable[RunRecords], *stages: str) -> list[str]:
    """Name the record files of some runs, of those stages that they have."""
    return [record(run, stage) for run in runs for stage in stages if run.has(stage)]


def file(path: Path) -> str:
    """Name a file of the repository likewise, where points are from no record."""
    return path.relative_to(catalogue.ROOT).as_posix()


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


def titled(title: str, points: Iterable[Mapping[str, Any]]) -> list[str]:
    """Write the title of an axis, and below it how many images and seeds a mean is of."""
    return [title, counted(points)]


def counted(points: Iterable[Mapping[str, Any]]) -> str:
    """Say how many images and seeds a mean of points is of: "n = 360, PGD-20 100, 1 to 3 seeds".

    Points are of one mean if they differ in neither place nor line.
    """
    images: dict[str, set[int]] = defaultdict(set)
    seeds: dict[tuple[Any, ...], set[int]] = defaultdict(set)
    for point in points:
        images[point.get("line", "")].add(point["n"])
        seeds[tuple(point.get(key) for key in PLACE)].add(point["seed"])
    texts = {line: " or ".join(map(str, sorted(found))) for line, found in images.items()}
    ((usual, _),) = Counter(texts.values()).most_common(1)
    others = [f", {line} {text}" for line, text in texts.items() if text != usual]
    return f"n = {usual}{''.join(others)}, {of_seeds(len(found) for found in seeds.values())}"


def of_seeds(numbers: Iterable[int]) -> str:
    """Say how many seeds each of some means is of: "3 seeds", or "1 to 3 seeds"."""
    least, most = min(numbers := [*numbers]), max(numbers)
    return f"{least} to {most} seeds" if least < most else plural(most, "seed")


def of_rows(rows: Sequence[Row], key: str) -> str:
    """Say of how many images and seeds the means of rows are, by a column's key."""
    cells = [row.cells[key] for row in rows]
    images = " or ".join(map(str, sorted({n for cell in cells for n in cell.images})))
    return f"n = {images}, {of_seeds(cell.n for cell in cells)}"


class Compared(NamedTuple):
    """A row of a table as a point between two axes."""

    row: Row
    x: float
    key: str  # of the column upwards
    records: Sequence[str]  # files that it is drawn from


def compared(name: str, rows: Sequence[Compared], x: str, y: str, *, is_cost: bool) -> Picture:
    """Make a picture of rows between two axes.

    Args:
        x: title of the axis, and its unit.
        y: likewise; how many images and seeds the points are of is added.
        is_cost: whether less of x is better.
    """
    looked = figures.looks([one.row.method for one in rows])
    several = len({one.row.cells[one.key].n for one in rows}) > 1
    points = []
    for row, across, key, records in rows:
        cell, (colour, shape) = row.cells[key], looked[row.method]
        low, high = cell.interval or (None, None)
        points.append({
            "label": row.title + (f", {of_seeds([cell.n])}" if several else ""),
            "x": across, "y": cell.mean, "low": low, "high": high, "colour": colour, "shape": shape,
            "seeds": cell.n, "n": " or ".join(map(str, cell.images)), "records": " ".join(records),
        })  # fmt: skip
    # room for the points alone: an interval of two seeds may be the whole axis
    bottom = 10 * max(0, min(one.row.cells[one.key].mean or 0 for one in rows) // 10 - 1)
    n = of_rows([one.row for one in rows], rows[0].key)
    spec = figures.scatter(points, x, f"{y}, {n}", is_cost=is_cost, bottom=bottom)
    titles = spec["usermeta"]["columns"]
    records_title = titles.pop("records")
    titles |= {"seeds": "seeds", "n": "images", "records": records_title}
    return Picture.of(name, spec)


def title(key: str) -> str:
    """Name an attack as the heads of tables do, by its column's key."""
    own = {column.key: column.title for column in COLUMNS}
    return own.get(key) or evaluations.read(key).title


def of_methods(methods: Iterable[str]) -> dict[str, Look]:
    """Give each method its look: its own colour, and dashes and a shape that no other has here.

    The shape is that of all pictures, unless one before it has it.
    """
    found: dict[str, Look] = {}
    for i, (name, (colour, own)) in enumerate(figures.looks(list(dict.fromkeys(methods))).items()):
        taken = {look.shape for look in found.values()}
        shape = next((one for one in (own, *SHAPES) if one not in taken), own)
        found[name] = Look(colour, DASHES[i % len(DASHES)], shape)
    return found


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
    x: str | Sequence[str],
    y: str | Sequence[str],
    log: bool = False,
    at: float | None = None,
    ticks: Iterable[float] = (),
    width: int = WIDTH,
    domain: Sequence[float] | None = (0, 100),
    dots: int = 38,
    mean_of: str | None = None,
) -> dict[str, Any]:
    """Make a panel of lines over x: bold the mean over seeds, thin each seed.

    It draws the points whose field "panel" is its title.

    Args:
        shown: how the lines look that its points name in the field "line".
        x: title of the axis.
        y: likewise.
        at: where an upright rule stands.
        ticks: numbers on the axis of x; none: round ones.
        domain: of y; None: that of the points.
        dots: size of the points on a line; 0: none, where there are hundreds.
        mean_of: field of those points that count in the mean; None: all.
    """
    across: dict[str, Any] = {
        "field": "x", "type": "quantitative", "title": x,
        "scale": {"type": "log" if log else "linear", "nice": False, "padding": 8}
        | ({} if log else {"zero": False}),
        "axis": {"grid": False, "format": ".6~g", **({} if log else {"tickCount": 6})},
    }  # fmt: skip
    if values := sorted(set(ticks)):
        across["axis"]["values"] = values
    up = {"field": "y", "type": "quantitative", "title": y,
          "scale": {"domain": [*domain]} if domain else {"zero": False}}  # fmt: skip
    mean = {"x": across, "y": {**up, "aggregate": "mean"}}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "strokeWidth": 1, "opacity": 0.55},
         "encoding": {"x": across, "y": up, "detail": {"field": "seed"},
                      **look(shown, "color", "strokeDash")}},
        {"mark": {"type": "line", "strokeWidth": 2},
         "encoding": {**mean, **look(shown, "color", "strokeDash")}},
        {"mark": {"type": "point", "filled": True, "opacity": 1, "size": dots},
         "encoding": {**mean, **look(shown, "color", "shape")}},
    ]  # fmt: skip
    for layer in layers:
        layer["transform"] = [{"filter": {"field": "panel", "equal": title}}]
    for layer in layers[1:] if mean_of else ():
        layer["transform"].append({"filter": {"field": mean_of, "equal": True}})
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
    names: Sequence[str], shown: Mapping[str, Look], *, x: str | Sequence[str],
    width: int = 2 * WIDTH,
) -> dict[str, Any]:  # fmt: skip
    """Make a panel with a name a line, in the field "name": means over seeds, and their range.

    The lines of a name stand below each other. Points whose field "hollow" is true are drawn so.
    """
    across = {"field": "y", "type": "quantitative", "title": x,
              "scale": {"zero": False, "nice": False, "padding": 12}}  # fmt: skip
    down = {"field": "name", "type": "nominal", "title": None, "sort": list(names),
            "scale": {"domain": list(names)},
            "axis": {"grid": True, "tickBand": "extent", "labelLimit": 300}}  # fmt: skip
    apart = {"field": "line", "type": "nominal", "sort": list(shown),
             "scale": {"domain": list(shown)}}  # fmt: skip
    mark = {"type": "point", "size": 45, "opacity": 1, "strokeWidth": 1.4}
    place = {"y": down, "yOffset": apart}
    mean = {"x": {**across, "aggregate": "mean"}, **place, **look(shown, "color", "shape")}
    return {
        "width": width, "height": {"step": max(GAP, 6 * len(shown)), "for": "position"},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 1.5},
             "encoding": {"x": {**across, "aggregate": "min"},
                          "x2": {"field": "y", "aggregate": "max"}, **place,
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
        is_text = not any(str(row[field]).lstrip("-")[:1].isdigit() for row in rows)
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
