"""Render the leaderboard from the records of finished stages: python -m bench report

Writes leaderboard.html, .md and .csv, what others report as leaderboard.outside.csv, all records as
records.jsonl.gz and .csv, a LaTeX table and pictures for each group, and leaderboard.txt for
terminals, below results/. Runs that are
planned, running or failed have rows too.
"""

import argparse
import dataclasses
import datetime
import functools
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from bench.runs import catalogue, fingerprints, git
from bench.runs.ending import Ending, Named, shortened, title
from bench.runs.files import write_bytes
from bench.runs.record import AUTOATTACK, TRAIN, ConfigError
from report import aside, benchmark, figures, readme, sources, weights
from report import records as download
from report.benchmark import NOTHING, Reported
from report.collect import (
    NOT_RUN,
    Collection,
    RunRecords,
    collect,
    collect_all,
    listed,
    no_garbage,
)
from report.columns import SHORT
from report.environment import templates
from report.groups import Group, frame, groups
from report.latex import latex
from report.notes import CurrentCode
from report.outside import read
from report.page import details, view
from report.papers import paper_reports

TOP = 24  # rows of each group that a terminal is shown
TABLES = 4  # groups that it is shown
ALWAYS = ("rank", "method", "collapsed", "n")  # in every LaTeX table


@catalogue.read_once()
@no_garbage()
def render(results: Path, *, columns: Sequence[str] = ()) -> Ending:
    """Render the records below a folder; return what has become of this machine's runs.

    Args:
        results: the folder.
        columns: of the LaTeX tables, by key; none: those of SHORT.

    Raises:
        ConfigError: no row has such a column.
        OSError: writing to the folder failed.
    """
    found, records = gather(results)
    others, faults = reported(results / "outside")
    shown = view(found, others.rows)
    chosen = _chosen({column["key"]: column["title"] for column in shown["columns"]}, columns)
    broken = (text for run in records.runs if run.published for text in run.broken.values())
    faults = [*records.faults, *broken, *(f"what others report: {fault}" for fault in faults)]
    known = details(records.runs, results / "logs")
    drawn = sorted(path.stem for path in (results / "figures").glob("*.html"))
    files = aside.write(found, known, results)
    html = _filled(found, records.runs, shown, known, others, faults, files, drawn, results)
    write_bytes(results / "leaderboard.html", html.encode())
    aside.forget(files.values(), results)
    write_bytes(results / "leaderboard.md", markdown(found, others).encode())
    download.write_beside(records, results)
    outside = pd.DataFrame(others.rows).drop(columns="badges", errors="ignore")
    write_bytes(results / "leaderboard.outside.csv", outside.to_csv(index=False).encode())
    write_bytes(results / "leaderboard.csv", frame(*found).to_csv(index=False).encode())
    for old in (results / "tables").glob("*.tex"):
        old.unlink()
    for group in found:
        name, wanted = group.file_name, [c for c in group.columns if c.key in chosen]
        write_bytes(results / "tables" / f"{name}.tex", latex(group, wanted, name).encode())
    pictures = figures.draw(figures.pictures(shown, known), results / "figures", figures.MOST)
    text = "\n".join([summary(results, found, pictures), *_lacking(found, chosen), *faults])
    write_bytes(results / "leaderboard.txt", text.encode())
    return ending(records.runs, results / "logs")


def ending(runs: list[RunRecords], logs: Path) -> Ending:
    """Sum up the stages of this machine's runs."""
    said, attacked = Ending("runs here"), {run.folder for run in listed(runs)}
    for run in [run for run in runs if not run.published]:
        wanted = {TRAIN, AUTOATTACK} if run.folder in attacked else {TRAIN}
        for stage in run.records.keys() | run.broken.keys() | wanted:
            if run.has(stage):
                said.done += 1
                continue
            name, log = title(run.config, stage), logs / run.folder / f"{stage}.log"
            record, fault = run.records.get(stage), run.broken.get(stage)
            if record is None or fault:
                said.left.append(Named(name, log, shortened(fault or "")))
            else:
                said.add(record.status, record.reason, name, log)
    return said


def gather(results: Path) -> tuple[list[Group], Collection]:
    """Read all records below a folder; return the groups of rows, and what they were made of."""
    found = collect_all(results, plan=results / "plan.json")
    weights.check(found.runs)
    current = CurrentCode(
        bench=fingerprints.bench_fingerprint, method=functools.cache(_method_code)
    )
    return groups(found.runs, current=current), found


def _method_code(method: str) -> str | None:
    """Fingerprint a method's code as it is now; None if its file is gone or half written."""
    if method not in catalogue.names("methods"):
        return None
    try:
        return fingerprints.method_fingerprint(method)
    except SyntaxError:
        return None


def reported(folder: Path) -> tuple[Reported, list[str]]:
    """Read what others report: FastAT_Benchmark's rows, and those of RobustBench in a folder.

    Returns:
        The rows, by data set and the best under AutoAttack first; and the faults of files, of which
        no row is there, for the page to show.
    """
    found, imported, faults = NOTHING, [], []
    try:
        found = benchmark.read()
    except (ValueError, OSError) as error:
        faults.append(str(error))
    try:
        imported = read(folder) if folder.is_dir() else []
    except ValueError as error:
        faults.append(str(error))
    rows = sorted(
        [*found.rows, *imported],
        key=lambda row: (row.dataset, row.autoattack is None, -(row.autoattack or 0)),
    )
    return dataclasses.replace(found, rows=rows), faults


def page(
    found: list[Group],
    runs: list[RunRecords],
    *,
    others: Reported = NOTHING,
    faults: Sequence[str] = (),
    logs: Path = Path("results/logs"),
) -> str:
    """Make the page: one HTML file that works offline.

    Args:
        others: what others report.
        faults: of files that cannot be read and have no row.
        logs: the folder with this machine's logs; the page shows their ends.
    """
    shown, known = view(found, others.rows), details(runs, logs)
    return _filled(found, runs, shown, known, others, faults, {})


def _filled(
    found: list[Group],
    runs: list[RunRecords],
    shown: dict[str, Any],
    known: dict[str, Any],
    others: Reported,
    faults: Sequence[str],
    files: Mapping[str, str],
    drawn: Sequence[str] = (),
    results: Path | None = None,
) -> str:
    """Fill in the page's template with the data of ``view`` and ``details``.

    Args:
        files: the addresses of scripts that hold the details, by the group's key; none: the page
            holds them.
        drawn: suites that have a page of figures.
        results: a folder that keeps the drawing library.
    """
    tables = [group | {"aside": files.get(group["key"], "")} for group in shown["groups"]]
    nonce = secrets.token_urlsafe(16)  # allows these scripts; no record can have known it
    counted = [run.has("autoattack") for run in listed(runs)]
    script = "".join(map(_source, ("leaderboard.js", "overview.js", "latex.js", "pictures.js")))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    project = sources.project() | {"commit": git.commit() or "unknown", "rendered": now}
    return templates().get_template("leaderboard.html.j2").render(
        groups=found,
        papers=[report for report in paper_reports(runs) if report.compared],
        others=others,
        faults=faults,
        download=download.is_quick(runs),
        attacked=sum(counted),
        total=len(counted),
        lent=len(runs) - len(counted),
        drawn=drawn,
        project=project,
        view=_script_safe(shown | {"groups": tables, "project": project, "nonce": nonce}),
        details="" if files else _script_safe(known),
        aside=files,
        folder=aside.FOLDER,
        nonce=nonce,
        style=Markup(_source("leaderboard.css")),  # noqa: S704  # our own file
        script=Markup(script),  # noqa: S704  # our own file
        library=Markup(figures.script(results)),  # noqa: S704  # the drawing library
        attack=sources.paper(sources.AUTOATTACK_KEY),
    )  # fmt: skip


def _chosen(known: Mapping[str, str], columns: Sequence[str]) -> Sequence[str]:
    """Check the keys of columns against the page's, with titles; none given: those of SHORT."""
    keys = {title.lower(): key for key, title in known.items()}
    for column in columns:
        if column.lower() in ALWAYS:
            raise ConfigError(f"column {column!r} is in every LaTeX table: leave it out")
        if column not in known:
            meant = keys.get(column.lower(), column)  # its key, of one that is told by its title
            near = f"unknown column {column!r}: did you mean {meant}?"
            raise ConfigError(
                near if meant in known else catalogue.unknown("column", column, known)
            )
    return columns or [column.key for column in SHORT if column.key in known]


def _lacking(found: Sequence[Group], chosen: Sequence[str]) -> Iterator[str]:
    """Say which LaTeX tables lack a column that was asked for."""
    for key in chosen:
        without = [one.file_name for one in found if key not in {c.key for c in one.columns}]
        if without:
            yield f"no run of these tables has {key}, so they lack it: {', '.join(without)}"


def markdown(found: list[Group], others: Reported = NOTHING) -> str:
    """Write the groups with all their columns, and what others report, as Markdown tables."""
    template = templates().get_template("leaderboard.md.j2")
    return template.render(groups=found, columns=(), others=others)


def summary(results: Path, found: list[Group], pictures: int = 0) -> str:
    """Write the top of each table and the paths of the files, for a terminal.

    Args:
        pictures: how many there are, of which the first ``figures.MOST`` have files.
    """
    lines = []
    groups = [group for group in found if group.planned] or found
    for group in groups[:TABLES]:
        facts = group.facts.texts
        images = f"AutoAttack on {facts['attacked_images'] or 'no'} images"
        lines += ["", f"{group.name} ({facts['data']} data, {images})"]
        if group.caution:
            lines.append(f"  {group.caution}")
        lines.append(f"  {'':4}{'method':26}{'AutoAttack':>16}{'clean':>16}{'PGD-10':>16}")
        for row in group.rows[:TOP]:
            numbers = "".join(f"{row.cells[k].text:>16}" for k in ("autoattack", "clean", "pgd10"))
            bad = ", ".join(text for text, is_bad in row.badges if is_bad)
            lines.append(f"  {row.rank_text:<4}{row.label:26}{numbers}  {bad}".rstrip())
        if len(group.rows) > TOP:
            lines.append(f"  and {len(group.rows) - TOP} more rows, on the page")
        lines += [f"  {row.label}: {shortened(row.reason)}" for row in group.rows
                  if row.reason and row.status != NOT_RUN.id]  # fmt: skip
        if any(note.id == "one seed" for row in group.rows for note in row.notes):
            lines.append("  rows with one seed are indicative only")
    if len(groups) > TABLES:
        lines += ["", f"and {len(groups) - TABLES} more tables, on the page"]
    paths = [results / f"leaderboard.{kind}" for kind in ("html", "md", "csv")]
    paths += [results / "tables" / f"{group.file_name}.tex" for group in found]
    drawn = [f"{results / 'figures'}"] if pictures else []
    if pictures > figures.MOST:
        drawn[0] += f" (the first {figures.MOST} of {pictures} pictures; the page saves any)"
    return "\n".join([*lines, "", *map(str, paths), *drawn])


def _source(name: str) -> str:
    """Read a script or style of the page."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _script_safe(value: Any) -> Markup:
    """Write JSON for a script element, with <, > and & escaped so that it contains no tag."""
    text = aside.compact(value)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  # no tag is left in it


def main(words: Sequence[str] | None = None) -> None:
    """Render the page and print its top, or write the tables of published records."""
    parser = argparse.ArgumentParser(
        prog="python -m bench report", description="Render the leaderboard from the records."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--columns", help="of the LaTeX tables, by key: autoattack,clean,passes")
    parser.add_argument(
        "--readme",
        type=Path,
        help=f"write published tables into this file and {readme.TABLES} beside it",
    )
    args = parser.parse_args(words)
    if args.readme:
        try:
            published = collect(published=args.results / "published").runs
            text = readme.readme(published, args.readme.read_text(encoding="utf-8"))
            write_bytes(args.readme, text.encode())
            write_bytes(args.readme.parent / readme.TABLES, readme.tables(published).encode())
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        return
    try:
        said = render(
            args.results,
            columns=[key.strip() for key in (args.columns or "").split(",") if key.strip()],
        )
    except (ConfigError, OSError) as error:
        sys.exit(str(error))
    print((args.results / "leaderboard.txt").read_text(encoding="utf-8"))
    page = args.results / "leaderboard.html"
    print(said.line(page=f"the page: {page}", retry="snakemake ... --config retry_failed=true",
                    go_on=f"snakemake does it; the page so far: {page}"))  # fmt: skip
