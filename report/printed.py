"""The numbers that papers print, and the choices that they leave open, read from report/papers/."""

import csv
import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runs.typed import build

FOLDER = Path(__file__).with_name("papers")


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
    settings: dict[str, Any]  # what the row sets, in our names
    attack: str
    checkpoint: str  # "last", "best", ...
    value: str  # as printed, with its zeros
    unit: str
    spread: str  # standard deviation over seeds; "" where none is printed
    seeds: int | None
    epochs: str
    note: str

    @property
    def number(self) -> float:
        """The value as a number."""
        return float(self.value)

    @property
    def text(self) -> str:
        """Value and spread for people."""
        return f"{self.value} ± {self.spread}" if self.spread else self.value


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


def papers() -> list[Paper]:
    """Read papers.toml."""
    raw = tomllib.loads((FOLDER / "papers.toml").read_text(encoding="utf-8"))
    found: list[Paper] = build(list[Paper], raw["paper"], "papers.toml")
    return found


def printed(key: str) -> list[Printed]:
    """Read a paper's numbers from its CSV file.

    Raises:
        ValueError: a line lacks a column or holds a text for a number; names the file and the line.
    """
    path = FOLDER / f"{key}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [_printed(row, f"{path} line {i}") for i, row in enumerate(csv.DictReader(file), 2)]


def _printed(row: dict[str, str], where: str) -> Printed:
    if set(row) != {field.name for field in dataclasses.fields(Printed)}:
        raise ValueError(f"{where} has columns {sorted(map(str, row))}")
    try:
        settings = json.loads(row["settings"] or "{}")
        seeds = int(row["seeds"]) if row["seeds"] else None
        for number in filter(None, (row["value"], row["spread"])):
            float(number)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    typed: dict[str, Any] = row | {"settings": settings, "seeds": seeds}
    return Printed(**typed)
