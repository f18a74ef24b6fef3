"""The LaTeX table of a group, no wider than a line of text, and under it notes on its numbers.

templates/latex.js writes the same of what a reader of the page sees; a test compares them.
"""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence

from report.columns import Column
from report.groups import Group
from report.notes import NoteId
from report.rows import Row

LONGEST = 120  # characters of a reason
WIDEST = 30  # characters of a line of a method's name
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
    return "\n".join(
        [
            r"% \usepackage{booktabs, graphicx}",
            r"\begin{table}[t]",
            r"\centering\sloppy\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(_caption(group, columns))}}}",
            rf"\label{{tab:{label}}}",
            # as wide as it is, but no wider than the text
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{rl{'r' * len(columns)}lr}}",
            r"\toprule",
            _line(head),
            r"\midrule",
            *(_line(_cells(row, columns)) for row in group.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par {escaped(note)}" for note in _notes(group.rows, columns)),
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
    yield _stacked(row.title)
    for column in columns:
        cell = row.cells[column.key]
        text = escaped(cell.text) if cell.n else "--"
        yield rf"\textbf{{{text}}}" if column.key == "autoattack" and row.rank == 1 else text
    yield _count(row.collapsed) if row.collapsed else "--"
    yield str(row.cells["autoattack"].n)


def _stacked(name: str) -> str:
    """Break a long name into lines, one above the other."""
    lines = textwrap.wrap(name, WIDEST, break_long_words=False, break_on_hyphens=False)
    text = r" \\ ".join(map(escaped, lines))
    return text if len(lines) == 1 else rf"\shortstack[l]{{{text}}}"


def setting(group: Group) -> str:
    """Write what a table is about, for its caption."""
    facts = group.facts
    data = "unofficial data" if facts.official is False else f"{facts.texts['data']} data"
    images = " or ".join(map(str, facts.attacked_images))
    attacked = f"AutoAttack on the first {images} test images" if images else "AutoAttack not run"
    if tested := " or ".join(map(str, facts.tested_images)):
        attacked += f", other accuracies on {tested}"
    caution = f" {group.caution}" if group.caution else ""
    return (
        f"{group.name}, {facts.precision}; {facts.texts['train_images']} training images, {data}; "
        f"{attacked}.{caution}"
    )


def remarks(row: Row) -> list[str]:
    """List what a table has to say of a row under it."""
    found = [note.text for note in row.notes if note.id in QUOTED]
    if row.collapsed and row.collapse != _count(row.collapsed):  # which epochs, who recovered
        found.append(f"collapsed {row.collapse}")
    return [*found, "in doubt, see the page"] if row.doubts else found


def _count(collapsed: tuple[int, int]) -> str:
    """Write how many seeds collapsed, of how many."""
    bad, seeds = collapsed
    return f"{bad} of {seeds}"


def shortened(reason: str) -> str:
    """Shorten the reason of an empty cell."""
    return textwrap.shorten(reason, LONGEST, placeholder=" ...")


def _caption(group: Group, columns: Iterable[Column]) -> str:
    costs = "".join(f" {c.title}: {c.meaning}." for c in columns if c.kind == "cost")
    return (
        f"{setting(group)} Mean ± standard deviation over n seeds; ranks by AutoAttack, "
        f"= marks rows not told apart, bold the first rank.{costs}"
    )


def _notes(rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[str]:
    """Write a line for each note and each reason of empty cells, with the rows that it is about."""
    lines: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for remark in remarks(row):
            lines[remark].append(row.title)
        absent: dict[str, list[str]] = defaultdict(list)
        for column in columns:
            if not row.cells[column.key].n:
                absent[row.cells[column.key].reason].append(column.title)
        for reason, titles in absent.items():
            lines[f"-- in {', '.join(titles)}: {shortened(reason)}"].append(row.title)
    for text, labels in lines.items():
        subject = "all rows" if len(labels) == len(rows) else ", ".join(labels)
        yield f"{subject}: {text}."
