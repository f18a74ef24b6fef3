"""Records to rows: mean and spread over seeds, and why a cell is empty."""

import dataclasses
import functools
import hashlib
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.runs import catalogue
from bench.runs.fingerprints import same
from bench.runs.record import AUTOATTACK, COST, TRAIN, Config, Record, build, radius
from bench.runs.stage import stages
from evaluation.binomial import wilson
from evaluation.masking import doubts
from report import ranks
from report.columns import COLUMNS, Column, measured
from report.sources import family

INDICATIVE = "indicative (n = 1)"
UNOFFICIAL = "unofficial data"
FAST = "AutoAttack in fast mode: may call an image robust that is not"
# What two runs must share to be compared; the rest of a row is its method.
GROUP = ("dataset", "architecture", "width", "norm", "eps", "protocol", "precision", "train_images")


class Now(NamedTuple):
    """Fingerprints of the code as it is, to mark what older code made."""

    bench: Callable[[str, str, str], str]  # of a stage, a data set and an architecture
    method: Callable[[str], str | None]  # of a method; None where it cannot be read any more


@dataclass
class Run:
    """One run's stages, as far as there are any."""

    folder: str
    config: Config
    published: bool
    planned: bool = False  # by the suite that Snakemake last ran
    stages: dict[str, Record] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)  # stage: why its file cannot be read

    def has(self, stage: str) -> bool:
        """Is a stage done?"""
        return self.why(stage) is None

    def why(self, stage: str) -> str | None:
        """Say why a stage has no numbers; None if it has."""
        if stage in self.broken:
            return self.broken[stage]
        record = self.stages.get(stage)
        if record is None:
            return "not run"
        return None if record.status == "done" else f"{record.status}: {record.reason}"


@dataclass(frozen=True)
class Cell:
    """A number over seeds, or why there is none."""

    mean: float | None = None
    spread: float | None = None  # standard deviation over seeds; None for one seed
    n: int = 0  # seeds
    images: tuple[int, ...] = ()  # behind each seed's number, where they differ in order
    interval: tuple[float, float] | None = None  # 95 %, of the mean
    why: str | None = None

    @property
    def text(self) -> str:
        """The cell for people; '-' where there is no number."""
        if self.mean is None:
            return "-"
        return f"{self.mean:.2f}" + (f" ± {self.spread:.2f}" if self.spread is not None else "")

    @property
    def note(self) -> str:
        """What hovers over the cell."""
        if self.mean is None:
            return self.why or ""
        seeds = f"{self.n} seed{'s' if self.n != 1 else ''}"
        if self.images:
            seeds += f", {' or '.join(map(str, self.images))} images each"
        if self.interval is None:
            return seeds
        low, high = self.interval
        return f"{seeds}: 95 % interval {low:.1f} to {high:.1f}"


@dataclass
class Row:
    """One method in its group."""

    method: str
    label: str
    key: str  # names it in the page's address
    cells: dict[str, Cell]
    runs: list[Run]
    family: str = "other"
    place: int | None = None  # by mean AutoAttack; equal means share one
    rank: int | None = None  # the place of the first of those that it is not told apart from
    tied: bool = False
    collapse: str = "-"
    collapsed: tuple[int, int] | None = None  # seeds that did, of so many
    status: str = "done"
    why: str = ""
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)  # of evaluation.masking; among the notes too

    @property
    def rank_text(self) -> str:
        """Its rank for people: '1=' where others share it."""
        return "-" if self.rank is None else f"{self.rank}{'=' * self.tied}"


@dataclass
class Group:
    """Rows that may be compared, and what they share."""

    name: str
    anchor: str
    planned: bool  # by the suite that Snakemake last ran; such groups come first
    facts: dict[str, str]
    rows: list[Row]
    columns: list[Column]  # that this group has something to say about
    apart: list[str]  # what report.ranks says of its rows with AutoAttack, which come first

    @property
    def key(self) -> str:
        """What names it in the page's address, as long as the same runs are compared."""
        shared = ("data set", "architecture", "width", "eps", "norm", "protocol", "precision",
                  "training images", "checksum")  # fmt: skip
        return _short_hash([self.facts[name] for name in shared])


def collect(*, published: Path, runs: Path | None = None, plan: Path | None = None) -> list[Run]:
    """Read every record there is; a run in both places counts once, as the working one.

    Args:
        published: folder of the records in git, any number of sets deep.
        runs: folder of the working results, if they count.
        plan: what Snakemake last planned, if it counts; need not exist.

    Returns:
        All runs, planned ones without records included.
    """
    found: dict[str, Run] = {}
    for root in (published, runs):
        for stage in stages():
            for path in sorted(root.rglob(f"{stage}.json")) if root else ():
                _add(found, path, stage, root is published)
    planned = json.loads(plan.read_text(encoding="utf-8")) if plan and plan.is_file() else {}
    for entry in planned.get("runs", ()):
        config: Config = build(Config, entry["config"], "plan")
        run = found.setdefault(entry["folder"], Run(entry["folder"], config, published=False))
        run.planned = True
    return sorted(found.values(), key=lambda run: run.folder)


def groups(runs: Iterable[Run], *, now: Now | None = None) -> list[Group]:
    """Sort runs into comparable groups, those of the last plan first, each ranked by AutoAttack.

    Args:
        now: to mark what older code made; None marks nothing.
    """
    runs = list(runs)
    columns = (*COLUMNS, *measured(r for run in runs for r in run.stages.values()))
    by_group: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    seen: dict[tuple[str, ...], str] = {}
    for run in sorted(runs, key=_checksum, reverse=True):
        key = _key(run)
        # a run that never saw its data stands with those that did
        checksum = _checksum(run) or seen.get(key, "")
        seen.setdefault(key, checksum)
        by_group[*key, checksum].append(run)
    ordered = sorted(by_group.items(), key=lambda item: (not _planned(item[1]), item[0]))
    return [_group(i, members, now, columns) for i, (_, members) in enumerate(ordered)]


def frame(group: Group) -> pd.DataFrame:
    """Give a group's rows as plain numbers, one column for mean, spread and n each."""
    rows = []
    for row in group.rows:
        flat: dict[str, Any] = {
            **group.facts, "rank": row.rank, "place": row.place, "method": row.label,
            "family": row.family,
        }  # fmt: skip
        for key, cell in row.cells.items():
            flat |= {key: cell.mean, f"{key}_sd": cell.spread, f"{key}_n": cell.n}
            if cell.images:
                flat[f"{key}_images"] = min(cell.images)
        flat |= {"collapsed": row.collapse, "status": row.status, "notes": "; ".join(row.notes)}
        rows.append(flat)
    return pd.DataFrame(rows)


def interval(values: Sequence[float], images: Sequence[int] = ()) -> tuple[float, float] | None:
    """95 % interval of the mean over seeds: Student's, but no narrower than Wilson's over images.

    Args:
        values: one a seed; percent where there are images.
        images: how many were behind them.

    Returns:
        None where one seed without images says nothing of the spread.
    """
    mean = statistics.fmean(values)
    bounds = [wilson(mean / 100, min(images))] if images else []
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
        half = error * float(ranks.student(np.array(len(values) - 1.0)))
        bounds.append((mean - half, mean + half))
    if not bounds:
        return None
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return (max(low, 0.0), min(high, 100.0)) if images else (low, high)


def _short_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _add(found: dict[str, Run], path: Path, stage: str, is_published: bool) -> None:
    try:
        record = Record.read(path)
    except ValueError as error:
        config = _config_beside(path)
        if config is not None:
            folder = "/".join(path.parts[-5:-1])
            mine = found.setdefault(folder, Run(folder, config, is_published))
            mine.broken[stage] = f"unreadable: {error}"
        return
    config = record.config
    folder = f"{config.dataset}/{config.architecture}/{config.method}/{record.run}"
    run = found.get(folder)
    if run is None or (run.published and not is_published):
        run = found[folder] = Run(folder, config, is_published)
    run.stages[stage] = record


def _config_beside(path: Path) -> Config | None:
    """Find out which run a broken record belongs to, from a sound one in the same folder."""
    for other in path.parent.glob("*.json"):
        try:
            return Record.read(other).config
        except ValueError:
            continue
    return None


def _planned(members: Iterable[Run]) -> bool:
    return any(run.planned for run in members)


def _checksum(run: Run) -> str:
    return next((r.data.checksum for r in run.stages.values() if r.data), "")


def _key(run: Run) -> tuple[str, ...]:
    config = run.config
    named = [config.protocol["name"] if k == "protocol" else getattr(config, k) for k in GROUP]
    size = f"{radius(config.eps):09.6f}"
    return (
        *(f"{value:06d}" if isinstance(value, int) else str(value) for value in named),
        size,
    )


def _group(i: int, members: list[Run], now: Now | None, columns: Sequence[Column]) -> Group:
    config = members[0].config
    records = [record for run in members for record in run.stages.values()]
    data = next((record.data for record in records if record.data), None)
    origins = [record.origin for record in records if record.origin]
    official = (
        "not known yet" if data is None else "official" if data.official else "UNOFFICIAL DATA"
    )
    facts = {
        "data set": config.dataset,
        "architecture": config.architecture,
        "width": str(config.width),
        "eps": config.eps,
        "norm": config.norm,
        "protocol": config.protocol["name"],
        "precision": config.precision,
        "training images": str(data.train_images if data else config.train_images or "all"),
        "data": official,
        "checksum": data.checksum if data else "",
        "measured": _listed(sorted({origin.started[:10] for origin in origins})),
        "device": _listed(origin.device for origin in origins),
        "torch": _listed(origin.torch for origin in origins),
        "commit": _listed(
            (origin.commit or "unknown")[:12] + (" and uncommitted changes" if origin.dirty else "")
            for origin in origins
        ),
    }
    by_method: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in members:
        settings = json.dumps(run.config.settings, sort_keys=True)
        by_method[run.config.method, settings].append(run)
    unofficial = data is not None and not data.official
    rows = [_row(runs, by_method.keys(), unofficial, now, columns) for runs in by_method.values()]
    apart = _rank(rows)
    sizes = sorted({n for row in rows for n in row.cells["autoattack"].images})
    for row in rows:
        if len(sizes) > 1 and row.cells["autoattack"].images:
            own = " or ".join(map(str, row.cells["autoattack"].images))
            row.notes.append(f"AutoAttack on {own} images, other rows on others")
    facts["attacked images"] = ", ".join(map(str, sizes))
    tested = sorted({n for row in rows for n in row.cells["clean"].images})
    facts["tested images"] = ", ".join(map(str, tested))
    name = f"{config.dataset}, {config.architecture}, {config.norm} {config.eps}"
    name += f", {config.protocol['name']}, width {config.width}"
    shown = [c for c in columns if not c.optional or any(row.cells[c.key].n for row in rows)]
    return Group(name, f"group-{i}", _planned(members), facts, rows, shown, apart)


def _row(
    runs: list[Run],
    variants: Iterable[tuple[str, str]],
    unofficial: bool,
    now: Now | None,
    columns: Sequence[Column],
) -> Row:
    config = runs[0].config
    cells = {column.key: _cell(runs, column) for column in columns}
    same = dataclasses.replace(config, seed=0).as_dict()
    row = Row(config.method, _label(config, variants), _short_hash(same), cells, runs)
    row.family = family(config.method, cells["passes"].mean)
    trained = [run.stages[TRAIN].training for run in runs if run.has(TRAIN)]
    verdicts = [training.verdict for training in trained if training]
    if verdicts:
        row.collapsed = sum(v.collapsed for v in verdicts), len(verdicts)
        onsets = [v.onset_epoch + 1 for v in verdicts if v.onset_epoch is not None]
        since = f" (epoch {', '.join(map(str, sorted(onsets)))})" if onsets else ""
        row.collapse = f"{len(onsets)} of {len(verdicts)}{since}"
    faults = [why for run in runs for stage in (TRAIN, AUTOATTACK) if (why := run.why(stage))]
    # "skipped" repeats what another stage says
    faults = [why for why in faults if not why.startswith("skipped")] or faults
    if faults:
        row.status = faults[0].partition(":")[0]
        row.why = "; ".join(dict.fromkeys(faults))
    for expense in (run.stages[COST].expense for run in runs if run.has(COST)):
        assert expense is not None, "a cost that is done has numbers"
        counted = (expense.forward, expense.backward)
        if counted != (expense.declared_forward, expense.declared_backward):
            declared = f"{expense.declared_forward:g} / {expense.declared_backward:g}"
            row.notes.append(f"declares {declared} passes, makes {counted[0]:g} / {counted[1]:g}")
    if cells["autoattack"].n == 1:
        row.notes.append(INDICATIVE)
    attacks = [run.stages[AUTOATTACK].attack for run in runs if run.has(AUTOATTACK)]
    if any(attack and attack.mode == "fast" for attack in attacks):
        row.notes.append(FAST)
    row.doubts = _doubts(runs)
    row.notes += row.doubts
    if any(run.published for run in runs):
        row.notes.append("published record")
    if unofficial:
        row.notes.append(UNOFFICIAL)
    if now:
        row.notes += _older(runs, now)
    return row


def _older(runs: Iterable[Run], now: Now) -> Iterable[str]:
    """Say which code has changed since the records of a row, one method's, were made."""
    made = {(r.origin, r.stage, r.config.dataset, r.config.architecture, r.config.method)
            for run in runs for r in run.stages.values() if r.origin}  # fmt: skip
    if not all(same(origin.bench_code, now.bench(*where)) for origin, *where, _ in made):
        yield "older code"
    current = {method: now.method(method) for *_, method in made}
    if None in current.values():
        yield "no method code to compare with"
    elif not all(same(origin.method_code, current[method] or "") for origin, *_, method in made):
        yield "older method code"


def _doubts(runs: Sequence[Run]) -> list[str]:
    """Say what is doubtful about any seed: its numbers, the first seed's, and how many have it."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    trained = [run for run in runs if run.has(TRAIN)]
    for run in trained:
        training = run.stages[TRAIN].training
        assert training is not None, "a training that is done has numbers"
        attack = run.stages[AUTOATTACK].attack if run.has(AUTOATTACK) else None
        said = doubts(training, attack, classes=_classes(run.config.dataset))
        for what, sentence in said.items():
            found[what].append((run.config.seed, sentence))
    if len(trained) == 1:
        return [sentence for ((_, sentence),) in found.values()]
    return [
        f"{seeds[0][1]} (seed {seeds[0][0]}; {len(seeds)} of {len(trained)} seeds)"
        for seeds in found.values()
    ]


@functools.cache
def _classes(dataset: str) -> int | None:
    """Count a data set's classes; None if it has no file here."""
    if dataset not in catalogue.names("bench/data"):
        return None
    count: int = catalogue.argument(f"bench/data/{dataset}.py", "INFO", "classes")
    return count


def _cell(runs: Sequence[Run], column: Column) -> Cell:
    values, images, reasons = [], set(), []
    for run in runs:
        why = run.why(column.stage)
        if why is not None:
            if not (column.stage == COST and why == "not run"):  # measured for one seed alone
                reasons.append(why)
            continue
        body = run.stages[column.stage].body
        value = column.value(body)
        if value is None:
            reasons.append(column.absent)
            continue
        values.append(value)
        if column.images:
            images.add(column.images(body))
    if not values:
        return Cell(why="; ".join(dict.fromkeys(reasons)) or "not run")
    return Cell(
        mean=statistics.fmean(values),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        n=len(values),
        images=tuple(sorted(images)),
        interval=interval(values, sorted(images)) or _measured_once(runs, column, values[0]),
    )


def _measured_once(runs: Sequence[Run], column: Column, value: float) -> tuple[float, float] | None:
    """Interval of a number that one run has measured, by what the record says of its error."""
    if column.error is None:
        return None
    body = next(run.stages[column.stage].body for run in runs if run.has(column.stage))
    half = column.error(body)
    return value - half, value + half


def _rank(rows: list[Row]) -> list[str]:
    """Order by AutoAttack; rows without a number come last, unranked.

    Returns:
        What ``ranks.compare`` says of the rows with a number.
    """

    def height(row: Row) -> float:
        mean = row.cells["autoattack"].mean
        return -math.inf if mean is None else mean

    rows.sort(key=lambda row: (-height(row), row.label))
    ranked = [row for row in rows if row.cells["autoattack"].mean is not None]
    apart = ranks.compare([_stood(row) for row in ranked], [height(row) for row in ranked])
    shared = ranks.tied(apart)
    for row, rank in zip(ranked, shared, strict=True):
        row.place = 1 + sum(height(other) > height(row) for other in ranked)
        row.rank, row.tied = rank, shared.count(rank) > 1
    return apart


def _stood(row: Row) -> NDArray[np.bool_] | None:
    """Which images stood AutoAttack, (seeds, images); None if a record does not say."""
    verdicts = []
    for run in row.runs:
        attack = run.stages[AUTOATTACK].attack if run.has(AUTOATTACK) else None
        if attack is None:
            continue
        mask = attack.robust.get(list(attack.after)[-1])
        if mask is None:
            return None
        verdicts.append(ranks.unpack(mask, attack.n))
    images = min(map(len, verdicts))
    return np.stack([stood[:images] for stood in verdicts])


def _label(config: Config, variants: Iterable[tuple[str, str]]) -> str:
    """Name a method, and say in which settings it differs from its other rows in the group."""
    others = [json.loads(settings) for method, settings in variants if method == config.method]
    differ = [
        name for name in config.settings if len({json.dumps(o.get(name)) for o in others}) > 1
    ]
    said = ", ".join(f"{name}={config.settings[name]}" for name in differ)
    return f"{config.method} ({said})" if said else config.method


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))
