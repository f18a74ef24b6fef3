"""FastAT_Benchmark's table, and what its curves say of it, from report/reported/."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.runs.typed import Amount, Percent, build
from report import verdicts
from report.curves import FALL, Ending, plain, read_csv, statement
from report.outside import Outside

FOLDER = Path(__file__).with_name("reported")


@dataclass(frozen=True)
class Printed:
    """A row of its table: means and deviations over seeds; other columns are passed over."""

    dataset: str  # our name
    architecture: str
    method: str
    clean: Percent
    clean_sd: Amount
    pgd10: Percent
    pgd10_sd: Amount
    autoattack: Percent
    autoattack_sd: Amount
    seconds: Amount  # of a training
    memory_gb: Amount
    note: str | None


@dataclass(frozen=True)
class Benchmark:
    """What holds for all of its rows."""

    title: str
    venue: str
    link: str
    norm: str
    eps: str
    protocol: str  # in words


@dataclass(frozen=True)
class Reported:
    """Rows for the page, and what to say of FastAT_Benchmark's above them."""

    rows: list[Outside]
    statement: str  # how many runs ended far below what is printed
    protocol: str


NOTHING = Reported([], "", "")


def read() -> Reported:
    """Read the files of FOLDER.

    Raises:
        ValueError: one of them is damaged; names the place.
        OSError: one of them cannot be read.
    """
    raw = tomllib.loads((FOLDER / "fastat.toml").read_text(encoding="utf-8"))
    benchmark: Benchmark = build(Benchmark, raw, "fastat.toml")
    endings: list[Ending] = read_csv(FOLDER / "fastat_runs.csv", Ending)
    printed: list[Printed] = read_csv(FOLDER / "fastat.csv", Printed)
    return Reported(
        [_row(benchmark, row, _of(row, endings)) for row in printed],
        statement(endings, benchmark.title),
        f"{benchmark.title}: {benchmark.protocol}",
    )


def _of(row: Printed, endings: list[Ending]) -> list[Ending]:
    """Pick the runs of a row that were attacked in training."""
    return [
        ending
        for ending in endings
        if (ending.dataset, plain(ending.method)) == (row.dataset, plain(row.method))
        and ending.outcome
    ]


def _row(benchmark: Benchmark, row: Printed, runs: list[Ending]) -> Outside:
    outcomes = [run.outcome for run in runs if run.outcome]
    fell = ", ".join(f"{run.best_epoch}" for run in runs if run.fell)
    notes = [row.note]
    if fell:
        notes.append(
            f"{sum(run.fell for run in runs)} of {len(runs)} ended {FALL:g} points or more below "
            f"their own best (of epoch {fell})"
        )
    return Outside(
        name=row.method,
        dataset=row.dataset,
        architecture=row.architecture,
        norm=benchmark.norm,
        eps=benchmark.eps,
        clean=row.clean,
        clean_sd=row.clean_sd,
        pgd10=row.pgd10,
        pgd10_sd=row.pgd10_sd,
        autoattack=row.autoattack,
        autoattack_sd=row.autoattack_sd,
        held_out_best=_mean([run.best for run in runs]),
        held_out_last=_mean([run.last for run in runs]),
        collapse=verdicts.counted(outcomes, [run.onset for run in runs if run.onset])
        if runs
        else "",
        badges=verdicts.badges(outcomes),
        seconds=row.seconds,
        memory_gb=row.memory_gb,
        source=benchmark.title,
        link=benchmark.link,
        venue=benchmark.venue,
        footnote="; ".join(filter(None, notes)),
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 2) if known else None
