"""Clean against robust accuracy: what robustness costs on images that nobody attacked.

A point is a method, the mean over its seeds, upright bars are 95 % intervals; dashed are the
methods that no other beats on both axes. PGD-10 flatters networks that mask their gradients, and
AutoAttack is on fewer images: so a picture of each.

Figure: SORA (arXiv:2606.00738), clean against robust accuracy.

Reads: trained runs, and AutoAttack where there is any.
"""

from collections.abc import Iterator, Sequence

from bench.runs.record import AUTOATTACK, TRAIN
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

STAGES = {"pgd10": [TRAIN], "autoattack": [TRAIN, AUTOATTACK]}  # that a column's point reads


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture of each attack, a table."""
    for name, group in parts.tables("trade_off", runs):
        for key, stages in STAGES.items():
            shown = [
                parts.Compared(row, clean, key, parts.records(row.runs, *stages))
                for row in group.rows
                if row.cells[key].mean is not None
                and (clean := row.cells["clean"].mean) is not None
            ]  # fmt: skip
            if shown:
                of_clean = parts.of_rows([one.row for one in shown], "clean")
                yield parts.compared(
                    f"{name}-{key}", shown, f"clean accuracy, %, {of_clean}",
                    f"{parts.title(key)} accuracy, %", is_cost=False,
                )  # fmt: skip
