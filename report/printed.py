"""The numbers that papers print, and the choices that they leave open, read from report/papers/."""

import csv
import dataclasses
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runs.typed import build
from report.statistic import interval

FOLDER = Path(__file__).with_name("papers")
REPORTED = Path(__file__).with_name("reported")  # tables of others, a line a row
WIDE = {  # the columns of those that hold numbers, and their units
    "clean": "%", "pgd10": "%", "pgd20": "%", "pgd50": "%", "autoattack": "%", "cr_attack": "%",
    "seconds": "s", "memory_gb": "GiB",
}  # fmt: skip


@dataclass(frozen=True)
class Printed:
    """One number as a paper prints it; the fields are the columns of the CSV files."""

    table: str
    dataset: str  # our name, or the paper's where we lack the data
    architecture: str  # our name, or the paper's where we lack the network
    norm: str  # "" where the table names none
    eps: str  # radius of training, "8/255"; another radius of the attack stands in its name
    label: str  # of the row
    method: str  # our name; "" where we lack the method
    settings: dict[str, Any]  # what the row sets, in our names; a text "> 0": any that is larger
    attack: str
    checkpoint: str  # "last", "last, collapsed" (of runs that ended so), "best" (by the paper's
    # rule), "best_on_test", "epoch 23", ...
    value: str  # as printed, with its zeros
    unit: str
    spread: str  # standard deviation over seeds; "" where none is printed
    seeds: int | None
    images: int | None  # test images that an accuracy is of; None where nothing is said
    epochs: str
    note: str

    @property
    def number(self) -> float:
        """The value as a number."""
        return float(self.value)

    @property
    def text(self) -> str:
        """Value and spread for people."""
        shown = f"{self.value} ± {self.spread}" if self.spread else self.value
        if self.interval is None:
            return shown
        low, high = self.interval
        return f"{shown} [{low:.1f}, {high:.1f}]"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The paper's 95 % interval; None where it does not say of how many images.

        A spread over seeds does not hold what the images leave open.
        """
        if self.unit != "%" or self.images is None:
            return None
        spread = float(self.spread) if self.spread and (self.seeds or 0) > 1 else None
        return interval(self.number, spread, self.seeds or 1, self.images)


@dataclass(frozen=True)
class Row:
    """What a row of another's table is here."""

    method: str = ""  # "" where we lack it
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    checkpoint: str = "best"


@dataclass(frozen=True)
class Choice:
    """A choice that a paper leaves open."""

    what: str
    known: str  # what the paper and its code tell of it
    method: str = ""  # that the choice is about; "": all
    field: str = ""  # of a run's configuration or settings; "": all runs chose alike
    options: list[Any] = dataclasses.field(
        default_factory=list
    )  # values of the field; each is compared with the first


@dataclass(frozen=True)
class Paper:
    """A paper whose printed numbers stand beside ours."""

    key: str
    title: str
    authors: str
    venue: str
    link: str
    source: str  # where its numbers come from
    protocols: list[str]  # our protocols that repeat the paper's
    settings: dict[str, Any]  # that the paper states, by method
    choices: list[Choice]
    # Of a paper whose numbers lie in REPORTED as well, where the page has them from:
    rows: dict[str, Row] = dataclasses.field(default_factory=dict)  # by their names there
    networks: dict[str, str] = dataclasses.field(default_factory=dict)  # ours, by the names there
    images: int | None = None  # test images of its accuracies


def papers() -> list[Paper]:
    """Read papers.toml."""
    raw = tomllib.loads((FOLDER / "papers.toml").read_text(encoding="utf-8"))
    found: list[Paper] = build(list[Paper], raw["paper"], "papers.toml")
    return found


def printed(key: str) -> list[Printed]:
    """Read a paper's numbers from its CSV file, or from its table in REPORTED.

    Raises:
        ValueError: a line lacks a column or holds a text for a number; names the file and the line.
    """
    paper = next(paper for paper in papers() if paper.key == key)
    path = (REPORTED if paper.rows else FOLDER) / f"{key}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = [*enumerate(csv.DictReader(file), 2)]
    if paper.rows:
        return [number for i, line in lines for number in _of_row(paper, line, f"{path} line {i}")]
    return [_printed(row, f"{path} line {i}") for i, row in lines]


def _of_row(paper: Paper, line: dict[str, str], where: str) -> Iterator[Printed]:
    """Yield the numbers of one row of a table that has a column each."""
    row = paper.rows[line["method"]]
    for column, unit in WIDE.items():
        yield _printed(
            {
                "table": "Leaderboard",
                "dataset": line["dataset"],
                "architecture": paper.networks[line["architecture"]],
                "norm": "Linf",
                "eps": "8/255",
                "label": line["method"],
                "method": row.method,
                "settings": json.dumps(row.settings),
                "attack": column,
                "checkpoint": row.checkpoint,
                "value": line[column],
                "unit": unit,
                "spread": line[f"{column}_sd"],
                "seeds": line["seeds"],
                "images": str(paper.images or "") if unit == "%" else "",
                "epochs": line["epochs"],
                "note": line["note"],
            },
            where,
        )


def _printed(row: dict[str, str], where: str) -> Printed:
    if set(row) != {field.name for field in dataclasses.fields(Printed)}:
        raise ValueError(f"{where} has columns {sorted(map(str, row))}")
    try:
        settings = json.loads(row["settings"] or "{}")
        seeds, images = (int(row[key]) if row[key] else None for key in ("seeds", "images"))
        for number in filter(None, (row["value"], row["spread"])):
            float(number)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    typed: dict[str, Any] = row | {"settings": settings, "seeds": seeds, "images": images}
    return Printed(**typed)
