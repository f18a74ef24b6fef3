"""Small pictures of a method's runs, drawn by Vega-Lite here: a page with them needs no script."""

from collections.abc import Iterable, Sequence
from typing import Any

import vl_convert
from markupsafe import Markup

from evaluation.sweep import k_trained
from report.figures import ATTACKS, COLLAPSE
from report.told import Point, Told

LOOKS = {**ATTACKS, "PertAlign": ("#009E73", (1, 0))}  # colour and dashes
LARGE, SMALL = (340, 200), (210, 130)  # pixels, without the axes
EMPTY = Markup('<p class="dim">Not in the records.</p>')
CONFIG = {
    "background": "transparent", "font": "sans-serif", "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink)", "titleColor": "var(--ink)", "gridColor": "var(--line)",
        "domainColor": "var(--dim)", "tickColor": "var(--dim)", "labelFontSize": 11,
        "titleFontSize": 11, "titleFontWeight": "normal", "tickCount": 5,
    },
}  # fmt: skip


def by_epoch(one: Told) -> Markup:
    """Draw accuracy by epoch, and where collapses began."""
    return _panel(one.by_epoch(), one.onsets, x="epoch", y="% right", top=100, size=LARGE)


def by_radius(one: Told) -> Markup:
    """Draw accuracy by radius, and the trained radius."""
    unit = next((run.swept.unit for run in one.runs if run.swept), "")
    return _panel(
        one.by_radius(), [k_trained(one.eps, unit)], x=f"radius, 1{unit}", y="% right", top=100,
        size=SMALL,
    )  # fmt: skip


def alignment(one: Told) -> Markup:
    """Draw PertAlign by epoch, and where collapses began."""
    return _panel(one.alignment(), one.onsets, x="epoch", y="PertAlign", top=1, size=SMALL)


def _panel(
    points: Iterable[Point], upright: Sequence[float], *, x: str, y: str, top: float,
    size: tuple[int, int],
) -> Markup:  # fmt: skip
    """Draw a line a run and kind, and upright rules."""
    points = list(points)
    if not points:
        return EMPTY
    kinds = sorted({point.kind for point in points})
    across = {"field": "x", "type": "quantitative", "title": x, "scale": {"nice": False},
              "axis": {"tickMinStep": 1}}  # fmt: skip
    domain = [min(0.0, *(point.y for point in points)), top]
    colours, dashes = zip(*(LOOKS[kind] for kind in kinds), strict=True)
    lines = {
        "mark": {"type": "line", "strokeWidth": 1.8, "opacity": 0.85},
        "data": {"values": [point._asdict() for point in points]},
        "encoding": {
            "x": across, "detail": {"field": "run"},
            "y": {"field": "y", "type": "quantitative", "title": y, "scale": {"domain": domain}},
            "color": _look(kinds, colours), "strokeDash": _look(kinds, dashes),
        },
    }  # fmt: skip
    rules = {
        "mark": {"type": "rule", "strokeDash": [2, 2], "strokeWidth": 1.5, "color": COLLAPSE},
        "data": {"values": [{"x": at} for at in upright]},
        "encoding": {"x": across},
    }
    spec = {"config": CONFIG, "width": size[0], "height": size[1],
            "layer": [lines, rules] if upright else [lines]}  # fmt: skip
    return Markup(vl_convert.vegalite_to_svg(spec))  # noqa: S704  # Vega escapes texts


def _look(kinds: list[str], looks: Sequence[Any]) -> dict[str, Any]:
    scale = {"domain": kinds, "range": looks}
    return {"field": "kind", "type": "nominal", "legend": None, "scale": scale}
