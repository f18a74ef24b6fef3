"""Early warning: how long before a collapse each detector alarms, by one rule, on one grid.

A detector alarms when three of its smoothed readings in a row lie more than six standard deviations
from the mean of the 200 readings before. The onset is the first reading of PGD-10 at half of its
maximum so far, for good. The lead is from the first alarm within 1,000 updates of the onset to the
onset, below zero where the alarm came late; other alarms are false. "Halved" is how long before the
onset a falling detector was at half of its own maximum for good; it was added after the first run
had been read. A collapse with fewer than 100 readings before it is not judged. PertAlign of the
batch has a number for every update and is read on the grid of the others all the same. Public runs
have a reading an epoch, so the baseline there is a tenth as long (20 readings, 10 at least), and
the horizon 10 epochs.

In the tables "3 F, 1 B" are the passes of a reading, forward and backward, per image; "none": the
training makes them anyway. "First" counts the collapses of which no other warned earlier, "of
updates" those in which an alarm would have been false.

Figure: SORA (arXiv:2606.00738), its claim that PertAlign falls some 50 batches before PGD accuracy,
    and before all other detectors.

Reads: training whose detectors were read around the onset, by the suites that
    python -m bench early_warning writes.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.runs import evaluations
from bench.runs.ending import plural
from bench.runs.record import TRAIN
from evaluation import load
from evaluation.early_warning import Summary, Warned, judge, summary
from report import benchmark, curves, early_warning, traces
from report.collect import RunRecords
from report.early_warning import DETECTORS, Detector
from report.figures import Picture, looks
from report.paper_figures import _parts as parts
from report.sources import title

EVERY_RECORD = True
NAME = "early_warning"
NONE = "none"
KINDS = {"alarm": "circle", "halved": "triangle-down"}  # with their shapes
PUBLIC = benchmark.FOLDER / "fastat_warnings.csv"
OF_CURVES = {"clean": "clean accuracy", "fgsm": "accuracy under FGSM",
             "pgd10": "accuracy under PGD-10"}  # fmt: skip
RISES = {detector.title for detector in DETECTORS if detector.rises}
COLUMNS = {
    "detector": ("detector", 165), "passes": ("passes", 75), "alarms": ("alarms", 60),
    "leads": ("lead", 105), "first": ("first", 40), "halved": ("halved", 60),
    "halves": ("before the onset", 115), "false": ("false alarms", 85), "quiet": ("of", 75),
    "rate": ("per 1,000", 65),
}  # fmt: skip


class Said(NamedTuple):
    """What a detector said of a run."""

    detector: str
    passes: str  # of the network, per image and reading
    method: str
    seed: int
    warned: Warned
    record: str


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw the table and the leads of our runs, and the table of public ones."""
    said = [one for run in runs for one in _said(run)]
    if not said:
        return
    yield _table(NAME, said, "updates")
    if any(one.warned.lead is not None or one.warned.half is not None for one in said):
        yield _leads(said)
    public = [
        Said(OF_CURVES[row.detector], NONE, f"{row.method}, {row.dataset}", row.seed,
             Warned(row.onset, row.readings, row.judged, row.lead, row.false_alarms, row.quiet,
                    row.half), parts.file(PUBLIC))
        for row in curves.read_csv(PUBLIC, curves.Heard)
    ]  # fmt: skip
    yield _table(f"{NAME}-public", public, "epochs")


def _said(run: RunRecords) -> Iterator[Said]:
    """Judge the detectors of a run of the second pass."""
    training = run.training
    at = early_warning.grid(training) if training else None
    if training is None or at is None or run.place is None:
        return
    found = traces.read(run.place, training)
    begun = early_warning.collapse(training, found)
    for detector in DETECTORS:
        numbers = early_warning.readings(found, detector, at)
        if numbers is not None:
            warned = judge(at, numbers, begun, rises=detector.rises)
            yield Said(detector.title, _passes(detector), run.config.method, run.config.seed,
                       warned, parts.record(run, TRAIN))  # fmt: skip


def _passes(detector: Detector) -> str:
    """Say what a reading costs beside training; an attack asks before and after, too."""
    if detector.entry is None:
        return NONE
    entry = evaluations.read(detector.entry)
    cost = load(entry.kind, entry.file)(**entry.settings).cost
    return f"{cost.forward + 2 * (entry.kind == 'attack'):g} F, {cost.backward:g} B"


def _ranked(said: Sequence[Said]) -> list[tuple[str, list[Said], Summary]]:
    """Put what was said by detector, the longest median lead first."""
    by_name: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        by_name[one.detector].append(one)
    rows = [(name, ones, summary([one.warned for one in ones])) for name, ones in by_name.items()]
    return sorted(rows, key=lambda row: [_longest(row[2].leads), _longest(row[2].halves)],
                  reverse=True)  # fmt: skip


def _longest(leads: Sequence[int]) -> float:
    return statistics.median(leads) if leads else -math.inf


def _range(leads: Sequence[int]) -> tuple[float | str, int | str, int | str]:
    """Return median, least and most."""
    return (statistics.median(leads), leads[0], leads[-1]) if leads else (NONE, NONE, NONE)


def _written(leads: Sequence[int]) -> str:
    """Write the median of several, and least and most; one alone as it is."""
    if not leads:
        return NONE
    span = f", {leads[0]} to {leads[-1]}" if leads[0] < leads[-1] else ""
    return f"{statistics.median(leads):g}{span}"


def _of_judged(count: int, detector: str, found: Summary, *, falls: bool = False) -> str:
    """Say of how many collapses that were judged; of those that rise there is nothing halved."""
    if falls and detector in RISES:
        return "-"
    return f"{count} of {found.missed + len(found.leads)}"


def _table(name: str, said: Sequence[Said], unit: str) -> Picture:
    """Make the table of some runs."""
    best, rows = _best(said), []
    for detector, ones, found in _ranked(said):
        lead, least, most = _range(found.leads)
        half, half_least, half_most = _range(found.halves)
        rate = found.per_1000
        rows.append({
            "detector": detector, "passes": ones[0].passes,
            "alarms": _of_judged(len(found.leads), detector, found),
            "lead": lead, "least": least, "most": most, "leads": _written(found.leads),
            "first": sum(_run(one) in best and one.warned.lead == best[_run(one)] for one in ones),
            "halved": _of_judged(len(found.halves), detector, found, falls=True),
            "half": half, "half_least": half_least, "half_most": half_most,
            "halves": "-" if detector in RISES else _written(found.halves),
            "false": found.false_alarms, "quiet": found.quiet,
            "rate": NONE if rate is None else round(rate, 2),
            "records": " ".join(dict.fromkeys(one.record for one in ones)),
        })  # fmt: skip
    columns = {**COLUMNS, "quiet": (f"of {unit}", COLUMNS["quiet"][1])}
    heads = {
        "detector": "detector", "passes": "passes", "alarms": "alarms, of judged collapses",
        "lead": f"lead, median, {unit}", "least": "least", "most": "most", "first": "first",
        "halved": "halved, of judged collapses",
        "half": f"halved before the onset, median, {unit}", "half_least": "halved, least",
        "half_most": "halved, most", "false": "false alarms",
        "quiet": f"{unit} without collapse", "rate": "per 1,000",
    }  # fmt: skip
    return parts.picture(name, rows, heads, {
        **parts.table(rows, columns), "title": {"text": [_counted(said, unit)], "offset": 14},
    })  # fmt: skip


def _run(one: Said) -> tuple[str, int]:
    return one.method, one.seed


def _best(said: Sequence[Said]) -> dict[tuple[str, int], int]:
    """Find the longest lead on each run."""
    best: dict[tuple[str, int], int] = {}
    for one in said:
        if one.warned.lead is not None:
            best[_run(one)] = max(one.warned.lead, best.get(_run(one), one.warned.lead))
    return best


def _counted(said: Sequence[Said], unit: str) -> str:
    """Say how many runs there are, how many of them collapsed, and how many could be judged."""
    # all detectors of a run are read on one grid, so that any of them tells
    runs = {_run(one): one.warned for one in said}
    fell = [one for one in runs.values() if one.onset is not None]
    judged = [one for one in fell if one.judged]
    text = (f"Leads in {unit}, of several: median, least to most; {plural(len(runs), 'run')}, "
            f"{len(fell)} collapsed, {len(judged)} of them judged")  # fmt: skip
    if few := sorted(one.readings for one in fell if not one.judged):
        span = f"{few[0]} to {few[-1]}" if few[0] < few[-1] else f"{few[0]}"
        text += f" (before the other {len(few)}: {span} readings)"
    return text


def _leads(said: Sequence[Said]) -> Picture:
    """Draw how long before the onset of each run each detector alarmed, or had halved."""
    ranked = [(name, ones, found) for name, ones, found in _ranked(said)
              if found.leads or found.halves]  # fmt: skip
    points = [
        {"name": name, "x": x, "kind": kind, "line": title(one.method), "seed": one.seed,
         "alarms": _of_judged(len(found.leads), name, found),
         "halved": _of_judged(len(found.halves), name, found, falls=True),
         "onset": one.warned.onset, "readings": one.warned.readings, "records": one.record}
        for name, ones, found in ranked for one in ones
        for kind, x in zip(KINDS, (one.warned.lead, one.warned.half), strict=True)
        if x is not None
    ]  # fmt: skip
    methods = {title(one): colour for one, (colour, _) in looks([o.method for o in said]).items()
               if any(point["line"] == title(one) for point in points)}  # fmt: skip
    across = {"field": "x", "type": "quantitative", "axis": {"tickCount": 8},
              "scale": {"padding": 10, "nice": False},
              "title": ["before the onset, updates; bars: medians of two or more",
                        "right: alarms and halved, of the collapses judged"]}  # fmt: skip
    down = {"field": "name", "type": "nominal", "title": None, "axis": {"grid": True},
            "sort": [name for name, _, _ in ranked]}  # fmt: skip
    hollow = {"legend": {"symbolStrokeWidth": 1.6, "symbolFillColor": "transparent"}}
    colour = {"field": "line", "type": "nominal", "title": None, **hollow, "scale": {
        "domain": list(methods), "range": list(methods.values()),
    }}  # fmt: skip
    kind = {"field": "kind", "type": "nominal", "title": None, **hollow,
            "scale": {"domain": list(KINDS), "range": list(KINDS.values())}}  # fmt: skip
    texts = [
        {"mark": {"type": "text", "align": "left", "fontSize": 11},
         "encoding": {"x": {"value": 2 * parts.WIDTH + place}, "y": down,
                      "text": {"field": field, "aggregate": "min", "type": "nominal"}}}
        for field, place in (("alarms", 12), ("halved", 62))
    ]  # fmt: skip
    heads = [
        {"mark": {"type": "text", "align": "left", "fontSize": 11, "fontWeight": "bold",
                  "x": 2 * parts.WIDTH + place, "y": -8, "text": field},
         "data": {"values": [{}]}}
        for field, place in (("alarms", 12), ("halved", 62))
    ]  # fmt: skip
    view = {
        "width": 2 * parts.WIDTH, "height": {"step": parts.GAP},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [2, 2]},
             "data": {"values": [{"x": 0}]}, "encoding": {"x": across}},
            {"mark": {"type": "tick", "thickness": 2, "size": 13, "color": "black"},
             "transform": [{"aggregate": [{"op": "median", "field": "x", "as": "x"},
                                          {"op": "count", "as": "several"}],
                            "groupby": ["name", "kind"]},
                           {"filter": "datum.several > 1"}],
             "encoding": {"x": across, "y": down}},
            {"mark": {"type": "point", "size": 55, "opacity": 1, "strokeWidth": 1.6},
             "encoding": {"x": across, "y": down, "color": colour, "shape": kind}},
            *texts, *heads,
        ],
    }  # fmt: skip
    columns = {"name": "detector", "kind": "what", "x": "before the onset, updates",
               "line": "method", "seed": "seed", "onset": "onset, update",
               "readings": "readings before it", "alarms": "alarms, of judged collapses",
               "halved": "halved, of judged collapses"}  # fmt: skip
    return parts.picture(f"{NAME}-leads", points, columns, view)
