"""Pictures as Vega-Lite specifications; the page carries the script that draws them."""

import functools
from collections.abc import Iterator
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from report.table import REFERENCE, Group

# Okabe and Ito's palette, which colour-blind readers tell apart; shapes say the same again
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]


def accuracy_against_cost(group: Group) -> dict[str, Any] | None:
    """Draw AutoAttack accuracy over time per update; None if no row has both."""
    points = pd.DataFrame(
        {
            "method": row.label,
            "time": row.cells["time_ratio"].mean,
            "autoattack": row.cells["autoattack"].mean,
            "clean": row.cells["clean"].mean,
        }
        for row in group.rows
        if row.cells["time_ratio"].mean is not None and row.cells["autoattack"].mean is not None
    )
    if points.empty:
        return None
    methods = sorted(points["method"])
    cycle = range(len(methods))
    top = max(10.0, 1.1 * points["autoattack"].max())  # room for names, and for a row of zeros
    base = alt.Chart(points).encode(
        x=alt.X("time:Q", title=f"time of an update ({REFERENCE} = 1)").scale(
            type="log", domain=[0.8 * points["time"].min(), 1.4 * points["time"].max()]
        ),
        y=alt.Y("autoattack:Q", title="accuracy under AutoAttack, %").scale(domain=[0, top]),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("autoattack:Q", format=".2f"),
            alt.Tooltip("clean:Q", format=".2f"),
            alt.Tooltip("time:Q", format=".2f"),
        ],
    )
    marks = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.Color("method:N", legend=None).scale(
            domain=methods, range=[COLOURS[i % len(COLOURS)] for i in cycle]
        ),
        shape=alt.Shape("method:N", legend=None).scale(
            domain=methods, range=[SHAPES[i % len(SHAPES)] for i in cycle]
        ),
    )
    names = base.mark_text(align="left", dx=9, dy=-6).encode(text="method:N")
    chart = (marks + names).properties(width="container", height=280)
    spec: dict[str, Any] = chart.to_dict()
    return spec


def epsilon_overfitting(group: Group) -> dict[str, Any] | None:
    """Draw accuracy over the attack's radius, of each method's first seed that has a sweep."""
    points = pd.DataFrame(_swept(group))
    if points.empty:
        return None
    methods = sorted(set(points["method"]))
    chart = (
        alt.Chart(points)
        .mark_line(point={"size": 18})
        .encode(
            x=alt.X("k:Q", title="radius of the attack, 1/255"),
            y=alt.Y("accuracy:Q", title="accuracy, % (solid PGD-10, dashed FGSM)").scale(
                domain=[0, 100]
            ),
            color=alt.Color("method:N").scale(
                domain=methods, range=[COLOURS[i % len(COLOURS)] for i in range(len(methods))]
            ),
            strokeDash=alt.StrokeDash("attack:N", sort=["pgd10", "fgsm"], legend=None),
            tooltip=["method:N", "attack:N", "k:Q", alt.Tooltip("accuracy:Q", format=".1f")],
        )
        .properties(width="container", height=280)
    )
    spec: dict[str, Any] = chart.to_dict()
    return spec


def _swept(group: Group) -> Iterator[dict[str, Any]]:
    for row in group.rows:
        swept = [run.stages["eps_sweep"].measure for run in row.runs if run.has("eps_sweep")]
        for measure in swept[:1]:
            assert measure is not None, "a sweep that is done has a measure"
            for name, score in measure.scores.items():
                attack, _, radius = name.partition(" ")
                k = int(radius.partition("/")[0])
                yield {"method": row.label, "attack": attack, "k": k, "accuracy": score.accuracy}


@functools.cache
def script() -> str:
    """The drawing library as one script; puts ``vegaEmbed`` on the window."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle
