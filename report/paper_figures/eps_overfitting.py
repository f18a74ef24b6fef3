"""Epsilon overfitting: accuracy over the radius of the attack, of several methods in one picture.

A sound network loses accuracy with every larger radius. One that has learnt the step of its
training finds it again near the trained radius (upright line), under FGSM and not under PGD-10. Its
number, EO, is the largest rise of FGSM accuracy from one radius to the next, up to 1.5 of the
trained one: above 0 where there is any. Lines are means over seeds, thin ones the seeds.

Figure: SORA (arXiv:2606.00738), epsilon overfitting.

Reads: trained runs and their evaluation eps_sweep.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.runs.record import SWEEP
from evaluation.sweep import k_trained
from report import sweep
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._parts import WIDTH

ATTACKS = {"fgsm": "FGSM", "pgd10": "PGD-10"}


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table."""
    for name, group in parts.tables("eps_overfitting", filter(sweep.of, runs)):
        points = []
        for row in group.rows:
            for run in row.runs:
                common = {"line": row.title, "seed": run.config.seed,
                          "records": parts.record(run, SWEEP)}  # fmt: skip
                points += [
                    {"panel": ATTACKS[point.attack], "x": point.k, "y": point.accuracy,
                     "n": point.n, **common}
                    for point in sweep.points(sweep.of(run))
                ]  # fmt: skip
                if judged := sweep.judge(run):
                    n = points[-1]["n"]
                    points.append({"panel": "EO", "x": judged.eo, "y": None, "n": n, **common})
        shown = {row.title: row.method for row in group.rows}
        looks = parts.of_methods(shown.values())
        lines = {title: looks[method] for title, method in shown.items()}
        lines = dict(sorted(lines.items(), key=lambda item: [*looks.values()].index(item[1])))
        unit = next(found.unit for row in group.rows for found in map(sweep.of, row.runs) if found)
        trained = k_trained(group.facts.eps, unit)
        means = [point for point in points if point["panel"] != "EO"]
        panels = [
            parts.lines(
                title, lines, at=trained, x=f"radius of the attack, 1{unit}",
                y=parts.titled("accuracy, %", means),
            )
            for title in ATTACKS.values()
        ]  # fmt: skip
        columns = {"panel": "attack", "line": "method", "seed": "seed", "n": "images",
                   "x": f"radius, 1{unit}; of EO: points", "y": "accuracy, %"}  # fmt: skip
        view = {"vconcat": [{"hconcat": panels}, _numbers(lines)]}
        yield parts.picture(name, points, columns, view)


def _numbers(lines: dict[str, parts.Look]) -> dict[str, Any]:
    across = {"field": "x", "type": "quantitative",
              "title": "EO: largest rise of FGSM accuracy between two radii, points; right: means",
              "scale": {"zero": True, "padding": 12}}  # fmt: skip
    down = {"field": "line", "type": "nominal", "title": None, "sort": list(lines)}
    return {
        "width": 2 * WIDTH, "height": {"step": parts.GAP},
        "transform": [{"filter": {"field": "panel", "equal": "EO"}}],
        "layer": [
            {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.8},
             "encoding": {"x": across, "y": down, **parts.look(lines, "color", "shape")}},
            {"mark": {"type": "text", "align": "left", "fontSize": 11},
             "encoding": {"x": {"value": 2 * WIDTH + 8}, "y": down,
                          "text": {"field": "x", "aggregate": "mean", "format": "+.1f"}}},
        ],
    }  # fmt: skip
