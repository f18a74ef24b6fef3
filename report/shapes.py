"""Write docs/shapes.md: what of the papers' claims the published records of small suites show."""

import functools
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.runs import catalogue, evaluations
from bench.runs.catalogue import ROOT
from bench.runs.ending import plural
from bench.runs.evaluations import Entry
from bench.runs.files import write_bytes
from bench.runs.record import AUTOATTACK, COST, SWEEP, TRAIN, Config, Training, radius
from bench.runs.run import expand
from bench.runs.suite import Suite, parse_suite, read_suite
from bench.runs.typed import build
from evaluation.binomial import wilson
from report import ranks, sources, sweep, verdicts
from report.collect import NOT_RUN, RunRecords, collect
from report.columns import COLUMNS, Column, measured
from report.environment import templates
from report.notes import has_learned
from report.printed import papers
from report.rows import changed
from report.statistic import (
    Statistic,
    confidence_interval,
    difference_interval,
    image_verdicts,
    shown,
    statistic,
)

FILE = Path(__file__).with_suffix(".toml")
COLLAPSED, EO = "collapsed", "eo"  # measures that are no columns
OWN = {COLLAPSED: (TRAIN, "seeds that collapsed, %"), EO: (SWEEP, "largest rise, points")}
LOST = "learned nothing or did not end"
Verdict = Literal[
    "visible", "opposite", "not visible at this scale", "one run: no interval", "not measured"
]
VERDICTS: dict[Verdict, str] = {
    "visible": "the interval of the difference lies on the paper's side of 0",
    "opposite": "it lies on the other side",
    "not visible at this scale": "it holds 0",
    "one run: no interval": "what was measured once, and not of images one by one, has none",
    "not measured": "the records lack a side; what makes them stands there",
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a claim: the run of the suite that it is of, and what is measured."""

    method: str
    settings: dict[str, Any] = field(default_factory=dict)  # that tell it from others
    eps: float | None = None  # likewise; in 1/255
    measure: str = ""  # "": the claim's

    def fits(self, config: Config) -> bool:
        """Tell whether a run is of this side."""
        settings = sources.settings(config)
        return (
            config.method == self.method
            and all(settings.get(key) == value for key, value in self.settings.items())
            and (self.eps is None or abs(255 * radius(config.eps) - self.eps) < 1e-6)
        )


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper, as report/shapes.toml has it, which explains the fields."""

    paper: str
    where: str
    says: str
    suite: str
    more: Side
    less: Side
    measure: str = ""
    within: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Measured:
    """What the records hold of a side."""

    config: Config  # of seed 0
    measure: str
    runs: list[RunRecords]  # that learned something
    lost: int  # seeds that did not
    number: Statistic
    command: str  # what makes its records

    @property
    def title(self) -> str:
        """The method, and the settings that are not as published."""
        said = [f"{key}={value}" for key, value in changed(self.config).items()]
        return sources.title(self.config.method) + (f" ({', '.join(said)})" if said else "")

    @property
    def text(self) -> str:
        """The number for people, with what became of the training; "-" where there is none."""
        if self.number.mean is None:
            return "-"
        judged = [_training(run).verdict for run in self.runs]
        outcomes = [verdict.outcome for verdict in judged]
        if self.measure == COLLAPSED:
            onsets = [one.onset_epoch + 1 for one in judged if one.onset_epoch is not None]
            text = verdicts.counted(outcomes, onsets)
        else:
            said = ", ".join(badge for badge, _ in verdicts.badges(outcomes))
            text = self.number.text + (f" ({said})" if said else "")
        return text + (f"; {self.lost} more {LOST}" if self.lost else "")

    @property
    def n(self) -> str:
        """What the number is of: "360 images x 1 seed"."""
        count = plural(self.number.n, "seed")
        if self.measure == COLLAPSED or not self.number.images:
            return count
        return f"{' or '.join(map(str, self.number.images))} images x {count}"

    @property
    def reason(self) -> str:
        """Why there is no number; "" where there is one."""
        return LOST if self.lost and not self.runs else self.number.reason


@dataclass(frozen=True)
class Shape:
    """A claim, and what the records say of it."""

    claim: Claim
    more: Measured
    less: Measured
    difference: float | None = None
    interval: tuple[float, float] | None = None  # 95 %

    @property
    def sides(self) -> tuple[Measured, Measured]:
        """Both sides, the one of the larger number first."""
        return self.more, self.less

    @property
    def verdict(self) -> Verdict:
        """Where the interval lies."""
        if self.difference is None:
            return "not measured"
        if self.interval is None:
            return "one run: no interval"
        low, high = self.interval
        within = self.claim.within
        if within is None:
            is_visible, is_opposite = low > 0, high < 0
        else:
            is_visible = -within <= low and high <= within
            is_opposite = low > within or high < -within
        if is_visible:
            return "visible"
        return "opposite" if is_opposite else "not visible at this scale"

    @property
    def lacking(self) -> str:
        """Which sides have no number and why, and what makes the records; "" if both have one."""
        lack = [side for side in self.sides if side.reason]
        said = dict.fromkeys(f"{side.title}: {side.reason}" for side in lack)
        absent = (side.command for side in lack if side.reason == NOT_RUN.text)
        return "; ".join([*said, *dict.fromkeys(f"`{command}`" for command in absent)])

    @property
    def at(self) -> str:
        """The data, and the radius if it is one."""
        radii = {side.config.eps for side in self.sides}
        return ", ".join([self.more.config.dataset, *(radii if len(radii) == 1 else ())])

    @property
    def named(self) -> list[tuple[Measured, str]]:
        """Both sides, each with its name and with what else tells it from the other."""
        radii = {side.config.eps for side in self.sides}
        heads = {_head(side.measure) for side in self.sides}
        return [
            (
                side,
                side.title
                + (f" at {side.config.eps}" if len(radii) > 1 else "")
                + (f", {_head(side.measure)}" if len(heads) > 1 else ""),
            )
            for side in self.sides
        ]

    @property
    def measure(self) -> str:
        """What is measured, where it is one thing."""
        heads = {_head(side.measure) for side in self.sides}
        return heads.pop() if len(heads) == 1 else "accuracy, %"

    @property
    def n(self) -> str:
        """What the numbers are of; "-" where there are none."""
        if self.lacking:
            return "-"
        return ", ".join(dict.fromkeys(side.n for side in self.sides))

    @property
    def difference_text(self) -> str:
        """The difference with its sign and interval; "-" where there is none."""
        if self.difference is None:
            return "-"
        text = f"{'+' if self.difference >= 0 else ''}{shown(self.difference)}"
        if self.interval is None:
            return text
        low, high = (shown(end, self.difference) for end in self.interval)
        return f"{text} [{low}, {high}]"


def claims(path: Path = FILE) -> list[Claim]:
    """Read the claims.

    Raises:
        ValueError: the file says something that is no claim.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is no TOML: {error}") from None
    found: list[Claim] = build(list[Claim], raw.get("claim"), path.name)
    keys = [paper.key for paper in papers()]
    for claim in found:
        if claim.paper not in keys:
            raise ValueError(f"{path.name}: {catalogue.unknown('paper', claim.paper, keys)}")
    return found


def shapes(asked: Iterable[Claim], runs: Sequence[RunRecords]) -> list[Shape]:
    """Put records beside claims.

    Raises:
        ValueError: a claim names what is not there, or more than one run.
    """
    by_cell: dict[str, list[RunRecords]] = {}
    for run in runs:
        by_cell.setdefault(run.config.with_seed(0).run_id, []).append(run)
    return [_shape(claim, by_cell) for claim in asked]


def _shape(claim: Claim, by_cell: dict[str, list[RunRecords]]) -> Shape:
    try:
        more, less = (_measured(claim, side, by_cell) for side in (claim.more, claim.less))
    except ValueError as error:
        raise ValueError(f"{FILE.name}: {claim.says!r} of {claim.paper}: {error}") from None
    if more.number.mean is None or less.number.mean is None:
        return Shape(claim, more, less)
    paired = _paired(more, less)
    if paired:
        return Shape(claim, more, less, *paired)
    gap = more.number.mean - less.number.mean
    return Shape(claim, more, less, gap, difference_interval(more.number, less.number))


def _measured(claim: Claim, side: Side, by_cell: dict[str, list[RunRecords]]) -> Measured:
    suite, runs = _suite(claim.suite)
    measure = side.measure or claim.measure
    stage, config = _stage(measure), _cell(suite, runs, side)
    found = by_cell.get(config.run_id, [])
    learned = [run for run in found if has_learned(run)]
    return Measured(
        config, measure, learned, len(found) - len(learned),
        _number(learned, measure), _command(suite, stage),
    )  # fmt: skip


def _paired(more: Measured, less: Measured) -> tuple[float, tuple[float, float]] | None:
    """Compare image by image, where the records hold verdicts of both sides: as ranks do."""
    if not more.measure == less.measure == AUTOATTACK:
        return None
    stood = [image_verdicts(side.runs) for side in (more, less)]
    a, b = stood
    if a is None or b is None:
        return None
    n = min(a.shape[1], b.shape[1])
    a, b = a[:, :n], b[:, :n]
    gap, half = 100 * float(a.mean() - b.mean()), 100 * float(ranks.Pairs([a, b]).half()[0, 1])
    return gap, (gap - half, gap + half)


def _number(runs: Sequence[RunRecords], measure: str) -> Statistic:
    """Sum up what runs measured."""
    if measure == COLLAPSED and runs:
        share = sum(_training(run).verdict.collapsed for run in runs) / len(runs)
        return Statistic(100 * share, n=len(runs), interval=wilson(share, len(runs)))
    if measure == EO:
        rises = [found.eo for run in runs if (found := sweep.judge(run))]
        if rises:
            mean = sum(rises) / len(rises)
            return Statistic(mean, n=len(rises), interval=confidence_interval(rises))
    records = (record for run in runs for record in run.records.values())
    column = next((one for one in (*COLUMNS, *measured(records)) if one.key == measure), None)
    return statistic(runs, column) if runs and column else Statistic(absences=(NOT_RUN,))


def _training(run: RunRecords) -> Training:
    assert run.training, "a run that learned has no training"
    return run.training


@functools.cache
def _suite(name: str) -> tuple[Suite, list[Config]]:
    """Read a suite and its runs, with seed 0."""
    suite = parse_suite(read_suite(Path(name)))
    runs = [config.with_seed(0) for config in expand(suite)]
    return suite, [*{run.run_id: run for run in runs}.values()]


def _cell(suite: Suite, runs: Iterable[Config], side: Side) -> Config:
    """Find the run of a suite that a side is of, with seed 0.

    Raises:
        ValueError: there is none, or there are several.
    """
    if side.method not in suite.methods:
        raise ValueError(catalogue.unknown(f"method of {suite.suite}", side.method, suite.methods))
    found = [config for config in runs if side.fits(config)]
    if len(found) == 1:
        return found[0]
    told = [f"{key}={value}" for key, value in side.settings.items()]
    told += [] if side.eps is None else [f"eps={side.eps:g}"]
    number = f"{len(found)} runs" if found else "no run"
    raise ValueError(
        f"{suite.suite} has {number} of {side.method} with {', '.join(told) or 'any settings'}; "
        "name settings and eps that one run alone has"
    )


def _stage(measure: str) -> str:
    """Name the stage that measures something.

    Raises:
        ValueError: there is none.
    """
    if measure in OWN:
        return OWN[measure][0]
    if column := _column(measure):
        return column.stage
    entry, number = _evaluation(measure)
    there = evaluations.measures(entry)
    if number and number not in there:
        raise ValueError(catalogue.unknown(f"number of {entry.name}", number, there))
    return entry.name


def _evaluation(measure: str) -> tuple[Entry, str]:
    """Read an evaluation, and which of its numbers is meant; "" for the one it is named for."""
    for stage, number in ((measure, ""), measure.rpartition(".")[::2]):
        try:
            return evaluations.read(stage), number
        except ValueError:
            continue
    columns = [column.key for column in COLUMNS]
    there = [*OWN, *columns, *evaluations.known()]
    raise ValueError(catalogue.unknown("measure", measure, there))


def _column(measure: str) -> Column | None:
    return next((column for column in COLUMNS if column.key == measure), None)


def _head(measure: str) -> str:
    """Name what is measured, for people."""
    if measure in OWN:
        return OWN[measure][1]
    column = _column(measure)
    if column:
        return f"{column.title}, {column.unit}"
    entry, number = _evaluation(measure)
    number = number or entry.file
    units = evaluations.measures(entry)
    return f"{number}, {units[number]}" if number in units else f"{entry.title}, %"


def _command(suite: Suite, stage: str) -> str:
    """Write the command that makes the records of a stage of a suite."""
    own = {TRAIN, AUTOATTACK, COST, *(evaluations.read(name).name for name in suite.evaluations)}
    more = "" if stage in own else f" --config 'evaluations=[{stage}]'"
    return f"snakemake --configfile workflows/config/{suite.suite}.yaml{more}"


def page(runs: Sequence[RunRecords]) -> str:
    """Write all claims beside records, in Markdown."""
    found = shapes(claims(), runs)
    by_paper = {
        paper.title: here
        for paper in papers()
        if (here := [shape for shape in found if shape.claim.paper == paper.key])
    }
    return templates().get_template("shapes.md.j2").render(
        papers=by_paper, verdicts=VERDICTS, counts=Counter(shape.verdict for shape in found),
        total=len(found),
    )  # fmt: skip


def published() -> str:
    """Write the page of the records that the project publishes."""
    return page(collect(published=ROOT / "results/published").runs)


def main(words: Sequence[str] | None = None) -> None:
    """Write the document; bench.tools.docs, which runs before it, has refused any words."""
    try:
        write_bytes(ROOT / "docs/shapes.md", published().encode())
    except ValueError as error:
        sys.exit(str(error))
