"""The papers' printed numbers, and what the papers leave open, as data from report/papers/."""

import csv
import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runs.record import build

FOLDER = Path(__file__).with_name("papers")


@dataclass(frozen=True)
class Printed:
    """One number as a paper prints it; a column of the CSV each."""

    table: str
    dataset: str  # ours where we have it, else the paper's name
    architecture: str  # likewise
    norm: str  # "" where the table names none
    eps: str  # radius of training, "8/255"; an attack at another one says so in its name
    printed: str  # the row's label
    method: str  # ours; "" where there is none
    settings: dict[str, Any]  # what the row sets, in our names
    attack: str
    checkpoint: str  # "last", or which other one
    value: str  # as printed, with its zeros
    unit: str
    spread: str  # standard deviation over seeds; "" where none is printed
    seeds: int | None
    epochs: str
    note: str

    @property
    def number(self) -> float:
        """The value to calculate with."""
        return float(self.value)

    @property
    def text(self) -> str:
        """Value and spread."""
        return f"{self.value} ± {self.spread}" if self.spread else self.value


@dataclass(frozen=True)
class Choice:
    """What a paper leaves open."""

    what: str
    said: str
    method: str = ""  # the method that it is about; "": all
    field: str = ""  # of a run's configuration or settings; "": no run differs in it
    options: list[Any] = dataclasses.field(default_factory=list)  # the first is compared with each


@dataclass(frozen=True)
class Paper:
    """A paper and where its numbers come from."""

    key: str
    title: str
    authors: str
    venue: str
    link: str
    source: str
    protocols: list[str]  # ours that repeat the paper's
    settings: dict[str, Any]  # by method: what the paper states
    choices: list[Choice]


def papers() -> list[Paper]:
    """Read what is known about the papers."""
    raw = tomllib.loads((FOLDER / "papers.toml").read_text(encoding="utf-8"))
    found: list[Paper] = build(list[Paper], raw["paper"], "papers.toml")
    return found


def printed(key: str) -> list[Printed]:
    """Read a paper's numbers.

    Raises:
        ValueError: a line is not one; names the file and the line.
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
