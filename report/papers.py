"""Render the papers' numbers beside ours: python -m bench papers

Writes results/paper_report.html and .md from the records that exist; --count says what these could
hold.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.runs.files import write_bytes
from report.collect import RunRecords, collect_all
from report.environment import templates
from report.printed import papers, printed
from report.reproduction import ACCURACY, PaperReport, paper_report


def paper_reports(runs: Sequence[RunRecords]) -> list[PaperReport]:
    """Put our records beside the numbers of every paper."""
    return [paper_report(paper, printed(paper.key), runs) for paper in papers()]


def page(reports: list[PaperReport], template: str = "paper_report.html.j2") -> str:
    """Make the page of all papers: one HTML file that works offline, or Markdown."""
    return templates().get_template(template).render(reports=reports)


def count(report: PaperReport) -> Iterator[str]:
    """Yield how many numbers of a paper are comparable, then each reason with how many it holds."""
    comparable: dict[bool, list[bool]] = {True: [], False: []}  # by whether it is an accuracy
    for cell in report.cells:
        comparable[cell.printed.unit == ACCURACY].append(cell.comparable)
    kinds = zip(comparable.values(), ("accuracies", "other numbers"), strict=True)
    parts = [f"{sum(cells)} of {len(cells)} {kind}" for cells, kind in kinds if cells]
    yield f"{report.paper.title}: {' and '.join(parts)} can be compared"
    for reason, number in report.incomparable.most_common():
        yield f"  {number:4} {reason}"


def main(words: Sequence[str] | None = None) -> None:
    """Render the page of all papers, and print how many of their numbers were compared."""
    parser = argparse.ArgumentParser(
        prog="python -m bench papers", description="Put our records beside the papers' tables."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument(
        "--count",
        action="store_true",
        help="only say how many printed numbers runs could be compared with, and why not others",
    )
    given = parser.parse_args(words)
    if given.count:
        for report in paper_reports([]):
            print("\n".join(count(report)))
        return
    results = given.results
    reports = paper_reports(collect_all(results).runs)
    for kind in ("html", "md"):
        path = results / f"paper_report.{kind}"
        write_bytes(path, page(reports, f"paper_report.{kind}.j2").encode())
    for report in reports:
        counts = report.counts
        compared = counts.total() - counts["none"]
        print(f"{report.paper.title}: {compared} of {counts.total()} numbers compared")
    print(results / "paper_report.html")
