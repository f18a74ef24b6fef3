"""Phase diagram of collapse: what became of training, over the radius and the step.

A cell is coloured by the verdict on most of its runs, by the worst of as many, and says on how many
of its seeds. A thick outline marks cells with a neighbour of another verdict: there the border
runs, and `python -m bench refine SUITE` prints the suite that divides it. A place without a cell
has no run.

Figure: of no paper.

Reads: trained runs of one method that differ in two numbers: the radius and a setting, or two
    settings.
"""

from collections.abc import Iterator, Sequence

from bench.runs.record import TRAIN
from report import sources
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.phase import EPS, VERDICTS, Phases, phases

TITLES = {EPS: "radius of training, 1/255", "alpha": "step, in units of eps"}

# told apart in grey by their lightness, and by the words in each cell
COLOURS = {"collapsed": "#D55E00", "recovered": "#E69F00", "did not learn": "#C8C8C8",
           "never robust": "#8398AE", "healthy": "#DDF0E9"}  # fmt: skip
WIDTH, HEIGHT = 92, 46  # pixels of a cell


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture for each method whose runs vary in two numbers."""
    found = [one for one in phases(runs) if one.cells]
    for i, one in enumerate(found, 1):
        yield _picture(one, f"phase-{one.method}" + (f"-{i}" if len(found) > 1 else ""))


def _picture(one: Phases, name: str) -> Picture:
    points = [
        {
            "x": f"{cell.x:g}", "y": f"{cell.y:g}", "verdict": cell.verdict,
            "seeds": f"{cell.outcomes.count(cell.verdict)} of {len(cell.outcomes)}",
            "border": "border" if cell.border else "",
            "records": " ".join(parts.record(run, TRAIN) for run in cell.runs),
        }
        for cell in one.cells
    ]  # fmt: skip
    axes = {
        way: {"field": way, "type": "ordinal", "title": TITLES.get(number, number),
              "sort": [f"{value:g}" for value in sorted(values, reverse=way == "y")],
              "axis": {"labelAngle": 0, "grid": False}, "scale": {"padding": 0}}
        for way, number, values in (("x", one.x, {cell.x for cell in one.cells}),
                                    ("y", one.y, {cell.y for cell in one.cells}))
    }  # fmt: skip
    colour = {"field": "verdict", "type": "nominal", "title": None,
              "scale": {"domain": [*VERDICTS], "range": [COLOURS[word] for word in VERDICTS]},
              "legend": {"symbolType": "square"}}  # fmt: skip
    outline = {"type": "rect", "filled": False, "stroke": "black", "strokeWidth": 3,
               "width": WIDTH - 4, "height": HEIGHT - 4}  # fmt: skip
    text = {"type": "text", "fontSize": 11, "color": "black"}
    of = [found for cell in one.cells for run in cell.runs if (found := run.training)]
    n = " or ".join(map(str, sorted({found.probe_images for found in of})))
    columns = {"x": one.x, "y": one.y, "verdict": "verdict", "seeds": "seeds of that verdict",
               "border": "border"}  # fmt: skip
    return parts.picture(name, points, columns, {
        "title": [f"{sources.title(one.method)}: verdict, and on how many seeds; thick: the border",
                  f"n = {n or 0} test images after every epoch"],
        "width": {"step": WIDTH}, "height": {"step": HEIGHT}, "encoding": axes,
        "layer": [
            {"mark": {"type": "rect", "stroke": "white"}, "encoding": {"color": colour}},
            {"mark": outline, "transform": [{"filter": "datum.border != ''"}]},
            {"mark": {**text, "dy": -6}, "encoding": {"text": {"field": "verdict"}}},
            {"mark": {**text, "dy": 8}, "encoding": {"text": {"field": "seeds"}}},
        ],
    })  # fmt: skip
