"""Papers against reproduction, cell by cell: python -m report.papers

Writes results/paper_report.html and .md from whatever records there are.
"""

import argparse
from pathlib import Path

import jinja2

from bench.record import write_bytes
from report.printed import papers, printed
from report.reproduction import Comparison, compare
from report.table import collect


def page(found: list[Comparison], template: str = "paper_report.html.j2") -> str:
    """Make the report, as one HTML file that needs no network, or as Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _markdown_cell
    return environment.get_template(template).render(found=found)


def _markdown_cell(text: str) -> str:
    """Keep text in its cell, and its tags text."""
    for char, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("\n", " ")):
        text = text.replace(char, safe)
    return text


def main() -> None:
    """Render, and say how many numbers there are."""
    parser = argparse.ArgumentParser(
        prog="python -m report.papers", description="Put our records beside the papers' tables."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    results = parser.parse_args().results
    runs = collect(published=results / "published", runs=results / "runs")
    found = [compare(paper, printed(paper.key), runs) for paper in papers()]
    for kind in ("html", "md"):
        path = results / f"paper_report.{kind}"
        write_bytes(path, page(found, f"paper_report.{kind}.j2").encode())
    for comparison in found:
        counts = comparison.counts
        compared = counts.total() - counts["none"]
        print(f"{comparison.paper.title}: {compared} of {counts.total()} numbers compared")
    print(results / "paper_report.html")


if __name__ == "__main__":
    main()
