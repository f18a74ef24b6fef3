"""Draw the figures that a suite names: python -m bench figures

Writes results/figures/SUITE/ and results/figures/SUITE.html from the records that are there, of
this machine or published. It trains nothing.
"""

import argparse
import importlib
import inspect
import os
import re
import sys
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.runs import catalogue
from bench.runs.ending import plural, title
from bench.runs.files import write_bytes
from bench.runs.record import ConfigError
from bench.runs.run import expand, sources
from bench.runs.stage import stages_for
from bench.runs.suite import Suite, parse_suite, read_suite, suite_file
from bench.runs.typed import from_json
from report import figures
from report.collect import NOT_RUN, RunRecords, collect_all
from report.environment import templates
from report.figures import Picture

EVERY_RECORD = "EVERY_RECORD"  # of a figure's file, True: it draws all records, not a suite's alone


@dataclass(frozen=True)
class Figure:
    """A figure of a suite, by its file: what this says, and what it drew."""

    name: str
    pictures: list[Picture]
    fault: str = ""  # of a file that it reads

    @property
    def said(self) -> tuple[str, list[str]]:
        """What its docstring says: the title, and the paragraphs below."""
        title, *rest = inspect.cleandoc(_module(self.name).__doc__ or "").split("\n\n")
        return title.rstrip("."), [" ".join(text.split()) for text in rest]

    @property
    def lacking(self) -> str:
        """What it needs and the records lack; "" if it is drawn."""
        if self.pictures:
            return ""
        reads = catalogue.said(f"{catalogue.FIGURES}/{self.name}.py", "Reads")
        return f"needs {reads}" + (f" ({self.fault})" if self.fault else "")


def draw(name: str, runs: Sequence[RunRecords]) -> Figure:
    """Draw a figure from records."""
    try:
        return Figure(name, list(_module(name).draw(runs)))
    except ValueError as error:  # a file beside the records is missing or damaged
        return Figure(name, [], str(error))


def render(suite: Suite, results: Path) -> list[Figure]:
    """Draw the figures of a suite from the records below a folder; write their files and the page.

    Raises:
        ConfigError: the suite names no figures.
    """
    if not suite.figures:
        known = ", ".join(catalogue.names(catalogue.FIGURES))
        raise ConfigError(f"suite {suite.suite} names no figures; give it some of: {known}")
    found = collect_all(results).runs
    listed = expand(suite)
    own = {config.folder for config in listed}
    wanted = own | {config.folder for config in sources(listed)}
    runs = [run for run in found if run.folder in wanted]
    drawn = [
        draw(name, found if getattr(_module(name), EVERY_RECORD, False) else runs)
        for name in suite.figures
    ]
    folder = results / "figures" / suite.suite
    figures.draw((picture for figure in drawn for picture in figure.pictures), folder)
    absent = [*_absent(runs, {stage.name for stage in stages_for(suite)})]
    if missing := len(wanted) - len(runs):
        absent.append(f"{missing} of the suite's {len(wanted)} runs, which have no records")
    places = {run.folder: run.place for run in found if run.place}
    html = templates().get_template("figures.html.j2").render(
        suite=suite.suite, figures=drawn, absent=absent, folder=folder.name,
        not_run=[*_not_run(suite, [run for run in runs if run.folder in own])],
        svg=lambda picture: _inline(picture.name, folder),
        records=lambda picture: [*_records(picture, places, folder.parent)],
    )  # fmt: skip
    write_bytes(page(suite, results), html.encode())
    return drawn


def page(suite: Suite, results: Path) -> Path:
    """Name the file of a suite's page."""
    return results / "figures" / f"{suite.suite}.html"


def _content(given: str) -> dict[str, Any]:
    """Read a suite's keys by its name, from its file, or from JSON.

    Raises:
        ConfigError: there are none.
    """
    if not given.startswith("{"):
        return read_suite(Path(given))
    try:
        content: dict[str, Any] = from_json(given, "the suite")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return content


def _module(name: str) -> Any:
    return importlib.import_module(f"{catalogue.FIGURES.replace('/', '.')}.{name}")


def _absent(runs: Sequence[RunRecords], stages: Container[str]) -> Iterator[str]:
    """Name the stages of the suite that left no numbers, and why."""
    for run in runs:
        for stage in filter(stages.__contains__, {**run.records, **run.broken}):
            absence = run.absence(stage)
            if absence and absence != NOT_RUN:
                yield f"{title(run.config, stage)}: {absence.text}"


def _not_run(suite: Suite, runs: Sequence[RunRecords]) -> Iterator[str]:
    """Say which stages some of a suite's runs with records lack, and how many do."""
    for stage in stages_for(suite):
        wanted = [run for run in runs if stage.per_seed or run.config.seed == suite.seeds[0]]
        lacking = [run for run in wanted if run.absence(stage.name) == NOT_RUN]
        if lacking:
            yield f"{stage.name} of {len(lacking)} of {plural(len(wanted), 'run')}"


def _inline(name: str, folder: Path) -> Markup:
    """Read a picture for a page that holds several: its ids get its name in front."""
    svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
    return Markup(re.sub(r'(?<= id=")|(?<=url\(#)|(?<=href="#)', f"{name}-", svg))  # noqa: S704  # Vega escapes texts


def _records(picture: Picture, places: dict[str, Path], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the record files that a picture is drawn from, each with its address from a folder."""
    texts = [str(point["records"]) for point in picture.spec["data"]["values"]]
    for record in sorted({name for text in texts for name in text.split()}):
        run, _, name = record.rpartition("/")
        yield record, os.path.relpath(places[run] / name, folder) if run in places else ""


def main(words: Sequence[str] | None = None) -> None:
    """Draw the figures of a suite, and say where they are and which need more records."""
    parser = argparse.ArgumentParser(
        prog="python -m bench figures", description="Draw the figures that a suite names."
    )
    parser.add_argument("--suite", required=True, help="its name, YAML file or content as JSON")
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args(words)
    try:
        suite = parse_suite(_content(args.suite))
        drawn = render(suite, args.results)
    except ConfigError as error:
        sys.exit(str(error))
    for figure in drawn:
        for picture in figure.pictures:
            print(args.results / "figures" / suite.suite / f"{picture.name}.svg")
        if figure.lacking:
            print(f"{figure.name} {figure.lacking}")
    if not args.suite.startswith("{") and not all(figure.pictures for figure in drawn):
        file = suite_file(Path(args.suite))
        print(f"What is missing is made by: snakemake figures --configfile {file}")
    print(f"{sum(bool(f.pictures) for f in drawn)} of {len(drawn)} figures drawn; "
          f"the page: {page(suite, args.results)}")  # fmt: skip
