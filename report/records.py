"""Write all records as one download: python -m bench records

Writes records.jsonl.gz, a record a line, and records.csv, a run a line, below results/. The columns
are told in results/README.md. The same records give the same bytes.
"""

import argparse
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs import catalogue, evaluations
from bench.runs.catalogue import EVALUATIONS
from bench.runs.ending import plural
from bench.runs.files import between_marks, write_bytes
from bench.runs.record import AUTOATTACK, TRAIN, Record, Training, radius
from bench.runs.stage import in_order
from bench.runs.typed import written
from report.collect import Collection, RunRecords, by_table, collect, collect_all, listed
from report.columns import COLUMNS, Column, measured
from report.groups import file_name, no_formula
from report.notes import has_learned
from report.rows import choices

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
        return run.training and value(run.training)

    return read


def _of_attack(run: RunRecords, name: str) -> str | None:
    """Write the images that stand after an attack as 0x and hex digits, which no reader counts."""
    attack = run.attack
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
    Field("folder", "data set, architecture, method and id of the run", lambda run: run.folder),
    Field("path", "of its records' folder, from that of results; empty before the first",
          lambda run: run.path),
    Field("published", "whether from results/published/", lambda run: run.published),
    Field("dataset", "a file of bench/data/", lambda run: run.config.dataset),
    Field("architecture", "a file of bench/models/", lambda run: run.config.architecture),
    Field("width", "channels of the first layer", lambda run: run.config.width),
    Field("method", "a file of methods/", lambda run: run.config.method),
    Field("settings", "the method's and, as `from`, the start, in JSON: with the method, a row",
          lambda run: json.dumps(choices(run.config), sort_keys=True)),
    Field("norm", "of the attacks: Linf or L2", lambda run: run.config.norm),
    Field("eps", "radius on the scale of [0, 1]", lambda run: radius(run.config.eps)),
    Field("seed", "of weights, order and noise", lambda run: run.config.seed),
    Field("protocol", "how it trained, by name", lambda run: run.config.protocol["name"]),
    Field("precision", "of the network in training", lambda run: run.config.precision),
    Field("start", "run whose weights it began with",
          lambda run: run.config.source and run.config.source.run_id),
    Field("train_images", "that it trained on; empty: all, of data not seen yet",
          lambda run: _first(run, "data", "train_images") or run.config.train_images),
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
    Field("train_seconds", "without probes; longer beside other work: for speed take time_ratio",
          _of_training(lambda one: one.train_seconds)),
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
    """Write a CSV with a line a run: its table, FIELDS, the page's columns, AutoAttack's masks."""
    columns = (*COLUMNS, *_measured(runs))
    tables = {run.folder: file_name(members) for members in by_table(listed(runs))
              for run in members}  # fmt: skip
    attacks = dict.fromkeys(
        name for run in runs if (one := run.attack) for name in one.robust
    )  # fmt: skip
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow([
        "table", *(field.name for field in FIELDS),
        *(name for one in columns for name in _names(one)),
        *(f"robust_{name}" for name in attacks),
    ])  # fmt: skip
    for run in runs:
        cells = [tables.get(run.folder), *(field.value(run) for field in FIELDS)]
        cells += [cell for column in columns for cell in _cells(run, column)]
        cells += [_of_attack(run, name) for name in attacks]
        out.writerow(map(no_formula, cells))
    return file.getvalue()


def described(runs: Iterable[RunRecords]) -> str:
    """Tell the CSV's columns in Markdown: the runs', the page's, evaluations' by their file."""
    own = [("`table`", "stem of its table's files; empty of a run that only lends its weights")]
    own += [(f"`{field.name}`", field.meaning) for field in FIELDS]
    own += [
        ("`robust_clean`, `robust_apgd-ce`, ...", "images that stand after each attack: a mask")
    ]
    of_page = [(f"{_quoted(_names(one))} ({one.unit})", one.meaning) for one in COLUMNS]
    by_file: dict[str, dict[str, dict[str, None]]] = {}  # columns by meaning and unit
    for column in _measured(runs):
        entry = evaluations.read(column.stage)
        said = catalogue.described(entry.file, "Meaning", EVALUATIONS[entry.kind])
        by_file.setdefault(said, {}).setdefault(column.unit, {})[_usual(column)] = None
    measured_ones = [
        ("; ".join(f"{_quoted(names)} ({unit})" for unit, names in units.items()), said)
        for said, units in by_file.items()
    ]
    return "\n".join(map(_markdown, (own, of_page, measured_ones)))


def _markdown(told: Iterable[tuple[str, str]]) -> str:
    body = "\n".join(f"| {names} | {meaning} |" for names, meaning in told)
    return f"| column | holds |\n| --- | --- |\n{body}\n"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _usual(column: Column) -> str:
    """Name a column without the settings and the number of a filter, if other numbers stand by."""
    stage, key = column.stage, column.key
    if key == stage:
        return key
    return re.sub(r"\.\d+$", ".I", stage.partition("-")[0] + key.removeprefix(stage))


def _measured(runs: Iterable[RunRecords]) -> list[Column]:
    return measured(record for run in runs for record in run.records.values())


def _names(column: Column) -> list[str]:
    more = [f"{column.key}_n"] if column.images else []
    return [column.key, *more, *([f"{column.key}_error"] if column.error else [])]


def _cells(run: RunRecords, column: Column) -> list[Any]:
    body = run.records[column.stage].body if run.has(column.stage) else None
    value = None if body is None else column.value(body)
    more = [read for read in (column.images, column.error) if read]
    return [value, *(None if value is None else read(body) for read in more)]


def _packed(texts: Iterable[str]) -> bytes:
    """Compress lines, without the time and the name that gzip would add."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=4, fileobj=buffer, mtime=0) as file:
        for text in texts:
            file.write(f"{text}\n".encode())
    return buffer.getvalue()


@catalogue.read_once()
def main(words: Sequence[str] | None = None) -> None:
    """Write the download and say what it holds, or write the columns into a document."""
    parser = argparse.ArgumentParser(
        prog="python -m bench records", description="Write all records as one download."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--readme", type=Path, help="write the columns into this file, no download")
    args = parser.parse_args(words)
    if args.readme:
        told = described(collect(published=args.results / "published").runs)
        text = between_marks(args.readme.read_text(encoding="utf-8"), MARK, told)
        write_bytes(args.readme, text.encode())
        return
    found = collect_all(args.results)
    for path in write(found, args.results):
        print(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    count = sum(len(run.records) for run in found.runs)
    print(
        "\n".join([f"{plural(count, 'record')} of {plural(len(found.runs), 'run')}", *found.faults])
    )
