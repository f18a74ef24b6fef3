"""Collect the records of every run, and put runs that may be compared into one table."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from bench.runs.record import Config, Record, Status, radius
from bench.runs.stage import stages
from bench.runs.typed import build

# The fields of a configuration that all runs of a table share; its rows differ in the method.
SHARED_FIELDS = (
    "dataset", "architecture", "width", "norm", "eps", "protocol", "precision", "train_images",
)  # fmt: skip


class Absence(NamedTuple):
    """Why a number is missing: an id for code, a text for people."""

    id: Status | Literal["not run", "unreadable", "no number"]
    text: str


NOT_RUN = Absence("not run", "not run")


@dataclass
class RunRecords:
    """The records of one run: one for each stage that has left any."""

    folder: str  # data set/architecture/method/run id
    config: Config
    published: bool
    planned: bool = False  # by the suite that Snakemake last ran
    records: dict[str, Record] = field(default_factory=dict)  # by stage
    broken: dict[str, str] = field(default_factory=dict)  # by stage: why its file is unreadable

    def has(self, stage: str) -> bool:
        """Tell whether a stage is done."""
        return self.absence(stage) is None

    def absence(self, stage: str) -> Absence | None:
        """Tell why a stage has no numbers; None if it is done."""
        if stage in self.broken:
            return Absence("unreadable", f"unreadable: {self.broken[stage]}")
        record = self.records.get(stage)
        if record is None:
            return NOT_RUN
        if record.status == "done":
            return None
        return Absence(record.status, f"{record.status}: {record.reason}")

    @property
    def checksum(self) -> str:
        """SHA-256 of the data that the run saw; "" if no record names it."""
        return next((r.data.checksum for r in self.records.values() if r.data), "")


def collect(
    *, published: Path, runs: Path | None = None, plan: Path | None = None
) -> list[RunRecords]:
    """Read all records and the plan; a run's working records replace its published ones.

    Args:
        published: the folder of published records, searched to any depth.
        runs: the folder of this machine's records.
        plan: JSON with what Snakemake last planned; adds the runs that have no record yet.
    """
    found: dict[str, RunRecords] = {}
    for root in (published, runs):
        for stage in stages():
            for path in sorted(root.rglob(f"{stage}.json")) if root else ():
                _add(found, path, stage, root is published)
    planned = json.loads(plan.read_text(encoding="utf-8")) if plan and plan.is_file() else {}
    for entry in planned.get("runs", ()):
        config: Config = build(Config, entry["config"], "plan")
        new = RunRecords(entry["folder"], config, published=False)
        found.setdefault(entry["folder"], new).planned = True
    return sorted(found.values(), key=lambda run: run.folder)


def by_table(runs: Iterable[RunRecords]) -> list[list[RunRecords]]:
    """Put runs that may be compared together; tables of the last plan come first.

    Two runs share a table if they agree in SHARED_FIELDS and in the checksum of their data. A run
    that failed before it saw its data joins a table that agrees in SHARED_FIELDS.
    """
    members: dict[tuple[str, ...], list[RunRecords]] = defaultdict(list)
    known_checksums: dict[tuple[str, ...], str] = {}
    for run in sorted(runs, key=lambda run: run.checksum, reverse=True):
        shared = _shared(run.config)
        checksum = run.checksum or known_checksums.get(shared, "")
        known_checksums.setdefault(shared, checksum)
        members[*shared, checksum].append(run)
    ordered = sorted(members.items(), key=lambda item: (not is_planned(item[1]), item[0]))
    return [table for _, table in ordered]


def is_planned(runs: Iterable[RunRecords]) -> bool:
    """Tell whether the last plan asked for any of these runs."""
    return any(run.planned for run in runs)


def _add(found: dict[str, RunRecords], path: Path, stage: str, is_published: bool) -> None:
    try:
        record = Record.read(path)
    except (ValueError, OSError) as error:
        neighbour = _config_beside(path)
        if neighbour is not None:
            folder = "/".join(path.parts[-5:-1])
            run = found.setdefault(folder, RunRecords(folder, neighbour, is_published))
            run.broken[stage] = str(error)
        return
    config = record.config
    folder = f"{config.dataset}/{config.architecture}/{config.method}/{record.run}"
    known = found.get(folder)
    if known is None or (known.published and not is_published):
        known = found[folder] = RunRecords(folder, config, is_published)
    known.records[stage] = record


def _config_beside(path: Path) -> Config | None:
    """Read the configuration that a broken record shares with a sound one in the same folder."""
    for other in path.parent.glob("*.json"):
        try:
            return Record.read(other).config
        except (ValueError, OSError):
            continue
    return None


def _shared(config: Config) -> tuple[str, ...]:
    """Write SHARED_FIELDS as texts that sort as numbers do; the radius stands once more, last."""
    values = [
        config.protocol["name"] if name == "protocol" else getattr(config, name)
        for name in SHARED_FIELDS
    ]
    texts = (f"{value:06d}" if isinstance(value, int) else str(value) for value in values)
    return (*texts, f"{radius(config.eps):09.6f}")
