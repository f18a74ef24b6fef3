"""Render the leaderboard from whatever records there are: python -m bench report

Writes leaderboard.html, .md and .csv and a LaTeX table a group, from 0 to 100 % done.
"""

import argparse
import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from bench.runs import catalogue, fingerprints
from bench.runs.files import between_marks, write_bytes
from report import figures
from report.columns import SHORT
from report.environment import templates
from report.latex import latex
from report.outside import Outside, read
from report.page import details, view
from report.papers import comparisons
from report.table import Group, Now, Run, collect, frame, groups

TOP = 8  # rows of each group that a terminal is shown
MARK = "leaderboard"  # in the README


def render(results: Path) -> list[Group]:
    """Render results/ and return what stands on the page.

    Raises:
        OSError: the folder cannot be written to.
    """
    found, runs = gather(results)
    others, fault = reported(results / "outside")
    html = page(found, runs, outside=others, fault=fault, logs=results / "logs")
    write_bytes(results / "leaderboard.html", html.encode())
    write_bytes(results / "leaderboard.md", markdown(found).encode())
    table = pd.concat([frame(group) for group in found]) if found else pd.DataFrame()
    write_bytes(results / "leaderboard.csv", table.to_csv(index=False).encode())
    for old in (results / "tables").glob("*.tex"):
        old.unlink()
    for group in found:
        name = file_name(group)
        write_bytes(results / "tables" / f"{name}.tex", latex(group, SHORT, name).encode())
    return found


def gather(results: Path) -> tuple[list[Group], list[Run]]:
    """Read all records below results/; return them in groups, and the runs they are of."""
    runs = collect(
        published=results / "published", runs=results / "runs", plan=results / "plan.json"
    )
    now = Now(bench=fingerprints.bench_fingerprint, method=functools.cache(_method_code))
    return groups(runs, now=now), runs


def _method_code(method: str) -> str | None:
    """Fingerprint a method as it is now; None if it is gone, or half written."""
    if method not in catalogue.names("methods"):
        return None
    try:
        return fingerprints.method_fingerprint(method)
    except SyntaxError:
        return None


def reported(folder: Path) -> tuple[list[Outside], str]:
    """Read the rows that others report, best under AutoAttack first.

    Returns:
        The rows, and what is wrong with the files: no reason to lose the page.
    """
    try:
        rows = read(folder) if folder.is_dir() else []
    except ValueError as error:
        return [], str(error)
    return sorted(rows, key=lambda row: (row.autoattack is None, -(row.autoattack or 0))), ""


def page(
    found: list[Group],
    runs: list[Run],
    *,
    outside: Sequence[Outside] = (),
    fault: str = "",
    logs: Path = Path("results/logs"),
) -> str:
    """Make the page: one file that needs no network.

    Args:
        outside: rows that others report.
        fault: why they could not be read.
        logs: folder of this machine's logs, whose ends the page shows.
    """
    done = sum(run.why("autoattack") is None for run in runs)
    script = _source("leaderboard.js") + _source("pictures.js")
    return templates().get_template("leaderboard.html.j2").render(
        groups=found,
        papers=[paper for paper in comparisons(runs) if paper.compared],
        outside=outside,
        fault=fault,
        done=done,
        total=len(runs),
        view=_script_safe(view(found, outside)),
        details=_script_safe(details(runs, logs)),
        style=Markup(_source("leaderboard.css")),  # noqa: S704  # ours
        script=Markup(script),  # noqa: S704  # ours
        library=Markup(figures.script()),  # noqa: S704  # the drawing library
        now=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )  # fmt: skip


def markdown(found: list[Group]) -> str:
    """Make the Markdown tables."""
    return templates().get_template("leaderboard.md.j2").render(groups=found, columns=SHORT)


def readme(runs: list[Run], text: str) -> str:
    """Put the tables of published records between the marks of the README."""
    papers = comparisons(runs)
    total = sum(paper.counts.total() for paper in papers)
    comparable = sum(paper.comparable for paper in papers)
    body = templates().get_template("readme.md.j2").render(
        groups=groups(runs), columns=SHORT, papers=papers, total=total, comparable=comparable
    )  # fmt: skip
    return between_marks(text, MARK, body)


def file_name(group: Group) -> str:
    """Name a group's files."""
    facts = group.facts
    parts = [facts[key] for key in ("data set", "architecture", "eps", "protocol", "precision")]
    parts += [f"w{facts['width']}", f"n{facts['training images']}", facts["checksum"][:6]]
    return "-".join(part.replace("/", "_") for part in parts if part)


def summary(results: Path, found: list[Group]) -> str:
    """Say where everything is, and the top of each table."""
    lines = []
    for group in [group for group in found if group.planned] or found:
        facts = group.facts
        images = f"AutoAttack on {facts['attacked images'] or 'no'} images"
        lines += ["", f"{group.name} ({facts['data']} data, {images})"]
        lines.append(
            f"  {'':4}{'method':26}{'AutoAttack':>16}{'clean':>16}{'PGD-10':>16}  collapsed"
        )
        for row in group.rows[:TOP]:
            numbers = "".join(f"{row.cells[k].text:>16}" for k in ("autoattack", "clean", "pgd10"))
            why = "" if row.status == "done" else f"  {row.status}"
            lines.append(f"  {row.rank_text:<4}{row.label:26}{numbers}  {row.collapse}{why}")
        if any("indicative (n = 1)" in row.notes for row in group.rows):
            lines.append("  rows with one seed are indicative only")
    paths = [results / f"leaderboard.{kind}" for kind in ("html", "md", "csv")]
    paths += [results / "tables" / f"{file_name(group)}.tex" for group in found]
    return "\n".join([*lines, "", *map(str, paths)])


def _source(name: str) -> str:
    """Read a file that goes into the page as it is."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _script_safe(value: Any) -> Markup:
    """Write JSON that is safe inside a script element: no tag can begin or end in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704  # no tag is left in it


def main(words: Sequence[str] | None = None) -> None:
    """Render, and say where."""
    parser = argparse.ArgumentParser(
        prog="python -m bench report", description="Render the leaderboard from the records."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument(
        "--summary", action="store_true", help="print the top of the tables, no more"
    )
    parser.add_argument("--readme", type=Path, help="write the published tables into this file")
    args = parser.parse_args(words)
    if args.readme:
        published = collect(published=args.results / "published")
        text = readme(published, args.readme.read_text(encoding="utf-8"))
        write_bytes(args.readme, text.encode())
        return
    if args.summary:
        found, _ = gather(args.results)
        print(summary(args.results, found))
        return
    render(args.results)
