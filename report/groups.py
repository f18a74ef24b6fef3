"""Groups: the tables of the leaderboard, each with rows that may be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.runs.protocol import Protocol
from bench.runs.record import Data, Origin
from report import sources
from report.collect import RunRecords, by_table, is_planned, listed
from report.columns import COLUMNS, Column, measured
from report.notes import CurrentCode
from report.rows import Row, rows, short_hash

# Titles of the facts, in the order of the page.
TITLES = {
    "dataset": "data set", "architecture": "architecture", "width": "width", "eps": "eps",
    "norm": "norm", "protocol": "protocol", "targets": "labels and weights",
    "precision": "precision", "train_images": "training images", "data": "data",
    "checksum": "checksum", "measured": "measured", "device": "device", "torch": "torch",
    "commit": "commit", "attacked_images": "attacked images", "tested_images": "tested images",
}  # fmt: skip
# Facts that name a group in the page's address: they last as long as the same runs are compared.
KEY_FACTS = ("dataset", "architecture", "width", "eps", "norm", "protocol", "precision",
             "train_images", "checksum")  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the rows of a group share, and the provenance of their numbers."""

    dataset: str
    architecture: str
    width: int
    eps: str
    norm: str
    protocol: str
    targets: str  # what the protocol does with labels and weights
    precision: str
    train_images: int | None  # None: all, of data that no run has seen yet
    official: bool | None  # are the data equal to the published copy; None: no run has seen them
    checksum: str  # of the data; "" likewise
    measured: tuple[str, ...]  # days
    device: tuple[str, ...]
    torch: tuple[str, ...]  # versions
    commit: tuple[str, ...]
    attacked_images: tuple[int, ...]  # by AutoAttack; several where rows differ
    tested_images: tuple[int, ...]  # without attack, with FGSM and with PGD-10

    @property
    def texts(self) -> dict[str, str]:
        """The facts for people, by the names in TITLES."""
        data = {None: "not known yet", True: "official", False: "UNOFFICIAL"}
        written = {
            "width": str(self.width),
            "train_images": str(self.train_images or "all"),
            "data": data[self.official],
        }
        return {name: written.get(name) or _listed(getattr(self, name)) for name in TITLES}

    @property
    def titled(self) -> dict[str, str]:
        """The facts for people, by title."""
        return {TITLES[name]: text for name, text in self.texts.items()}


@dataclass
class Group:
    """A table: its rows and what they share."""

    name: str
    planned: bool  # by the suite that Snakemake last ran
    file_name: str  # of its files, by its facts, without a suffix
    facts: Facts
    rows: list[Row]  # by rank
    columns: list[Column]  # without optional ones that no row has a number for
    pair_marks: list[str]  # of ``ranks.pair_marks``, for the rows with AutoAttack, which come first

    @property
    def caution(self) -> str:
        """What its data set's file warns of."""
        return sources.caution(self.facts.dataset)

    @property
    def key(self) -> str:
        """The group's name in the page's address."""
        texts = self.facts.texts
        return short_hash([texts[name] for name in KEY_FACTS])


def file_name(members: Sequence[RunRecords]) -> str:
    """Name the files of a table by what its runs share, without a suffix."""
    config, data = members[0].config, _data(members)
    threat = config.eps if config.norm == "Linf" else f"{config.norm}_{config.eps}"
    parts = [config.dataset, config.architecture, threat, config.protocol["name"], config.precision]
    images = data.train_images if data else config.train_images
    parts += [f"w{config.width}", f"n{images or 'all'}", data.checksum[:6] if data else ""]
    return "-".join(part.replace("/", "_") for part in parts if part)


def groups(runs: Iterable[RunRecords], *, current: CurrentCode | None = None) -> list[Group]:
    """Make the tables of the leaderboard, those of the last plan first, each by AutoAttack.

    Args:
        current: to mark stale records; None marks none.
    """
    runs = listed(runs)
    columns = (*COLUMNS, *measured(r for run in runs for r in run.records.values()))
    return [_group(members, current, columns) for members in by_table(runs)]


def frame(*found: Group) -> pd.DataFrame:
    """Make a data frame of the groups' rows, with a column each for mean, spread and n.

    A mean that is missing is empty, but "unreadable" where a damaged record may hold one.
    """
    tables = [(group.facts.titled, group.rows) for group in found]
    lines = [_line(facts, row) for facts, members in tables for row in members]
    return pd.DataFrame(lines).map(no_formula)


def _line(facts: dict[str, str], row: Row) -> dict[str, Any]:
    line: dict[str, Any] = {
        **facts, "rank": row.rank, "place": row.place, "method": row.label, "family": row.family,
    }  # fmt: skip
    for key, cell in row.cells.items():
        line |= {
            key: "unreadable" if cell.is_unreadable else cell.mean,
            f"{key}_sd": cell.spread,
            f"{key}_n": cell.n,
        }
        if cell.images:
            line[f"{key}_images"] = min(cell.images)
    notes = "; ".join(note.text for note in row.notes)
    return line | {"collapsed": row.collapse, "status": row.status, "notes": notes}


def no_formula(value: Any) -> Any:
    """Put a quote before text that a spreadsheet would compute."""
    computed = isinstance(value, str) and value != "-" and value.startswith(tuple("=+-@\t\r"))
    return f"'{value}" if computed else value


def _group(
    members: Sequence[RunRecords], current: CurrentCode | None, columns: Sequence[Column]
) -> Group:
    config = members[0].config
    data = _data(members)
    records = (record for run in members for record in run.records.values())
    origins = [record.origin for record in records if record.origin]
    unofficial = data is not None and not data.official
    made, pair_marks = rows(members, columns, unofficial=unofficial, current=current)
    facts = Facts(
        dataset=config.dataset,
        architecture=config.architecture,
        width=config.width,
        eps=config.eps,
        norm=config.norm,
        protocol=config.protocol["name"],
        targets=Protocol(**config.protocol).described,
        precision=config.precision,
        train_images=data.train_images if data else config.train_images,
        official=data.official if data else None,
        checksum=data.checksum if data else "",
        measured=tuple(sorted({origin.started[:10] for origin in origins})),
        device=_distinct(origin.device for origin in origins),
        torch=_distinct(origin.torch for origin in origins),
        commit=_distinct(map(_commit, origins)),
        attacked_images=_images(made, "autoattack"),
        tested_images=_images(made, "clean"),
    )
    name = f"{config.dataset}, {config.architecture}, {config.norm} {config.eps}"
    name += f", {config.protocol['name']}, width {config.width}"
    shown = [c for c in columns if not c.optional or any(row.cells[c.key].n for row in made)]
    return Group(name, is_planned(members), file_name(members), facts, made, shown, pair_marks)


def _data(members: Iterable[RunRecords]) -> Data | None:
    """Read what the first record that saw data says of them."""
    records = (record for run in members for record in run.records.values())
    return next((record.data for record in records if record.data), None)


def _commit(origin: Origin) -> str:
    """Write a commit's first 12 digits, and whether its files had been changed."""
    changes = " and uncommitted changes" if origin.dirty else ""
    return (origin.commit or "unknown")[:12] + changes


def _images(made: Iterable[Row], column: str) -> tuple[int, ...]:
    return tuple(sorted({n for row in made for n in row.cells[column].images}))


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _listed(fact: str | tuple[Any, ...]) -> str:
    return fact if isinstance(fact, str) else ", ".join(map(str, fact))
