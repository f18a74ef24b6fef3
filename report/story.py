"""Tell what catastrophic overfitting is, from runs made here: python -m bench story

Writes results/story.html. Its words follow the records of the suite story: every sentence with a
number is made from them and says of how many, and runs that did not collapse are told as such.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.runs import catalogue
from bench.runs.files import write_bytes
from bench.runs.record import TRAIN, Config, radius
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from report import panels, told
from report.collect import RunRecords, collect_all
from report.environment import templates
from report.groups import groups

SUITE = catalogue.ROOT / "workflows/config/story.yaml"
MEANINGS = {
    "fgsm": "one full step",
    "fgsm_rs": "one step from a random start",
    "grad_align": "one full step, and a loss that punishes gradients which turn nearby",
    "sora": "one step from a random start, shorter where the loss turned out to bend",
    "pgd2": "two steps",
}


def page(runs: Sequence[RunRecords], methods: Sequence[str]) -> str:
    """Make the page: one HTML file without script.

    Args:
        runs: of one table; those without records are told as such.
        methods: in the order of the page; told.SUBJECT is one of them.
    """
    everyone = told.tell(runs, methods)
    subject = next(one for one in everyone if one.name == told.SUBJECT)
    beside = told.foil(everyone)
    return templates().get_template("story.html.j2").render(
        subject=subject, everyone=everyone, shown=[one for one in everyone if one.runs],
        pair=[one for one in (subject, beside) if one and one.runs],
        told=told, panels=panels, meanings=MEANINGS,
        eps=radius(subject.eps), config=runs[0].config, facts=groups(runs)[0].facts.texts,
    )  # fmt: skip


def runs_of(configs: Iterable[Config], results: Path) -> list[RunRecords]:
    """Read the runs of some configurations below a folder; those without records are empty."""
    known = {run.folder: run for run in collect_all(results).runs}
    return [known.get(c.folder) or RunRecords(c.folder, c, published=False) for c in configs]


def main(words: Sequence[str] | None = None) -> None:
    """Write the page from the records of the suite story, and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m bench story", description="Write the page on catastrophic overfitting."
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    results = parser.parse_args(words).results
    suite = parse_suite(read_yaml(SUITE))
    runs = runs_of(expand(suite), results)
    if not any(run.has(TRAIN) for run in runs):
        sys.exit(f"no run of the suite story is trained below {results}; make story does that")
    path = results / "story.html"
    write_bytes(path, page(runs, suite.methods).encode())
    print(path)
