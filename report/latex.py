"""The LaTeX table of a group, with booktabs, and under it notes on its numbers."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

from report.columns import Column
from report.groups import Group
from report.notes import NoteId
from report.rows import Row

LONGEST = 120  # characters of a reason
QUOTED: tuple[NoteId, ...] = ("one seed", "fast mode", "image count")  # notes that stand whole
SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "\n": " ", "\r": " ",
}  # fmt: skip
ESCAPES = str.maketrans(SPECIAL | {char: f"\\{char}" for char in "&%$#_{}"})


def latex(group: Group, columns: Sequence[Column], name: str) -> str:
    """Make a table of rank, method, the columns, collapse and seeds; the first rank is bold.

    Args:
        name: the table's LaTeX label, after "tab:".
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
    """Escape text, so that LaTeX prints its characters."""
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
    texts = facts.texts
    data = "unofficial data" if facts.official is False else f"{texts['data']} data"
    images = " or ".join(map(str, facts.attacked_images))
    attacked = f"AutoAttack on the first {images} test images" if images else "AutoAttack not run"
    if tested := " or ".join(map(str, facts.tested_images)):
        attacked += f", other accuracies on {tested}"
    costs = "".join(f" {c.title}: {c.meaning}." for c in columns if c.kind == "cost")
    return (
        f"{group.name}, {facts.precision}; {texts['train_images']} training images, {data}; "
        f"{attacked}. Mean ± standard deviation over n seeds; ranks by AutoAttack, "
        f"= marks rows not told apart, bold the first rank.{costs}"
    )


def _notes(rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[str]:
    """Write a line for each note and each reason of empty cells, with the rows that it is about."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for note in row.notes:
            if note.id in QUOTED:
                lines[note.text].append(row.label)
        if row.doubts:
            lines["in doubt, see the page"].append(row.label)
        absent: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            if not row.cells[column.key].n:
                absent[row.cells[column.key].reason].append(column.title)
        for reason, titles in absent.items():
            short = textwrap.shorten(reason, LONGEST, placeholder=" ...")
            lines[f"-- in {', '.join(titles)}: {short}"].append(row.label)
    for text, labels in lines.items():
        subject = "all rows" if len(labels) == len(rows) else ", ".join(labels)
        yield f"{subject}: {text}."
