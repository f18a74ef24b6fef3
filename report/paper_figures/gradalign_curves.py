"""Training by update: accuracies, gradient alignment, and the cosine of FGSM's and PGD's moves.

Accuracies are taken after every epoch, cosines at the updates that the suite names, both on the
first test images. After catastrophic overfitting FGSM accuracy is high, and the rest near 0. Bold
is the mean, at updates at which all seeds of a method were read, if all ended collapsed or none.

Figure: GradAlign (arXiv:2007.02617), Figure 4.

Reads: trained runs, with gradient_alignment and cos_fgsm_pgd measured while training, and their
    curves.safetensors.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.runs.record import TRACES, TRAIN
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.paper_figures._updates import watched

ACCURACIES = {"clean": "clean", "fgsm": "FGSM", "pgd10": "PGD-10"}
COSINES = {"gradient_alignment": "gradient alignment", "cos_fgsm_pgd": "cos(FGSM, PGD-10)"}
MOST_DOTS = 50  # of a line
COLUMNS = {"panel": "what", "line": "method", "seed": "seed", "x": "update", "y": "% or cosine",
           "n": "images"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table, of the runs of which cosines were measured."""
    for name, group in parts.tables("gradalign_curves", runs):
        methods = sorted(group.rows, key=lambda row: row.label)
        points = [{"line": row.title, **point}
                  for row in methods for run in row.runs for point in _points(run)]  # fmt: skip
        if not points:
            continue
        points = [*_marked(points)]
        looks = parts.of_methods(row.method for row in methods)
        shown = {row.title: looks[row.method] for row in methods
                 if any(point["line"] == row.title for point in points)}  # fmt: skip
        x = f"update, at {group.facts.eps}"
        rows = [_row(ACCURACIES, points, shown, x=x, y="accuracy, %", domain=(0, 100)),
                _row(COSINES, points, shown, x=x, y="cosine", domain=(-0.1, 1))]  # fmt: skip
        view = {"vconcat": [{"hconcat": row} for row in rows]}
        yield parts.picture(name, points, COLUMNS, view)


def _marked(points: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say of each point whether it counts in a mean: all seeds were read there, and ended alike."""
    seeds: dict[tuple[str, str], set[int]] = defaultdict(set)
    endings: dict[str, set[bool]] = defaultdict(set)
    for point in points:
        seeds[point["panel"], point["line"]].add(point["seed"])
        endings[point["line"]].add(point["collapsed"])
    read = Counter((point["panel"], point["line"], point["x"]) for point in points)
    for point in points:
        panel, line = point["panel"], point["line"]
        by_all = read[panel, line, point["x"]] == len(seeds[panel, line])
        yield {**point, "whole": by_all and len(endings[line]) == 1}


def _row(
    titles: Mapping[str, str], points: Sequence[Mapping[str, Any]], shown: Mapping[str, parts.Look],
    *, x: str, y: str, domain: tuple[float, float],
) -> list[dict[str, Any]]:  # fmt: skip
    """Make a panel of each of some titles that there are points of."""
    found = {title: [point for point in points if point["panel"] == title]
             for title in titles.values()}  # fmt: skip
    return [
        parts.lines(title, shown, x=x, y=parts.titled(y, own), domain=domain, width=parts.NARROW,
                    mean_of="whole",
                    dots=0 if len({point["x"] for point in own}) > MOST_DOTS else 38)
        for title, own in found.items() if own
    ]  # fmt: skip


def _points(run: RunRecords) -> Iterator[dict[str, Any]]:
    """Yield what is known of a run by update; nothing if no cosine is."""
    trained, found = run.training, watched(run)
    if trained is None or not COSINES.keys() & found.keys():
        return
    common = {"seed": run.config.seed, "n": trained.probe_images,
              "collapsed": trained.verdict.collapsed}  # fmt: skip
    for epoch in trained.curves:
        update = (epoch.epoch + 1) * trained.updates // trained.epochs
        for kind, title in ACCURACIES.items():
            yield {"panel": title, "x": update, "y": epoch.probe[kind], **common,
                   "records": parts.record(run, TRAIN)}  # fmt: skip
    for kind, title in COSINES.items():
        if kind in found:
            for update, value in zip(*found[kind], strict=True):
                yield {"panel": title, "x": int(update), "y": round(float(value), 4), **common,
                       "records": f"{parts.record(run, TRAIN)} {run.folder}/{TRACES}"}  # fmt: skip
