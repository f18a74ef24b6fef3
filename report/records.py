"""Write all records as one download: python -m bench records

Writes records.jsonl.gz, a record a line, and records.csv, a run a line, below results/. The columns
are told in results/README.md. The same records give the same bytes.
"""

import argparse
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs.ending import plural
from bench.runs.files import between_marks, write_bytes
from bench.runs.record import AUTOATTACK, TRAIN, Record, Training, radius
from bench.runs.stage import in_order
from bench.runs.typed import written
from report.collect import Collection, RunRecords, collect_all
from report.columns import COLUMNS, Column, measured
from report.groups import no_formula
from report.notes import has_learned

LINES, TABLE = "records.jsonl.gz", "records.csv"
MOST = 20_000  # records beside a page: two seconds
MARK = "columns"  # in results/README.md


class Field(NamedTuple):
    """A column of the CSV that is no column of the page."""

    name: str
    meaning: str
    value: Callable[[RunRecords], Any]


def _of_training(value: Callable[[Training], Any]) -> Callable[[RunRecords], Any]:
    """Return a function that reads a value of a run's training; None if that is not done."""

    def read(run: RunRecords) -> Any:
        training = run.records[TRAIN].training if run.has(TRAIN) else None
        return training and value(training)

    return read


def _of_attack(run: RunRecords, name: str) -> str | None:
    """Write the images that stand after an attack as 0x and hex digits, which no reader counts."""
    attack = run.records[AUTOATTACK].attack if run.has(AUTOATTACK) else None
    return f"0x{attack.robust[name]}" if attack and name in attack.robust else None


def _status(run: RunRecords) -> tuple[str, str | None]:
    absence = run.absence(TRAIN) or run.absence(AUTOATTACK)
    return (absence.id, absence.text) if absence else ("done", None)


def _first(run: RunRecords, part: str, name: str) -> Any:
    """Read a value of the origin or the data of the first stage that has them."""
    records = (run.records[stage] for stage in in_order(run.records))
    found = next((one for record in records if (one := getattr(record, part))), None)
    return found and getattr(found, name)


FIELDS = (
    Field("folder", "the run's folder; its last part is the run's id", lambda run: run.folder),
    Field("published", "whether from results/published/", lambda run: run.published),
    Field("dataset", "a file of bench/data/", lambda run: run.config.dataset),
    Field("architecture", "a file of bench/models/", lambda run: run.config.architecture),
    Field("width", "channels of the first layer", lambda run: run.config.width),
    Field("method", "a file of methods/", lambda run: run.config.method),
    Field("settings", "the method's, as JSON", lambda run: json.dumps(run.config.settings)),
    Field("norm", "of the attacks: Linf or L2", lambda run: run.config.norm),
    Field("eps", "radius on the scale of [0, 1]", lambda run: radius(run.config.eps)),
    Field("seed", "of weights, order and noise", lambda run: run.config.seed),
    Field("protocol", "how it trained, by name", lambda run: run.config.protocol["name"]),
    Field("precision", "of the network in training", lambda run: run.config.precision),
    Field("start", "run whose weights it began with",
          lambda run: run.config.source and run.config.source.run_id),
    Field("train_images", "that it trained on", lambda run: _first(run, "data", "train_images")),
    Field("checksum", "of the data", lambda run: _first(run, "data", "checksum")),
    Field("official", "whether the data are the published copy",
          lambda run: _first(run, "data", "official")),
    Field("status", "of training and AutoAttack: done, or of the first that is not",
          lambda run: _status(run)[0]),
    Field("reason", "why that is not done", lambda run: _status(run)[1]),
    Field("collapsed", "whether at the end", _of_training(lambda one: one.verdict.collapsed)),
    Field("onset_epoch", "from which it stayed collapsed, from 0",
          _of_training(lambda one: one.verdict.onset_epoch)),
    Field("recovered", "whether it collapsed on the way and came out of it",
          _of_training(lambda one: one.verdict.outcome == "recovered")),
    Field("learned", "whether anything, by evaluation/masking.py", has_learned),
    Field("epochs", "that it trained", _of_training(lambda one: one.epochs)),
    Field("updates", "of the weights", _of_training(lambda one: one.updates)),
    Field("parameters", "weights that training moves", _of_training(lambda one: one.parameters)),
    Field("train_seconds", "without probes", _of_training(lambda one: one.train_seconds)),
    Field("weights", "SHA-256 of the last ones in float32; empty in older records",
          _of_training(lambda one: one.weights.get("last", {}).get("full"))),
    Field("device", "of training", lambda run: _first(run, "origin", "device")),
    Field("torch", "its version", lambda run: _first(run, "origin", "torch")),
    Field("commit", "of this repository", lambda run: _first(run, "origin", "commit")),
    Field("started", "of training, UTC", lambda run: _first(run, "origin", "started")),
)  # fmt: skip


def write(found: Collection, results: Path) -> list[Path]:
    """Write both files below a folder; return their paths."""
    contents = {LINES: _packed(lines(found)), TABLE: table(found.runs).encode()}
    for name, content in contents.items():
        write_bytes(results / name, content)
    return [results / name for name in contents]


def write_beside(found: Collection, results: Path) -> None:
    """Write both files beside a page that links to them, and none that are out of date."""
    if is_quick(found.runs):
        write(found, results)
    else:
        for name in (LINES, TABLE):
            (results / name).unlink(missing_ok=True)


def is_quick(runs: Iterable[RunRecords]) -> bool:
    """Tell whether a page writes the download too; else its own program does."""
    return sum(len(run.records) for run in runs) <= MOST


def lines(found: Collection) -> Iterator[str]:
    """Yield each record as a line of JSON, with the run's folder before it."""
    for run in found.runs:
        for stage in in_order(run.records):
            place = json.dumps({"folder": run.folder, "published": run.published})
            yield f"{place[:-1]}, {written(Record, run.records[stage])[1:]}"


def table(runs: Sequence[RunRecords]) -> str:
    """Write a CSV with a line a run: FIELDS, the page's columns, and AutoAttack's masks."""
    columns = (*COLUMNS, *measured(r for run in runs for r in run.records.values()))
    attacks = dict.fromkeys(
        name for run in runs if run.has(AUTOATTACK) and (one := run.records[AUTOATTACK].attack)
        for name in one.robust
    )  # fmt: skip
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow([
        *(field.name for field in FIELDS), *(name for one in columns for name in _names(one)),
        *(f"robust_{name}" for name in attacks),
    ])  # fmt: skip
    for run in runs:
        cells = [field.value(run) for field in FIELDS]
        cells += [cell for column in columns for cell in _cells(run, column)]
        cells += [_of_attack(run, name) for name in attacks]
        out.writerow(map(no_formula, cells))
    return file.getvalue()


def described() -> str:
    """Write the table of the CSV's columns in Markdown."""
    told = [(field.name, field.meaning) for field in FIELDS]
    told += [(name, text) for one in COLUMNS for name, text in zip(
        _names(one), (one.meaning, "images behind it"), strict=False
    )]  # fmt: skip
    told += [
        ("an evaluation's name, `NAME_n`", "accuracy or value of an optional evaluation"),
        ("robust_clean, robust_apgd-ce, ...", "images that stand after each attack: a mask"),
    ]
    body = "\n".join(f"| {name} | {meaning} |" for name, meaning in told)
    return f"| column | holds |\n| --- | --- |\n{body}\n"


def _names(column: Column) -> list[str]:
    return [column.key, f"{column.key}_n"] if column.images else [column.key]


def _cells(run: RunRecords, column: Column) -> list[Any]:
    body = run.records[column.stage].body if run.has(column.stage) else None
    value = None if body is None else column.value(body)
    counted = [None if value is None else column.images(body)] if column.images else []
    return [value, *counted]


def _packed(texts: Iterable[str]) -> bytes:
    """Compress lines, without the time and the name that gzip would add."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=4, fileobj=buffer, mtime=0) as file:
        for text in texts:
            file.write(f"{text}\n".encode())
    return buffer.getvalue()


def main(words: Sequence[str] | None = None) -> None:
    """Write the download and say what it holds, or write the columns into a document."""
    parser = argparse.ArgumentParser(
        prog="python -m bench records", description="Write all records as one download."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--readme", type=Path, help="write the columns into this file, no download")
    args = parser.parse_args(words)
    if args.readme:
        text = between_marks(args.readme.read_text(encoding="utf-8"), MARK, described())
        write_bytes(args.readme, text.encode())
        return
    found = collect_all(args.results)
    for path in write(found, args.results):
        print(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    count = sum(len(run.records) for run in found.runs)
    print(
        "\n".join([f"{plural(count, 'record')} of {plural(len(found.runs), 'run')}", *found.faults])
    )
