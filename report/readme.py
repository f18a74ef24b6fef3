"""The tables of published records: those of two suites in README.md, others in docs/tables.md."""

from pathlib import Path

from bench.runs.files import between_marks
from bench.runs.record import Config
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_suite
from report.collect import RunRecords
from report.columns import SHORT
from report.environment import templates
from report.groups import Group, groups
from report.papers import paper_reports

MARK = "leaderboard"  # in the README
TABLES = "docs/tables.md"  # beside the README
SHOWN = ("default", "cifar10")  # suites whose rows stand in the README


def readme(runs: list[RunRecords], text: str) -> str:
    """Return the README's text with the tables of the suites in SHOWN between its marks."""
    shown, others = _divided(runs)
    compared = sum(len(report.compared) for report in paper_reports(runs))
    body = templates().get_template("readme.md.j2").render(
        groups=shown, columns=SHORT, others=len(others), compared=compared, tables=TABLES
    )  # fmt: skip
    return between_marks(text, MARK, body)


def tables(runs: list[RunRecords]) -> str:
    """Write the document with all other tables, and what compares with printed numbers."""
    _, others = _divided(runs)
    reports = paper_reports(runs)
    total = sum(report.counts.total() for report in reports)
    comparable = sum(report.comparable for report in reports)
    return templates().get_template("tables.md.j2").render(
        groups=others, columns=SHORT, papers=reports, total=total, comparable=comparable,
        shown=SHOWN
    )  # fmt: skip


def _divided(runs: list[RunRecords]) -> tuple[list[Group], list[Group]]:
    """Make the README's groups, of these suites' rows alone, and those with any other row."""
    of_suites = {
        _unseeded(config)
        for suite in SHOWN
        for config in expand(parse_suite(read_suite(Path(suite))))
    }
    chosen = {run.folder for run in runs if _unseeded(run.config) in of_suites}
    others = [
        group for group in groups(runs)
        if not chosen.issuperset(run.folder for row in group.rows for run in row.runs)
    ]  # fmt: skip
    return groups(run for run in runs if run.folder in chosen), others


def _unseeded(config: Config) -> str:
    return config.with_seed(0).run_id
