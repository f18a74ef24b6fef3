"""Papers against reproduction, cell by cell: python -m bench papers

Writes results/paper_report.html and .md from whatever records there are.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.runs.files import write_bytes
from report.environment import templates
from report.printed import papers, printed
from report.reproduction import Comparison, compare
from report.table import Run, collect


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Put our records beside every paper's numbers."""
    return [compare(paper, printed(paper.key), runs) for paper in papers()]


def page(found: list[Comparison], template: str = "paper_report.html.j2") -> str:
    """Make the report, as one HTML file that needs no network, or as Markdown."""
    return templates().get_template(template).render(found=found)


def main(words: Sequence[str] | None = None) -> None:
    """Render, and say how many numbers there are."""
    parser = argparse.ArgumentParser(
        prog="python -m bench papers", description="Put our records beside the papers' tables."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    results = parser.parse_args(words).results
    runs = collect(published=results / "published", runs=results / "runs")
    found = comparisons(runs)
    for kind in ("html", "md"):
        path = results / f"paper_report.{kind}"
        write_bytes(path, page(found, f"paper_report.{kind}.j2").encode())
    for comparison in found:
        counts = comparison.counts
        compared = counts.total() - counts["none"]
        print(f"{comparison.paper.title}: {compared} of {counts.total()} numbers compared")
    print(results / "paper_report.html")
