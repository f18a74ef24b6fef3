"""Collect the records of every run, and put runs that may be compared into one table."""

import gc
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from bench.runs import catalogue
from bench.runs.cache import Cache, Reader, cached
from bench.runs.find import is_id
from bench.runs.record import (
    AUTOATTACK,
    COST,
    TRAIN,
    Attack,
    Config,
    Evaluation,
    Record,
    Status,
    Training,
    is_stage,
    radius,
)
from bench.runs.stage import in_order
from bench.runs.typed import parse

SUBMITTED = "submitted"  # below published/: a folder for each who sent runs

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
    place: Path | None = None  # the folder that its records lie in
    path: str = ""  # the same, from the folder of results; "" where there are none yet
    weights: str = ""  # what ``report.weights`` found of them; "" where it has not looked

    @property
    def run_id(self) -> str:
        """The run's id; ``config.run_id`` without hashing it again."""
        return self.folder.rpartition("/")[2]

    @property
    def training(self) -> Training | None:
        """What its training found; None if that is not done."""
        return self.records[TRAIN].training if self.has(TRAIN) else None

    @property
    def attack(self) -> Attack | None:
        """What AutoAttack found; None if it is not done."""
        return self.records[AUTOATTACK].attack if self.has(AUTOATTACK) else None

    @property
    def sources(self) -> set[str]:
        """Ids of other runs whose weights its stages read."""
        bodies = (record.body for record in self.records.values())
        read = {body.source.run for body in bodies
                if isinstance(body, Training | Evaluation) and body.source}  # fmt: skip
        return read | ({self.config.source.run_id} if self.config.source else set())

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


class Collection(NamedTuple):
    """What was found below a folder of results."""

    runs: list[RunRecords]
    faults: list[str]  # of files that cannot be read and belong to no run that is known otherwise


@dataclass
class _Planned:
    folder: str
    config: Config


@dataclass
class _Plan:
    """What workflows/plan.py writes."""

    suite: str
    runs: list[_Planned]


@contextmanager
def no_garbage() -> Iterator[None]:
    """Look for no garbage meanwhile: among a million objects that stay, that takes most time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@catalogue.read_once()
@no_garbage()
def collect_all(results: Path, *, plan: Path | None = None) -> Collection:
    """Read all records below a folder of results, published ones and this machine's."""
    published, runs = results / "published", results / "runs"
    with cached(results) as cache:
        return collect(published=published, runs=runs, plan=plan, cache=cache)


def collect(
    *,
    published: Path,
    runs: Path | None = None,
    plan: Path | None = None,
    cache: Cache | None = None,
) -> Collection:
    """Read all records and the plan; a run's working records replace its published ones.

    Args:
        published: the folder of published records, searched to any depth.
        runs: the folder of this machine's records.
        plan: JSON with what Snakemake last planned; adds the runs that have no record yet.
        cache: reads records in less time.
    """
    read = cache.read if cache else Record.read
    found: dict[str, RunRecords] = {}  # by folder
    planned, faults = _planned(plan)
    misplaced: dict[Path, str] = {}  # submissions, with where they belong
    for root in filter(None, (published, runs)):
        is_published = root is published
        by_stage: dict[str, list[Path]] = defaultdict(list)
        for path in _files(root):
            by_stage[path.stem].append(path)
        for stage in in_order(filter(is_stage, by_stage)):
            for path in cache.ahead(by_stage[stage]) if cache else by_stage[stage]:
                try:
                    record = _own(read, path)
                except (ValueError, OSError) as error:
                    config = _config_beside(path) or planned.get("/".join(path.parts[-5:-1]))
                    if config is None:
                        faults.append(str(error))
                    else:
                        run = _run(found, config, config.folder, path.parent, root, is_published)
                        run.broken[stage] = str(error)
                else:
                    config = record.config
                    if is_published and not _is_in_place(record, path.parent.relative_to(root)):
                        misplaced[path.parent] = record.folder
                        continue
                    run = _run(found, config, record.folder, path.parent, root, is_published)
                    run.records[stage] = record
    faults += [
        f"{place} is a submission in no place of one; move it to "
        f"{published / SUBMITTED / '<who submitted it>' / folder}"
        for place, folder in misplaced.items()
    ]
    for config in planned.values():
        found.setdefault(
            config.folder, RunRecords(config.folder, config, published=False)
        ).planned = True
    return Collection(sorted(found.values(), key=lambda run: run.folder), faults)


def _files(root: Path) -> Iterator[Path]:
    """Yield what is named as JSON below a folder, in order, but for what runs go on from."""
    for folder, folders, names in os.walk(root):
        for name in sorted([*folders, *names]):
            if name.endswith(".json"):
                yield Path(folder, name)
        folders[:] = sorted({*folders} - {"state"})


def listed(runs: Iterable[RunRecords]) -> list[RunRecords]:
    """Leave out runs that no suite lists: those trained for others to read, and never attacked."""
    runs = list(runs)
    read = {source for run in runs for source in run.sources}
    return [
        run for run in runs
        if run.planned or run.run_id not in read
        or {*run.records, *run.broken} - {TRAIN, COST}
    ]  # fmt: skip


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


def _planned(path: Path | None) -> tuple[dict[str, Config], list[str]]:
    """Read the runs of the last plan, by folder; and why the plan cannot be read, if so."""
    if path is None or not path.exists():
        return {}, []
    try:
        plan: _Plan = parse(_Plan, path.read_bytes(), "plan")
        if mistakes := [text for entry in plan.runs for text in entry.config.contradictions()]:
            raise ValueError("; ".join(mistakes))
    except (ValueError, OSError) as error:
        return {}, [f"{path} cannot be read ({error}); Snakemake's next run writes it anew"]
    return {entry.config.folder: entry.config for entry in plan.runs}, []


def _run(
    found: dict[str, RunRecords],
    config: Config,
    folder: str,
    place: Path,
    root: Path,
    is_published: bool,
) -> RunRecords:
    """Return the run of a folder; a run of this machine replaces the published one."""
    known = found.get(folder)
    if known is None or (known.published and not is_published):
        path = (root.name / place.relative_to(root)).as_posix()
        known = found[folder] = RunRecords(folder, config, is_published, place=place, path=path)
    return known


def _own(read: Reader, path: Path) -> Record:
    """Read a record, which has to be of the run whose id its folder's name is, if it is one."""
    record = read(path)
    if is_id(path.parent.name) and record.run != path.parent.name:
        raise ValueError(
            f"{path} is of run {record.run}, and its folder is named {path.parent.name}; move it "
            f"to {record.folder} or remove it"
        )
    return record


def _is_in_place(record: Record, folder: Path) -> bool:
    """Tell whether a published record lies where its kind does.

    Args:
        folder: of the record, from that of published records.
    """
    parts = folder.parts
    return parts[:1] != (SUBMITTED,) or "/".join(parts[2:]) == record.folder


def _config_beside(path: Path) -> Config | None:
    """Read the configuration that a broken record shares with a sound one in the same folder."""
    for other in path.parent.glob("*.json"):
        try:
            return _own(Record.read, other).config
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
