"""Phase diagrams: the verdict on each cell of a grid over two numbers, and where verdicts meet."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from bench.runs import catalogue
from bench.runs.record import TRAIN, Config, Training, radius
from evaluation.masking import is_above
from report import sources
from report.collect import SHARED_FIELDS, RunRecords
from report.notes import has_learned

EPS = "eps"  # the axis that is no setting of a method
VERDICTS = ("collapsed", "recovered", "did not learn", "never robust", "healthy")  # the worst first


@dataclass(frozen=True)
class Cell:
    """The runs of one choice of the two settings, a run a seed."""

    x: float
    y: float
    outcomes: list[str]  # of VERDICTS, by seed
    runs: list[RunRecords]
    border: bool  # a neighbour is of another verdict

    @property
    def verdict(self) -> str:
        """What became of most of its runs; the worst of what became of as many."""
        counted = Counter(self.outcomes)
        return max(VERDICTS, key=lambda one: (counted[one], -VERDICTS.index(one)))


@dataclass(frozen=True)
class Phases:
    """A method's diagram."""

    method: str
    x: str  # EPS in 1/255, or a setting
    y: str
    cells: list[Cell]


def phases(runs: Iterable[RunRecords]) -> list[Phases]:
    """Make a diagram for each method and table whose runs vary in just two numbers, by seed or not.

    Runs without a verdict are left out: not trained yet, or failed for another reason than the
    method's.
    """
    tables: dict[str, list[RunRecords]] = defaultdict(list)
    for run in runs:
        tables[_shared(run.config)].append(run)
    found = []
    for table in tables.values():
        varied = varying([run.config for run in table])
        if len(varied) == 2:
            x, y = varied
            found.append(Phases(table[0].config.method, x, y, cells(table, x, y)))
    return found


def varying(configs: Sequence[Config]) -> list[str]:
    """Name the numbers in which runs of one method vary: the radius first, then settings."""
    numbers = [_numbers(config) for config in configs]
    names = list(dict.fromkeys(name for each in numbers for name in each))
    return [name for name in names if len({each.get(name) for each in numbers}) > 1]


def cells(runs: Sequence[RunRecords], x: str, y: str) -> list[Cell]:
    """Sort runs into cells, by x and then y, and find those at the border of two verdicts."""
    made: dict[tuple[float, float], Cell] = {}
    for run in runs:
        numbers, found = _numbers(run.config), outcome(run)
        if found:
            place = numbers[x], numbers[y]
            cell = made.setdefault(place, Cell(*place, [], [], border=False))
            cell.outcomes.append(found)
            cell.runs.append(run)
    return [
        replace(cell, border=any(one.verdict != cell.verdict for one in _beside(cell, made)))
        for _, cell in sorted(made.items())
    ]


def outcome(run: RunRecords) -> str | None:
    """Say in a word of VERDICTS what became of a run; None if there is no verdict."""
    record = run.records.get(TRAIN)
    if record is None or record.status not in ("done", "diverged"):
        return None
    if record.training is None or not has_learned(run):
        return "did not learn"
    found = record.training.verdict.outcome
    if found == "none":
        return "healthy" if _was_robust(record.training, run.config.dataset) else "never robust"
    return found


def _was_robust(training: Training, dataset: str) -> bool:
    """Tell whether accuracy under PGD-10 was ever above chance, beyond the noise of its images."""
    number = catalogue.classes(dataset)
    chance = 100 / number if number else 0.0
    probes = [epoch.probe["pgd10"] for epoch in training.curves if "pgd10" in epoch.probe]
    found = [*((one, training.probe_images) for one in probes),
             (training.pgd10.accuracy, training.pgd10.n)]  # fmt: skip
    return any(is_above(chance, one, n) for one, n in found)


def midpoints(cells: Sequence[Cell], *, across: bool) -> list[float]:
    """List the values half-way between neighbours of two verdicts.

    Args:
        cells: of a diagram.
        across: True between neighbours in x, False in y.
    """
    places = {(cell.x, cell.y) if across else (cell.y, cell.x): cell for cell in cells}
    steps = sorted({one for one, _ in places})
    return [
        float(f"{(low + high) / 2:.4g}")
        for low, high in pairwise(steps)
        if any(
            places[low, other].verdict != places[high, other].verdict
            for one, other in places
            if one == low and (high, other) in places
        )
    ]


def _beside(cell: Cell, made: dict[tuple[float, float], Cell]) -> list[Cell]:
    """List the neighbours of a cell: one step of the grid away in x or in y."""
    xs, ys = (sorted({place[i] for place in made}) for i in (0, 1))
    i, j = xs.index(cell.x), ys.index(cell.y)
    near = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
    places = [(xs[a], ys[b]) for a, b in near if 0 <= a < len(xs) and 0 <= b < len(ys)]
    return [made[place] for place in places if place in made]


def _numbers(config: Config) -> dict[str, float]:
    """List the radius, in 1/255 of Linf, and the settings that are numbers."""
    scale = 255 if config.norm == "Linf" else 1
    settings = sources.settings(config)
    return {EPS: round(scale * radius(config.eps), 6)} | {
        name: value for name, value in settings.items() if type(value) in (int, float)
    }


def _shared(config: Config) -> str:
    """Write what the runs of a diagram share: all but the radius, numbers of settings and seed."""
    same = [getattr(config, name) for name in SHARED_FIELDS if name != EPS]
    words = {name: value for name, value in sources.settings(config).items()
             if type(value) not in (int, float)}  # fmt: skip
    return json.dumps([config.method, *same, words], sort_keys=True)
