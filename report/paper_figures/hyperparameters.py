"""One set of hyperparameters on every data set: SORA as published, wherever it has records.

Each line is a table of the leaderboard: SORA with alpha_max 2 eps, tau 0.02 and theta 0.05, its
numbers as mean and standard deviation over seeds, its rank by AutoAttack, and the best other row.
The paper's six data sets stand here with a line of "no records" where there are none.

Figure: SORA (arXiv:2606.00738), one set of hyperparameters on six data sets.

Reads: AutoAttack of trained runs of sora with its published settings, on any data set.
"""

from collections.abc import Iterator, Sequence

from bench.runs.catalogue import ROOT
from bench.runs.record import AUTOATTACK, TRAIN
from bench.runs.settings import published_settings
from bench.runs.suite import parse_suite, read_yaml
from report import sources
from report.collect import RunRecords
from report.figures import Picture
from report.groups import groups
from report.paper_figures import _parts as parts

EVERY_RECORD = True
COLUMNS = {
    "data": ("data set", 85), "images": ("images", 52), "network": ("network", 120),
    "radius": ("radius", 52), "clean": ("Clean, %", 85), "pgd10": ("PGD-10, %", 85),
    "autoattack": ("AutoAttack, %", 95), "n": ("n", 35), "seeds": ("seeds", 42),
    "rank": ("rank", 60), "best": ("best other, AutoAttack", 145),
}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one table."""
    rows = []
    for group in groups(runs):
        facts = group.facts
        for row in group.rows:
            cell, chosen = row.cells["autoattack"], sources.settings(row.runs[0].config)
            if row.method != "sora" or cell.mean is None:
                continue
            if chosen != published_settings("sora", facts.dataset):
                continue
            others = [other for other in group.rows if other is not row and other.is_ranked]
            best = others[0] if others else None
            rows.append({
                "data": facts.dataset, "network": f"{facts.architecture}, {facts.width}",
                "images": facts.texts["train_images"], "radius": facts.eps,
                "clean": row.cells["clean"].text, "pgd10": row.cells["pgd10"].text,
                "autoattack": cell.text, "n": " or ".join(map(str, cell.images)),
                "seeds": str(cell.n), "rank": f"{row.rank_text} of {len(others) + 1}",
                "best": f"{best.title} {best.cells['autoattack'].text}" if best else "-",
                "records": " ".join(parts.records((*row.runs, *(best.runs if best else ())),
                                                  TRAIN, AUTOATTACK)),
            })  # fmt: skip
    if not rows:
        return
    paper = parse_suite(read_yaml(ROOT / "workflows/config/paper.yaml")).datasets
    blank = dict.fromkeys(COLUMNS, "-") | {"network": "no records", "records": ""}
    rows += [{**blank, "data": name} for name in paper if name not in {r["data"] for r in rows}]
    heads = {field: head for field, (head, _) in COLUMNS.items()}
    yield parts.picture("hyperparameters", rows, heads, parts.table(rows, COLUMNS))
