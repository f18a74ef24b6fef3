"""SORA's hyperparameters, one changed at a time: alpha_0, beta and alpha_max.

alpha_0 is tau, in units of alpha_max as in the released code; beta is theta, the weight of the
newest batch in c. The upright line is the published value. Where c saturates, alpha_0 and beta do
nothing: the step is alpha_max in every batch. Lines are means over seeds, thin ones the seeds.

Figure: SORA (arXiv:2606.00738), sensitivity to its hyperparameters.

Reads: trained runs of sora with other tau, theta and alpha_max.
"""

from collections.abc import Iterator, Sequence

from bench.runs import catalogue
from report import sources
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

KEYS = ("clean", "fgsm", "pgd10")
SETTINGS = {"tau": "alpha_0, in units of alpha_max", "theta": "beta",
            "alpha_max": "alpha_max, in units of eps"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table, with a panel for each setting that has several values."""
    published = catalogue.default_settings("sora")
    asked = [run for run in runs if run.config.method == "sora"]
    for name, group in parts.tables("sora_sweep", asked):
        points, panels = [], []
        for setting, title in SETTINGS.items():
            found = [
                one.point(panel=title, x=sources.settings(one.run.config)[setting])
                for one in parts.swept(group, "sora", setting, KEYS)
            ]
            if len({point["x"] for point in found}) > 1:
                points += found
                panels.append(parts.lines(
                    title, {parts.title(key): parts.MEASURES[key] for key in KEYS}, log=True,
                    x=title, y=parts.titled("accuracy, %", found), at=published[setting],
                    width=parts.NARROW, ticks=[point["x"] for point in found],
                ))  # fmt: skip
        if panels:
            columns = {"panel": "setting", "x": "its value", "line": "attack", "seed": "seed",
                       "n": "images", "y": "accuracy, %"}  # fmt: skip
            yield parts.picture(name, points, columns, {"hconcat": panels})
