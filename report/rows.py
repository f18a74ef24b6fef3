"""Rows of a table: one method with one choice of settings, over all its seeds."""

import dataclasses
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.runs.record import AUTOATTACK, TRAIN, Config, Verdict
from bench.runs.settings import published_settings
from report import ranks, sources, verdicts
from report.collect import RunRecords
from report.columns import Column
from report.notes import DOUBT_IDS, CurrentCode, Note, has_learned, image_count, notes
from report.statistic import Statistic, image_verdicts, statistic

NOT_LEARNED = "did not learn"  # in any of its seeds
MOST_NAMED = 3  # settings in a label, whatever their values


@dataclass
class Row:
    """One method with one choice of settings, and its place among the rows of its group."""

    method: str
    label: str  # the method, and the settings in which it differs from its other rows
    key: str  # names it in the page's address
    cells: dict[str, Statistic]  # by the column's key
    runs: list[RunRecords]  # one a seed
    family: str
    collapse: str = "-"  # seeds that collapsed, of how many, and the epochs, for people
    collapsed: tuple[int, int] | None = None  # seeds that collapsed, of how many; None: unknown
    unfit: str = ""  # why it has no rank, whatever its numbers; "" if it may have one
    status: str = "done"  # or the id of the first absence, or NOT_LEARNED
    reason: str = ""  # why training or AutoAttack is missing
    notes: list[Note] = field(default_factory=list)
    place: int | None = None  # by mean AutoAttack; equal means share one
    rank: int | None = None  # the place of its tie group's first row
    tied: bool = False  # does its tie group have several rows

    @property
    def is_ranked(self) -> bool:
        """Whether it has a number to be ranked by, and nothing speaks against it."""
        return bool(self.cells["autoattack"].n) and not self.unfit

    @property
    def accuracy(self) -> float:
        """Mean accuracy under AutoAttack; minus infinity where there is none."""
        mean = self.cells["autoattack"].mean
        return -math.inf if mean is None else mean

    @property
    def title(self) -> str:
        """Its label, with the method's name as the field writes it."""
        return sources.title(self.method) + self.label.removeprefix(self.method)

    @property
    def doubts(self) -> list[Note]:
        """Its notes that evaluation.masking raised."""
        return [note for note in self.notes if note.is_doubt]

    @property
    def badges(self) -> list[tuple[str, bool]]:
        """What must be seen beside the name: a word or two each, and whether it is bad news."""
        found = verdicts.badges([verdict.outcome for verdict in _verdicts(self)])
        found += [(text, True) for text in self.warnings]
        return [*found, ("n = 1", False)] if "one seed" in self._ids else found

    @property
    def warnings(self) -> list[str]:
        """What speaks against its numbers, beside collapse: a word or two each."""
        found, ids = [], self._ids
        if self.status not in ("done", "not run"):
            found.append("out of memory" if self.status == "oom" else self.status)
        elif "learning" in ids:
            learned = [one for run in self.runs if (one := has_learned(run)) is not None]
            found.append(f"did not learn {learned.count(False)} of {len(learned)}")
        if ids & {*DOUBT_IDS} - {"learning"}:
            found.append("masked?")
        if "weights" in ids:
            found.append("weights changed")
        if "unofficial data" in ids:
            found.append("unofficial")
        return found

    @property
    def told(self) -> str:
        """What became of its seeds, and what speaks against its numbers, in one line."""
        found = [self.collapse, self.status, *self.warnings]
        return "; ".join(dict.fromkeys(one for one in found if one not in ("-", "done"))) or "-"

    @property
    def _ids(self) -> set[str]:
        return {note.id for note in self.notes}

    @property
    def rank_text(self) -> str:
        """The rank for people: "1=" where others share it, "-" where there is none."""
        return "-" if self.rank is None else f"{self.rank}{'=' * self.tied}"


def rows(
    runs: Iterable[RunRecords],
    columns: Sequence[Column],
    *,
    unofficial: bool,
    current: CurrentCode | None,
) -> tuple[list[Row], list[str]]:
    """Make the rows of a group, ranked by AutoAttack.

    Rows that did not learn, or whose training cannot be read, and then those without its number,
    come last and unranked.

    Args:
        runs: of the group.
        unofficial: the data differ from the published copy.
        current: to mark stale records; None marks none.

    Returns:
        The rows, and what ``ranks.pair_marks`` says of those with a number.
    """
    by_row: dict[tuple[str, str], list[RunRecords]] = defaultdict(list)
    for run in runs:
        by_row[run.config.method, json.dumps(choices(run.config), sort_keys=True)].append(run)
    made = [
        _row(
            seeds,
            label=_label(seeds[0].config, by_row),
            columns=columns,
            unofficial=unofficial,
            current=current,
        )
        for seeds in by_row.values()
    ]
    made.sort(key=lambda row: (not row.is_ranked, -row.accuracy, row.label))
    pair_marks = _rank([row for row in made if row.is_ranked])
    if len({n for row in made for n in row.cells["autoattack"].images}) > 1:
        for row in made:
            if images := row.cells["autoattack"].images:
                row.notes.append(image_count(images))
    return made, pair_marks


def short_hash(value: Any) -> str:
    """First 8 hex digits of the SHA-256 of a value's sorted JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _row(
    runs: list[RunRecords],
    *,
    label: str,
    columns: Sequence[Column],
    unofficial: bool,
    current: CurrentCode | None,
) -> Row:
    config = runs[0].config
    cells = {column.key: statistic(runs, column) for column in columns}
    row = Row(
        method=config.method,
        label=label,
        key=short_hash(config.with_seed(0).as_dict()),
        cells=cells,
        runs=runs,
        family=sources.family(config.method, cells["passes"].mean),
        notes=notes(runs, attacked=cells["autoattack"].n, unofficial=unofficial, current=current),
    )
    _add_collapse(row)
    _add_learning(row)
    _add_absences(row)
    return row


def _verdicts(row: Row) -> list[Verdict]:
    return [training.verdict for run in row.runs if (training := run.training)]


def _add_collapse(row: Row) -> None:
    """Count the seeds that collapsed, and name the epochs, from 1, in which it began."""
    found = _verdicts(row)
    if not found:
        return
    row.collapsed = sum(v.collapsed for v in found), len(found)
    onsets = [v.onset_epoch + 1 for v in found if v.onset_epoch is not None]
    row.collapse = verdicts.counted([v.outcome for v in found], onsets)


def _add_learning(row: Row) -> None:
    """Find what speaks against a rank: no seed learned, or nobody knows whether one did."""
    learned = [learned for run in row.runs if (learned := has_learned(run)) is not None]
    unknown = [
        absence for run in row.runs if run.has(AUTOATTACK) and (absence := run.absence(TRAIN))
    ]
    if learned and not any(learned):
        row.status = row.unfit = NOT_LEARNED
    elif unknown:
        row.unfit = f"attacked, but its training is {unknown[0].id}"


def _add_absences(row: Row) -> None:
    """Tell why training or AutoAttack of some seeds is missing."""
    absences = [
        absence
        for run in row.runs
        for stage in (TRAIN, AUTOATTACK)
        if (absence := run.absence(stage))
    ]
    # a stage is skipped because another one failed, which tells more
    absences = [absence for absence in absences if absence.id != "skipped"] or absences
    if absences:
        row.status = absences[0].id
        row.reason = "; ".join(dict.fromkeys(absence.text for absence in absences))


def _rank(ranked: Sequence[Row]) -> list[str]:
    """Give rows that are in order their places, tie groups and ranks; return the pair marks."""
    accuracies = [row.accuracy for row in ranked]
    marks = ranks.pair_marks([image_verdicts(row.runs) for row in ranked], accuracies)
    shared = ranks.tie_group_ranks(marks)
    for row, rank in zip(ranked, shared, strict=True):
        row.place = 1 + sum(other > row.accuracy for other in accuracies)
        row.rank, row.tied = rank, shared.count(rank) > 1
    return marks


def choices(config: Config) -> dict[str, Any]:
    """List what tells a row from others of its method: its settings and its start."""
    chosen, start = sources.settings(config), config.start
    if start:
        changed = (f"{name}={value}" for name, value in start.settings.items())
        kept = [f"kept={start.kept}"] if start.kept else []
        name = start.protocol["name"]
        # SOAR has a setting of the name start
        chosen = chosen | {"from": " ".join([start.method, *changed, name, *kept])}
    return chosen


def changed(config: Config) -> dict[str, Any]:
    """Return those choices of a run that are not as published for its data set."""
    published = published_settings(config.method, config.dataset)
    usual = choices(dataclasses.replace(config, settings=published))
    return {name: value for name, value in choices(config).items() if value != usual.get(name)}


def _label(config: Config, variants: Iterable[tuple[str, str]]) -> str:
    """Name a method, with those of its settings that differ among its variants.

    Of many, those that are not as published: the row without any is the published one.
    """
    others = [json.loads(told) for method, told in variants if method == config.method]
    chosen = choices(config)
    differing = [
        name for name in chosen if len({json.dumps(other.get(name)) for other in others}) > 1
    ]
    if len(differing) > MOST_NAMED:
        differing = [name for name in differing if name in changed(config)]
    values = ", ".join(f"{name}={chosen[name]}" for name in differing)
    return f"{config.method} ({values})" if values else config.method
