"""What the page's script works on: rows, runs and outside rows as compact JSON.

Two values: the view, read when the page opens, and the runs, read when a reader first asks for a
run or a curve. What many runs share is said once, and named by its place in a list.
"""

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.runs.record import AUTOATTACK, COST, TRAIN, Epoch, Expense, Record, Training
from bench.runs.stage import flags, stages
from report import sources
from report.outside import Outside
from report.table import Cell, Group, Row, Run

CURVE_POINTS = 100_000  # of all runs together; a run gets its share of them,
MOST, LEAST = 60, 12  # within these bounds
LOG_LINES, LOG_CHARACTERS = 30, 4_000  # of one stage
LOG_BUDGET = 2_000_000  # characters of all runs together, those that are not done first

# which facts of a group a reader may filter by
FILTERS = {"data": "data set", "arch": "architecture", "eps": "eps", "norm": "norm",
           "protocol": "protocol", "official": "data"}  # fmt: skip


class Shared:
    """Values that many runs share, each kept once; gives their places."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Return where a value stands in the list, which it joins if it is new."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def view(found: Sequence[Group], outside: Iterable[Outside]) -> dict[str, Any]:
    """Make what the page shows when it opens.

    Args:
        found: the groups, best row first.
        outside: rows that others report.
    """
    whys = Shared()
    rows = [row for group in found for row in group.rows]
    # what no row has a number for, as memory without a GPU, would only push the notes aside
    columns = {
        c.key: c
        for group in found
        for c in group.columns
        if c.key == "autoattack" or any(row.cells[c.key].n for row in rows)
    }
    methods = sorted({row.method for group in found for row in group.rows})
    cited = {m: key for m in methods if (key := sources.key(m))}
    entries = sources.entries()
    return {
        "columns": [
            {"key": c.key, "title": c.title, "meaning": c.meaning, "kind": c.kind,
             "rising": c.rising}
            for c in columns.values()
        ],
        "groups": [
            {
                "key": group.key, "name": group.name, "facts": group.facts, "apart": group.apart,
                "filters": {short: group.facts[fact] for short, fact in FILTERS.items()},
                "rows": [_row(row, list(columns), whys) for row in group.rows],
            }
            for group in found
        ],
        "whys": whys.values,
        "outside": [asdict(row) for row in outside],
        "cite": cited,
        "bibtex": {key: entries[key] for key in (*cited.values(), sources.AUTOATTACK_KEY)},
        "cite_attack": sources.AUTOATTACK_KEY,
    }  # fmt: skip


def details(runs: Sequence[Run], logs: Path) -> dict[str, Any]:
    """Make what a reader asks for run by run: configuration, curves, origin, source, log.

    Args:
        logs: the folder with the logs of this machine's runs.
    """
    configs, origins, codes = Shared(), Shared(), Shared()
    points = max(LEAST, min(MOST, CURVE_POINTS // max(len(runs), 1)))
    tails = _tails(runs, logs)
    expenses = {_unseeded(run): run.stages[COST].expense for run in runs if run.has(COST)}
    found = {}
    for run in runs:
        config = run.config.as_dict()
        seed = config.pop("seed")
        one: dict[str, Any] = {
            "folder": run.folder,
            "config": configs.place(config),
            "seed": seed,
            "published": run.published,
            "stages": [
                _stage(stage, run, origins)
                for stage in dict.fromkeys((TRAIN, AUTOATTACK, COST, *run.stages, *run.broken))
            ],
            "command": command(run),
        }
        if run.has(TRAIN) and (training := run.stages[TRAIN].training):
            one["training"] = _training(training)
            one["source"] = codes.place(training.method_source)
            one["curves"] = curves(training.curves, points, training.verdict.onset_epoch)
            expense = expenses.get(_unseeded(run))  # measured for one seed
            if expense and (total := passes(run.stages[TRAIN], expense)):
                one["passes"] = total
        if sweep := _sweep(run):
            one["sweep"] = sweep
        if run.folder in tails:
            one["logs"] = tails[run.folder]
        found[run_key(run)] = one
    return {
        "configs": configs.values, "origins": origins.values, "sources": codes.values,
        "runs": found,
    }  # fmt: skip


def run_key(run: Run) -> str:
    """Name a run in the page's address: its id."""
    return run.folder.rpartition("/")[2]


def command(run: Run) -> str:
    """Say the shell commands that repeat what a run's records hold, one a line."""
    config = json.dumps(run.config.as_dict(), separators=(",", ":"))
    lines = [f"python -m bench data {shlex.quote(run.config.dataset)}"]
    # the others read what training wrote
    for one in (one for one in stages().values() if one.name == TRAIN or run.has(one.name)):
        said = {"--config": config, "--out": "again"}
        if run.has(one.name):
            record = run.stages[one.name]
            said |= _machine(record) | flags(one.made(record))
        if one.program == "evaluate":
            said["--evaluation"] = one.name
        words = shlex.join(word for pair in said.items() for word in pair)
        lines.append(f"python -m bench {one.program} {words}")
    return "\n".join(lines)


def _machine(record: Record) -> dict[str, str]:
    """Flags for device and threads, which decide a number's last bits."""
    made = record.origin
    if made is None:
        return {}
    return {"--device": "cuda" if made.cuda else "cpu", "--threads": str(made.threads)}


def passes(record: Record, expense: Expense) -> dict[str, float | None] | None:
    """Count a whole run's passes, in units of one pass over all its training images.

    An update takes one batch, and so many updates as an epoch has batches take each image once. A
    method that replays its batches, as Free-AT, makes several updates of each: ``updates`` counts
    them all, and the cost record's passes are those of one.

    Args:
        record: of a training that is done.
        expense: what an update costs, in passes per image, counted in one step.

    Returns:
        None where the record does not say how large a batch is.
    """
    training, data, batch = record.training, record.data, record.config.protocol.get("batch")
    if training is None or data is None or batch is None:
        return None
    rounds = training.updates / math.ceil(data.train_images / batch)
    return {"forward": _short(expense.forward * rounds),
            "backward": _short(expense.backward * rounds)}  # fmt: skip


def curves(
    epochs: Sequence[Epoch], points: int, onset: int | None = None
) -> dict[str, list[float | None]]:
    """Thin curves to so many epochs, first, last and onset of collapse always among them.

    Returns:
        Lists of one length, by what they hold; epochs count from 1.
    """
    step = max(1, math.ceil(len(epochs) / points))
    kept = [
        e for i, e in enumerate(epochs)
        if i % step == 0 or i == len(epochs) - 1 or e.epoch == onset
    ]  # fmt: skip
    said: dict[str, list[float | None]] = {"epoch": [e.epoch + 1 for e in kept]}
    for name in dict.fromkeys(name for e in kept for name in e.probe):
        said[name] = [_short(e.probe.get(name)) for e in kept]
    said["validation"] = [_short(e.validation) for e in kept]
    said["PertAlign"] = [_short(e.pert_align) for e in kept]
    said["loss"] = [_short(e.loss) for e in kept]
    said["reach"] = [_short(e.reach) for e in kept]
    for name in dict.fromkeys(name for e in kept for name in e.state):
        said[f"state: {name}"] = [_short(e.state.get(name)) for e in kept]
    return {name: values for name, values in said.items() if any(v is not None for v in values)}


def _unseeded(run: Run) -> str:
    return json.dumps(run.config.as_dict() | {"seed": None}, sort_keys=True)


def _row(row: Row, columns: Sequence[str], whys: Shared) -> dict[str, Any]:
    return {
        "key": row.key,
        "label": row.label,
        "method": row.method,
        "family": row.family,
        "status": row.status,
        "why": row.why,
        "notes": row.notes,
        "collapse": row.collapse,
        "collapsed": row.collapsed,
        "cells": [_cell(row.cells[key], whys) for key in columns],
        "runs": [run_key(run) for run in row.runs],
    }


def _cell(cell: Cell, whys: Shared) -> Any:
    """Mean, spread, seeds, interval and images; for an empty cell the place of its reason."""
    if cell.mean is None:
        return whys.place(cell.why)
    low, high = cell.interval or (None, None)
    return [_short(cell.mean, 8), _short(cell.spread), cell.n, _short(low), _short(high),
            *cell.images]  # fmt: skip


def _stage(stage: str, run: Run, origins: Shared) -> dict[str, Any]:
    record = run.stages.get(stage)
    said: dict[str, Any] = {"stage": stage}
    if why := run.why(stage):
        said["why"] = why
    if record and record.origin:
        origin = asdict(record.origin)
        said |= {"started": origin.pop("started"), "seconds": _short(origin.pop("seconds"))}
        said["origin"] = origins.place(origin)
    if record and record.data:
        said["data"] = origins.place(asdict(record.data))
    return said | _numbers(record)


def _numbers(record: Record | None) -> dict[str, Any]:
    """What a stage found that the table does not show of each run."""
    if record is None:
        return {}
    if record.attack:
        return {"after": record.attack.after, "library": record.attack.library,
                "images": record.attack.n}  # fmt: skip
    if record.expense:
        return {"forward": record.expense.forward, "backward": record.expense.backward,
                "time_ratio": _short(record.expense.time_ratio),
                "update_seconds": _short(record.expense.update_seconds)}  # fmt: skip
    return {}


def _training(training: Training) -> dict[str, Any]:
    said: dict[str, Any] = {
        "clean": training.clean.accuracy, "fgsm": training.fgsm.accuracy,
        "pgd10": training.pgd10.accuracy, "images": training.clean.n, "epochs": training.epochs,
        "updates": training.updates, "parameters": training.parameters,
        "train_seconds": _short(training.train_seconds), "peak_bytes": training.peak_bytes,
        "state_bytes": training.state_bytes, "resumed": training.resumed,
    }  # fmt: skip
    if training.verdict.onset_epoch is not None:
        said["onset"] = training.verdict.onset_epoch + 1
    if training.best:
        said["best"] = {"epoch": training.best.epoch + 1, "pgd10": training.best.pgd10.accuracy,
                        "clean": training.best.clean.accuracy}  # fmt: skip
    return said


def _sweep(run: Run) -> dict[str, list[list[float | None]]]:
    """Accuracy over the attack's radius, as pairs of radius in 1/255 and percent, by attack."""
    record = run.stages.get("eps_sweep")
    found: dict[str, list[list[float | None]]] = {}
    for name, score in (record.measure.scores if record and record.measure else {}).items():
        attack, _, radius = name.partition(" ")
        k = float(radius.partition("/")[0])
        found.setdefault(attack, []).append([k, _short(score.accuracy)])
    return found


def _tails(runs: Sequence[Run], logs: Path) -> dict[str, dict[str, str]]:
    """Read the ends of the logs there are, by run and stage, until the budget is spent."""
    found: dict[str, dict[str, str]] = {}
    left = LOG_BUDGET
    here = [(run, stage) for run in runs if not run.published for stage in stages()]
    for run, stage in sorted(here, key=lambda one: one[0].has(one[1])):
        path = logs / run.folder / f"{stage}.log"
        if left <= 0:
            break
        if not path.is_file():
            continue
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:]
        found.setdefault(run.folder, {})[stage] = tail
        left -= len(tail)
    return found


def _short(value: float | None, digits: int = 5) -> float | None:
    """Round to so many significant digits; None for what JSON cannot say."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
