"""TRADES' weight beta: clean accuracy against robust accuracy.

The upright line is TRADES' own value, 6; SOAR's tables take 9.

Figure: SOAR (arXiv:2004.01832), Table 17.

Reads: trained runs of trades with several beta.
"""

from collections.abc import Iterator, Sequence

from bench.runs import catalogue
from report import sources
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

KEYS = ("clean", "fgsm", "pgd10", "autoattack")


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table."""
    published = catalogue.default_settings("trades")["beta"]
    lines = {parts.title(key): parts.MEASURES[key] for key in KEYS}
    for name, group in parts.tables("trades_beta", runs):
        points = [
            one.point(panel="TRADES", x=sources.settings(one.run.config)["beta"])
            for one in parts.swept(group, "trades", "beta", KEYS)
        ]
        if len({point["x"] for point in points}) > 1:
            columns = {"x": "beta", "line": "measured", "seed": "seed", "n": "images",
                       "y": "accuracy, %"}  # fmt: skip
            view = parts.lines("TRADES", lines, x="beta", log=True, at=published, width=340,
                               ticks=[published, *(point["x"] for point in points)],
                               y=parts.titled("accuracy, %", points))  # fmt: skip
            yield parts.picture(name, points, columns, view)
