"""SEAT's weight of linearity, lam, with its own attack and with cross-entropy's.

The right panel is what the paper prints (CIFAR-10, its own network, 8/255, an attack of PGD that it
does not name): for the shape of it, not for its numbers. lam = 0 leaves out linearisation.

Figure: SEAT (arXiv:2210.05373), Table 3, and Table 4 without flooding.

Reads: trained runs of seat with several lam, and their evaluation pgd50_10 where there is any.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from report import printed, sources
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

KEYS = ("clean", "pgd10", "autoattack")
PANELS = {"margin": "attack on the margin", "ce": "attack on cross-entropy"}
PRINTED = "printed, CIFAR-10"


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table."""
    asked = [run for run in runs if run.config.method == "seat"]
    for name, group in parts.tables("seat_sweep", asked):
        points = []
        for one in parts.swept(group, "seat", "lam", KEYS, ["attack"]):
            chosen = sources.settings(one.run.config)
            if chosen["lam"] >= 0:  # below, it is the published one of the form
                points.append(one.point(panel=PANELS[chosen["attack"]], x=chosen["lam"]))
        panels = []
        for panel in PANELS.values():
            found = [point for point in points if point["panel"] == panel]
            if len({point["x"] for point in found}) > 1:
                y = parts.titled("accuracy, %", found)
                panels.append(_panel(panel, found, y))
        if not panels:
            continue
        table = [
            {"panel": PRINTED, "line": parts.title(KEYS[number.attack != "clean"]),
             "x": number.settings["lam"], "y": number.number, "seed": None, "n": None,
             "records": parts.file(printed.FOLDER / "seat.csv")}
            for number in printed.printed("seat")
            if number.table == "Table 3" and number.attack in ("clean", "pgd_unspecified")
        ]  # fmt: skip
        points += table
        panels.append(_panel(PRINTED, table, "accuracy, %"))
        columns = {"panel": "attack of training", "x": "lam", "line": "measured", "seed": "seed",
                   "n": "images", "y": "accuracy, %"}  # fmt: skip
        yield parts.picture(name, points, columns, {"hconcat": panels})


def _panel(title: str, points: Sequence[dict[str, Any]], y: str | Sequence[str]) -> Any:
    shown = {parts.title(key): parts.MEASURES[key] for key in KEYS}
    return parts.lines(
        title, shown, x="lam", y=y, ticks=[p["x"] for p in points], width=parts.NARROW
    )
