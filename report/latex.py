"""A group's table for a paper: LaTeX with booktabs, and under it what its numbers do not say."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

from report.columns import Column
from report.table import FAST, INDICATIVE, UNOFFICIAL, Group, Row

LONGEST = 120  # characters of a reason
SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "\n": " ", "\r": " ",
}  # fmt: skip
ESCAPES = str.maketrans(SPECIAL | {char: f"\\{char}" for char in "&%$#_{}"})


def latex(group: Group, columns: Sequence[Column], name: str) -> str:
    """Make a table: rank, method, the columns, collapse and seeds; the first rank in bold.

    Args:
        name: that the table is labelled with.
    """
    label = re.sub(r"[^A-Za-z0-9_.-]", "-", name)
    head = ["Rank", "Method", *(escaped(c.title) for c in columns), "Collapsed", "$n$"]
    lines = [_line(head), r"\midrule"]
    lines += [_line(_cells(row, columns)) for row in group.rows]
    return "\n".join(
        [
            r"\begin{table}[t]",
            rf"\caption{{{escaped(_caption(group, columns))}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{rl{'r' * len(columns)}lr}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {escaped(note)}" for note in _notes(group.rows, columns)),
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """Write text so that LaTeX sets it as it is."""
    return text.translate(ESCAPES)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cells(row: Row, columns: Sequence[Column]) -> Iterable[str]:
    yield escaped(row.rank_text) if row.rank else "--"
    yield escaped(row.label)
    for column in columns:
        cell = row.cells[column.key]
        text = escaped(cell.text) if cell.n else "--"
        yield rf"\textbf{{{text}}}" if column.key == "autoattack" and row.rank == 1 else text
    yield escaped(row.collapse) if row.collapsed else "--"
    yield str(row.cells["autoattack"].n)


def _caption(group: Group, columns: Iterable[Column]) -> str:
    facts = group.facts
    data = UNOFFICIAL if facts["data"] == "UNOFFICIAL DATA" else f"{facts['data']} data"
    images = " or ".join(facts["attacked images"].split(", "))
    attacked = f"AutoAttack on the first {images} test images" if images else "AutoAttack not run"
    if tested := " or ".join(facts["tested images"].split(", ")):
        attacked += f", other accuracies on {tested}"
    costs = "".join(f" {c.title}: {c.meaning}." for c in columns if c.kind == "cost")
    return (
        f"{group.name}, {facts['precision']}; {facts['training images']} training images, {data}; "
        f"{attacked}. Mean ± standard deviation over n seeds; ranks by AutoAttack, "
        f"= marks rows not told apart, bold the first rank.{costs}"
    )


def _notes(rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[str]:
    """Say what holds of some rows, and why cells are empty: a line each."""
    marks: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for note in row.notes:
            if note in (INDICATIVE, FAST) or note.startswith("AutoAttack on "):
                marks[note].append(row.label)
        if row.doubts:
            marks["in doubt, see the page"].append(row.label)
        absent: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            if not row.cells[column.key].n:
                absent[row.cells[column.key].why or "not run"].append(column.title)
        for why, titles in absent.items():
            reason = textwrap.shorten(why, LONGEST, placeholder=" ...")
            marks[f"-- in {', '.join(titles)}: {reason}"].append(row.label)
    for note, labels in marks.items():
        who = "all rows" if len(labels) == len(rows) else ", ".join(labels)
        yield f"{who}: {note}."
