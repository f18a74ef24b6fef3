"""The page's data: rows, runs and outside rows as two compact JSON values.

The script reads the view when the page opens, and the details when a reader first asks for a run
or a curve. A value that many runs share stands once in a list; the runs hold its place there.
"""

import functools
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.runs.record import (
    AUTOATTACK,
    COST,
    TRAIN,
    Best,
    Config,
    Epoch,
    Expense,
    Record,
    Training,
    is_stage,
)
from bench.runs.run import kept_for
from bench.runs.stage import Options, Stage, in_order
from bench.runs.stage import stage as stage_of
from evaluation.sweep import Sweep
from report import figures, latex, sources, sweep
from report.collect import RunRecords
from report.columns import SHORT
from report.groups import TITLES, Group
from report.outside import Outside
from report.rows import Row
from report.statistic import Statistic

CURVE_POINTS = 100_000  # of all runs together, shared equally, but
MOST, LEAST = 60, 12  # of one run
LOG_LINES, LOG_CHARACTERS = 30, 4_000  # of one stage
LOG_BUDGET = 2_000_000  # characters of all runs together, unfinished stages first

# the facts of a group that a reader may filter by, by their name in the page's address
FILTERS = {"data": "dataset", "arch": "architecture", "eps": "eps", "norm": "norm",
           "protocol": "protocol", "official": "data"}  # fmt: skip
# facts that tell tables of one data set apart, the most telling first, as a tab has them
TELLING = {"eps": "{}", "protocol": "{}", "norm": "{}", "architecture": "{}", "width": "width {}",
           "precision": "{}", "train_images": "{} images", "checksum": "data {:.6}"}  # fmt: skip


class Shared:
    """A list of distinct values, for runs to hold the places of."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Return the place of a value in the list; a new value is appended first."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def view(found: Sequence[Group], outside: Iterable[Outside]) -> dict[str, Any]:
    """Make the data of the table, which the page shows when it opens.

    Args:
        found: the groups, best row first.
        outside: rows that others report.
    """
    reasons = Shared()
    rows = [row for group in found for row in group.rows]
    # columns without any number, as memory without a GPU, would only push the notes aside
    filled = {"autoattack", *(key for row in rows for key, cell in row.cells.items() if cell.n)}
    columns = {c.key: c for group in found for c in group.columns if c.key in filled}
    methods = sorted({row.method for group in found for row in group.rows})
    looks = figures.looks(methods)
    cited = {m: key for m in methods if (key := sources.citation_key(m))}
    papers = {m: sources.paper(key) | {"code": sources.code(m)} for m, key in cited.items()}
    entries = sources.entries()
    return {
        "columns": [
            {"key": c.key, "title": c.title, "meaning": c.meaning, "kind": c.kind,
             "rising": c.rising, "unit": c.unit, "short": c in SHORT, "optional": c.optional}
            for c in columns.values()
        ],
        "groups": [
            {
                "key": group.key, "tab": tab, "name": group.name, "file": group.file_name,
                "setting": latex.setting(group), "facts": group.facts.texts,
                "official": group.facts.official, "caution": group.caution,
                "pair_marks": group.pair_marks,
                "filters": {short: group.facts.texts[fact] for short, fact in FILTERS.items()},
                "rows": [
                    _row(row, list(columns), reasons) | {"look": looks[row.method]}
                    for row in group.rows
                ],
            }
            for group, tab in zip(found, tabs(found), strict=True)
        ],
        "titles": TITLES,
        "pictures": figures.described(),
        "reasons": reasons.values,
        "outside": [asdict(row) for row in outside],
        "cite": cited,
        "papers": papers,
        "bibtex": {key: entries[key] for key in (*cited.values(), sources.AUTOATTACK_KEY)},
        "cite_attack": sources.AUTOATTACK_KEY,
    }  # fmt: skip


def tabs(found: Sequence[Group]) -> list[str]:
    """Name each group shortly: its data set, and what tells it from the others of that one.

    Of the facts in which they differ, that is the most telling, and of the rest what it takes.
    """
    texts = [group.facts.texts for group in found]

    @functools.cache  # thousands of tables ask for the same few
    def alike(dataset: str, *keys: str) -> Counter[tuple[str, ...]]:
        """Count the groups of a data set by some of their facts."""
        return Counter(
            tuple(one[key] for key in keys) for one in texts if one["dataset"] == dataset
        )

    names = []
    for own in texts:
        dataset = own["dataset"]
        told = [key for key in TELLING if len(alike(dataset, key)) > 1]
        for key in told[:0:-1]:
            rest = [one for one in told if one != key]
            if alike(dataset, *rest)[tuple(own[one] for one in rest)] == 1:
                told = rest
        names.append(" ".join([dataset, *(TELLING[key].format(own[key]) for key in told)]))
    return names


def details(runs: Sequence[RunRecords], logs: Path) -> dict[str, Any]:
    """Make the data of every run: configuration, curves, provenance, source and ends of logs.

    Args:
        logs: the folder with the logs of this machine's runs.
    """
    configs, origins, codes = Shared(), Shared(), Shared()
    points = max(LEAST, min(MOST, CURVE_POINTS // max(len(runs), 1)))
    tails = _tails(runs, logs)
    expenses = {_unseeded(run.config): run.records[COST].expense for run in runs if run.has(COST)}
    by_folder = {run.folder: run for run in runs}
    found = {}
    for run in runs:
        config = run.config.as_dict()
        seed = config.pop("seed")
        config["settings"] = sources.settings(run.config)
        entry: dict[str, Any] = {
            "folder": run.folder,
            "config": configs.place(config),
            "seed": seed,
            "published": run.published,
            "stages": [
                _stage(stage, run, origins)
                for stage in dict.fromkeys((TRAIN, AUTOATTACK, COST, *run.records, *run.broken))
            ],
            "command": command(run),
        }
        if training := run.training:
            entry["training"] = _training(training, run.config)
            entry["weights"] = run.weights
            entry["source"] = codes.place(training.method_source)
            entry["curves"] = curves(training.curves, points, training.verdict.onset_epoch)
            # a run that starts from another has cost what that has, too
            source = run.config.source
            chain = [by_folder.get(source.folder), run] if source else [run]
            of_chain = [
                passes(one.records[TRAIN], expense)
                for one in chain
                if one and one.has(TRAIN)
                and (expense := expenses.get(_unseeded(one.config)))  # measured for one seed
            ]  # fmt: skip
            if len(of_chain) == len(chain):
                entry["passes"] = {way: _rounded(sum(one[way] or 0.0 for one in of_chain))
                                   for way in of_chain[0]}  # fmt: skip
        if swept := sweep.of(run):
            entry["sweep"] = _sweep(swept)
            entry["swept"] = f"1{swept.unit}"
            eo = sweep.judge(run)
            entry["eo"] = eo and {name: _rounded(x) for name, x in eo._asdict().items()}
        if run.folder in tails:
            entry["logs"] = tails[run.folder]
        found[run.run_id] = entry
    return {
        "configs": configs.values, "origins": origins.values, "sources": codes.values,
        "runs": found,
    }  # fmt: skip


def command(run: RunRecords) -> str:
    """Write the shell commands that repeat the finished stages of a run, one a line."""
    lines, config = [f"python -m bench data {shlex.quote(run.config.dataset)}"], _json(run.config)
    done = {name: record for name, record in run.records.items() if run.has(name)}
    train = stage_of(TRAIN)
    # training always, because the other stages read what it wrote
    for stage in map(stage_of, in_order({TRAIN, *done})):
        for reader, source, folder in _sources(stage, run.config, "again"):
            kept = kept_for(reader) if reader.source == source else []
            lines.append(_command(train, _json(source), folder, done.get(TRAIN), kept))
        lines.append(_command(stage, config, "again", done.get(stage.name)))
    return "\n".join(dict.fromkeys(lines))


def _sources(stage: Stage, config: Config, folder: str) -> Iterator[tuple[Config, Config, str]]:
    """Yield the other runs that a stage reads, each with its reader before and its folder behind.

    Each comes after what it reads itself.
    """
    for other, name in stage.reads(config):
        if other != config:
            there = f"{folder}/{other.run_id}"
            yield from _sources(stage_of(name), other, there)
            yield config, other, there


def _json(config: Config) -> str:
    return shlex.quote(json.dumps(config.as_dict(), separators=(",", ":")))


def _command(
    stage: Stage, config: str, folder: str, record: Record | None, kept: Sequence[int] = ()
) -> str:
    """Write the command that does a stage as a record has it; without one by defaults.

    Args:
        config: as JSON, quoted.
        kept: updates of a training after which its weights are kept, too.
    """
    text = f"python -m bench {stage.program} --config {config} --out {folder}"
    if record and (origin := record.origin):  # device and threads decide the last bits of a number
        text += f" --device {'cuda' if origin.cuda else 'cpu'} --threads {origin.threads}"
    flags = _flags(stage, stage.options_of(record) if record else None, tuple(kept))
    return f"{text} {flags}" if flags else text


@functools.lru_cache  # thousands of runs have the same
def _flags(stage: Stage, options: Options | None, kept: tuple[int, ...]) -> str:
    flags = stage.flags(options) if options else {}
    if kept:
        flags["--keep-at"] = ",".join(map(str, kept))
    return shlex.join(word for pair in flags.items() for word in pair)


def passes(record: Record, expense: Expense) -> dict[str, float | None]:
    """Count the passes of a whole run, in units of one pass over all its training images.

    An update makes ``expense.forward`` passes over one batch, and an epoch's batches are all images
    once. A method that replays its batches, as Free-AT, makes several updates with each of them,
    and ``updates`` of its record counts all of these.

    Args:
        record: of a training that is done.
        expense: what an update costs, in passes per image.

    Returns:
        Passes "forward" and "backward".
    """
    training, data = record.training, record.data
    assert training and data, "a training that is done has numbers and data"
    rounds = training.updates / math.ceil(data.train_images / record.config.protocol["batch"])
    return {"forward": _rounded(expense.forward * rounds),
            "backward": _rounded(expense.backward * rounds)}  # fmt: skip


def curves(
    epochs: Sequence[Epoch], points: int, onset: int | None = None
) -> dict[str, list[float | None]]:
    """Make the training curves, thinned to about ``points`` epochs.

    Args:
        onset: epoch, from 0, in which a collapse began; it is kept, as are the first and the last.

    Returns:
        Lists of equal length by what they hold: "epoch", from 1, "loss", ...; without those that
        have no finite number.
    """
    step = max(1, math.ceil(len(epochs) / points))
    kept = [
        e for i, e in enumerate(epochs)
        if i % step == 0 or i == len(epochs) - 1 or e.epoch == onset
    ]  # fmt: skip
    drawn: dict[str, list[float | None]] = {"epoch": [e.epoch + 1 for e in kept]}
    for name in dict.fromkeys(name for e in kept for name in e.probe):
        drawn[name] = _all_rounded(e.probe.get(name) for e in kept)
    drawn["validation"] = _all_rounded(e.validation for e in kept)
    drawn["validation, average"] = _all_rounded(e.validation_average for e in kept)
    drawn["PertAlign"] = _all_rounded(e.pert_align for e in kept)
    drawn["loss"] = _all_rounded(e.loss for e in kept)
    drawn["reach"] = _all_rounded(e.reach for e in kept)
    for name in dict.fromkeys(name for e in kept for name in e.state):
        drawn[f"state: {name}"] = _all_rounded(e.state.get(name) for e in kept)
    return {name: values for name, values in drawn.items() if any(v is not None for v in values)}


def _unseeded(config: Config) -> str:
    return config.with_seed(0).run_id


def _row(row: Row, columns: Sequence[str], reasons: Shared) -> dict[str, Any]:
    return {
        "key": row.key,
        "id": row.label,  # what a suite calls it
        "label": row.title,
        "method": row.method,
        "family": row.family,
        "unfit": row.unfit,
        "status": row.status,
        "reason": row.reason,
        "notes": [note.text for note in row.notes],
        "badges": row.badges,
        "remarks": latex.remarks(row),
        "collapse": row.collapse,
        "collapsed": row.collapsed,
        "cells": [_cell(row.cells[key], reasons) for key in columns],
        "runs": [run.run_id for run in row.runs],
        "source": source.run_id if (source := row.runs[0].config.source) else None,
    }


def _cell(cell: Statistic, reasons: Shared) -> Any:
    """List mean, spread, seeds, interval and images; for an empty cell, the place of its reason."""
    if cell.mean is None:
        return reasons.place(
            {"id": cell.absences[0].id, "text": cell.reason, "short": latex.shortened(cell.reason)}
        )
    low, high = cell.interval or (None, None)
    return [_rounded(cell.mean, 8), _rounded(cell.spread, 8), cell.n, _rounded(low), _rounded(high),
            *cell.images]  # fmt: skip


def _stage(stage: str, run: RunRecords, origins: Shared) -> dict[str, Any]:
    record = run.records.get(stage)
    entry: dict[str, Any] = {"stage": stage}
    if absence := run.absence(stage):
        entry["reason"] = absence.text
    if record and record.origin:
        origin = {**vars(record.origin)}
        entry |= {"started": origin.pop("started"), "seconds": _rounded(origin.pop("seconds"))}
        entry["origin"] = origins.place(origin)
    if record and record.data:
        entry["data"] = origins.place({**vars(record.data)})
    return entry | _numbers(record)


def _numbers(record: Record | None) -> dict[str, Any]:
    """Choose what a stage found that the page shows for each run beside the table."""
    if record is None:
        return {}
    if record.attack:
        return {"after": record.attack.after, "library": record.attack.library,
                "images": record.attack.n, "warnings": record.attack.warnings,
                "weights": record.attack.digest}  # fmt: skip
    if record.expense:
        return {"forward": record.expense.forward, "backward": record.expense.backward,
                "time_ratio": _rounded(record.expense.time_ratio),
                "update_seconds": _rounded(record.expense.update_seconds)}  # fmt: skip
    return {}


def _training(training: Training, config: Config) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "clean": training.clean.accuracy, "fgsm": training.fgsm.accuracy,
        "pgd10": training.pgd10.accuracy, "images": training.clean.n, "epochs": training.epochs,
        "updates": training.updates, "parameters": training.parameters,
        "train_seconds": _rounded(training.train_seconds), "peak_bytes": training.peak_bytes,
        "state_bytes": training.state_bytes, "resumed": training.resumed,
        "segments": [asdict(segment) for segment in training.segments],
    }  # fmt: skip
    if training.verdict.onset_epoch is not None:
        entry["onset"] = training.verdict.onset_epoch + 1
    if training.source and config.start:
        source = asdict(training.source)
        entry["source"] = source | {"method": config.start.method,
                                    "train_seconds": _rounded(source["train_seconds"])}  # fmt: skip
    if training.best:
        entry["best"] = _chosen(training.best)
    if training.best_on_test:
        entry["best_on_test"] = _chosen(training.best_on_test)
    if training.average:
        entry["average"] = {"pgd10": training.average.pgd10.accuracy,
                            "clean": training.average.clean.accuracy}  # fmt: skip
    return entry


def _chosen(best: Best) -> dict[str, Any]:
    return {"epoch": best.epoch + 1, "pgd10": best.pgd10.accuracy, "clean": best.clean.accuracy,
            "rule": best.rule, "score": best.validation, "update": best.update,
            "network": best.network}  # fmt: skip


def _sweep(swept: Sweep) -> dict[str, list[list[float | None]]]:
    """List accuracy by attack, as pairs of radius and percent."""
    found: dict[str, list[list[float | None]]] = {}
    for point in sweep.points(swept):
        found.setdefault(point.attack, []).append([point.k, _rounded(point.accuracy)])
    return found


def _stems(folder: Path) -> Iterator[str]:
    return (path.stem for path in folder.glob("*.log"))


def _tails(runs: Sequence[RunRecords], logs: Path) -> dict[str, dict[str, str]]:
    """Read the ends of logs, by run's folder and stage, until LOG_BUDGET is spent."""
    found: dict[str, dict[str, str]] = {}
    left = LOG_BUDGET
    here = [
        (run, stage)
        for run in runs
        if not run.published
        for stage in in_order(filter(is_stage, _stems(logs / run.folder)))
    ]
    for run, stage in sorted(here, key=lambda pair: pair[0].has(pair[1])):
        path = logs / run.folder / f"{stage}.log"
        if left <= 0:
            break
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "\n".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:]
        found.setdefault(run.folder, {})[stage] = tail
        left -= len(tail)
    return found


def _rounded(value: float | None, digits: int = 5) -> float | None:
    return _all_rounded([value], digits)[0]


def _all_rounded(values: Iterable[float | None], digits: int = 5) -> list[float | None]:
    """Round to so many significant digits; None for nan and infinity, which JSON lacks."""
    form, finite = f".{digits}g", math.isfinite  # looked up once: there are millions of values
    return [None if v is None or not finite(v) else float(format(v, form)) for v in values]
