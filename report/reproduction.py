"""Printed numbers beside our records: what may be compared, how far apart it is, what departs.

A number is compared with runs of the same data set, network, norm, radius, method and attack, and
with no others; in what else those runs depart is said.
"""

import functools
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.runs import catalogue
from bench.runs.record import AUTOATTACK, TRAIN, Config, Record, Score, radius
from report.printed import Choice, Paper, Printed
from report.table import Run, interval

ACCURACY = "%"  # the only unit that our numbers have


@dataclass(frozen=True)
class Ours:
    """What our runs say about a printed number."""

    mean: float
    low: float  # 95 % interval
    high: float
    spread: float | None  # standard deviation over seeds; None for one
    seeds: int
    images: int
    settings: dict[str, Any]
    chosen: str  # what the runs have where the paper leaves a setting open: "rule=code"
    departures: tuple[str, ...]  # from the paper, each a reason not to expect its number

    @property
    def text(self) -> str:
        """Mean, interval and n."""
        n = f"{self.seeds} seed{'s' if self.seeds > 1 else ''} of {self.images} images"
        said = f"{self.mean:.2f} [{self.low:.1f}, {self.high:.1f}], {n}"
        return f"{said}, {self.chosen}" if self.chosen else said


@dataclass(frozen=True)
class Cell:
    """A printed number beside ours, or why there is none."""

    printed: Printed
    ours: Ours | None = None
    why: str | None = None
    comparable: bool = True  # could any record stand beside it

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points."""
        return None if self.ours is None else self.ours.mean - self.printed.number

    @property
    def verdict(self) -> str:
        """Whether our interval holds the printed number; "above" and "below" say where we are."""
        if self.ours is None:
            return "none"
        if self.ours.low > self.printed.number:
            return "above"
        return "below" if self.ours.high < self.printed.number else "held"


@dataclass(frozen=True)
class Effect:
    """What a choice did in runs that differ in nothing else, paired by seed."""

    where: str
    options: tuple[str, str]
    attack: str
    mean: float  # points, the second option less the first
    spread: float | None  # standard deviation over pairs; None for one
    pairs: int
    images: int


@dataclass(frozen=True)
class Block:
    """Part of a table that shares data set, network, norm and radius."""

    table: str
    facts: str
    attacks: list[str]
    rows: dict[str, dict[str, Cell]]  # by label and attack

    @property
    def cells(self) -> list[Cell]:
        """All of them, row by row."""
        return [cell for row in self.rows.values() for cell in row.values()]

    @property
    def counts(self) -> Counter[str]:
        """Cells by verdict."""
        return Counter(cell.verdict for cell in self.cells)

    def beside(self, label: str) -> list[str]:
        """What must be said beside a row: our departures, and notes on the printed numbers."""
        cells = self.rows[label].values()
        said = [departure for cell in cells if cell.ours for departure in cell.ours.departures]
        notes = [part for cell in cells for part in cell.printed.note.split("; ") if part]
        said += [f"paper: {note}" for note in notes]
        return list(dict.fromkeys(said))


@dataclass(frozen=True)
class Comparison:
    """A paper's whole report."""

    paper: Paper
    blocks: list[Block]
    effects: list[tuple[Choice, list[Effect]]]

    @property
    def compared(self) -> list[tuple[Block, Cell]]:
        """Cells that have a record of ours beside them."""
        return [(block, cell) for block in self.blocks for cell in block.cells if cell.ours]

    @property
    def counts(self) -> Counter[str]:
        """Cells by verdict."""
        return sum((block.counts for block in self.blocks), Counter())

    @property
    def comparable(self) -> int:
        """Cells that a record could stand beside, if it were made."""
        return sum(cell.comparable for block in self.blocks for cell in block.cells)


Find = Callable[[Record], Score | None]


def _autoattack(name: str) -> Find:
    """Accuracy that is left after an attack of AutoAttack's sequence."""

    def score(record: Record) -> Score | None:
        attack = record.attack
        if attack is None or name not in attack.after:
            return None
        return Score(accuracy=attack.after[name], n=attack.n)

    return score


def _training(name: str) -> Find:
    return lambda record: getattr(record.training, name)


def _measure(name: str) -> Find:
    return lambda record: record.measure.scores.get(name) if record.measure else None


# By the attack's name in the CSV files: the stage that runs it, and where its number is. APGD-CE
# is the first of AutoAttack's attacks and meets all images; what follows it meets the survivors.
ATTACKS: dict[str, tuple[str, Find]] = {
    "clean": (TRAIN, _training("clean")),
    "fgsm": (TRAIN, _training("fgsm")),
    "pgd10": (TRAIN, _training("pgd10")),
    "pgd50_10": ("pgd50_10", _measure("pgd50_10")),
    "apgd_ce": (AUTOATTACK, _autoattack("apgd-ce")),
    "autoattack": (AUTOATTACK, _autoattack("square")),
}


def compare(paper: Paper, numbers: Iterable[Printed], runs: Iterable[Run]) -> Comparison:
    """Put our records beside a paper's numbers."""
    runs = list(runs)
    by_place = defaultdict(list)
    for run in runs:
        by_place[_place(run.config, run.config.eps)].append(run)
    by_block: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for number in numbers:
        where = (number.table, number.dataset, number.architecture, number.norm, number.eps)
        by_block[where].append(_cell(paper, number, by_place))
    blocks = [_block(where, cells) for where, cells in by_block.items()]
    return Comparison(paper, blocks, [(c, effects(c, runs)) for c in paper.choices])


def effects(choice: Choice, runs: Iterable[Run]) -> list[Effect]:
    """Measure a choice on runs that are equal in all but its field."""
    alike: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        if choice.field and choice.method in ("", run.config.method):
            value, rest = _without(run.config, choice.field)
            alike[rest][str(value)] = run
    first, *others = map(str, choice.options or [""])
    pairs: dict[tuple[str, str, str], list[tuple[Score, Score]]] = defaultdict(list)
    for found in alike.values():
        for other in others:
            if first not in found or other not in found:
                continue
            for attack in ("clean", "pgd10", "autoattack"):
                a, b = (_score(found[option], attack) for option in (first, other))
                if a and b and a.n == b.n:
                    pairs[_facts(found[other].config, choice.field), other, attack].append((a, b))
    return [
        _effect(where, (first, other), attack, both)
        for (where, other, attack), both in sorted(pairs.items())
    ]


def _place(of: Config | Printed, eps: str) -> tuple[Any, ...]:
    """What two numbers must share to be compared at all."""
    return of.dataset, of.architecture, of.norm, round(radius(eps), 6), of.method


def _cell(paper: Paper, number: Printed, runs: dict[tuple[Any, ...], list[Run]]) -> Cell:
    why = _incomparable(number)
    if why:
        return Cell(number, why=why, comparable=False)
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs.get(_place(number, number.eps), ()):
        if number.settings.items() <= run.config.settings.items():
            found[_without(run.config, "seed")[1] + _checksum(run)].append(run)
    if not found:
        given = "".join(f" {key}={value}" for key, value in number.settings.items())
        return Cell(number, why=f"no run of {number.method}{given} like it")
    candidates = [ours for same in found.values() if (ours := _ours(paper, number, same))]
    if not candidates:
        reasons = [_why(run, number.attack) for same in found.values() for run in same]
        return Cell(number, why="; ".join(dict.fromkeys(reasons)))
    return Cell(number, min(candidates, key=lambda o: (len(o.departures), -o.seeds, -o.images)))


def _incomparable(number: Printed) -> str | None:
    """Say why no record could stand beside a number; None if one could."""
    reasons = (
        (number.unit != ACCURACY, "no accuracy"),
        (number.attack not in ATTACKS, "attack not run here"),
        (not _is_method(number.method), "method not here"),
        (_width(number.architecture) is None, "network not here"),
        (not number.eps, "the table names no radius"),
        (number.norm != "Linf", f"norm {number.norm} not run here"),
        (number.checkpoint != "last", f"of the {number.checkpoint} epoch; ours is the last"),
    )
    return next((why for holds, why in reasons if holds), None)


@functools.cache
def _is_method(name: str) -> bool:
    return name in catalogue.names("methods")


@functools.cache
def _width(architecture: str) -> int | None:
    """Channels of a network's first layer as published; None if it has no file here."""
    if architecture not in catalogue.names("bench/models"):
        return None
    width: int = catalogue.constant(f"bench/models/{architecture}.py", "WIDTH")
    return width


def _ours(paper: Paper, number: Printed, runs: list[Run]) -> Ours | None:
    """Sum up runs that differ in their seed alone; None if none has the number."""
    scores = [(run, score) for run in runs if (score := _score(run, number.attack))]
    if not scores:
        return None
    values = [score.accuracy for _, score in scores]
    images = min(score.n for _, score in scores)
    bounds = interval(values, [images])
    assert bounds, "accuracies have images"
    run = scores[0][0]
    settings = run.config.settings
    left_open = [choice.field for choice in paper.choices if choice.method == number.method]
    return Ours(
        mean=statistics.fmean(values),
        low=max(0.0, bounds[0]),
        high=min(100.0, bounds[1]),
        spread=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(values),
        images=images,
        settings=settings,
        chosen=", ".join(f"{key}={settings[key]}" for key in left_open if key in settings),
        departures=tuple(_departures(paper, number, [run for run, _ in scores], images)),
    )


def _departures(paper: Paper, number: Printed, runs: Sequence[Run], images: int) -> Iterable[str]:
    run, config = runs[0], runs[0].config
    data = next((record.data for record in run.stages.values() if record.data), None)
    name, epochs = config.protocol["name"], config.protocol.get("epochs")
    if name not in paper.protocols:
        own = f", not {' or '.join(paper.protocols)}" if paper.protocols else ", not the paper's"
        yield f"protocol {name}{own}"
    if number.epochs and str(epochs) != number.epochs:
        yield f"{epochs} epochs, not {number.epochs}"
    published = _width(config.architecture)
    if config.width != published:
        yield f"width {config.width}, not {published}"
    if config.train_images is not None:
        yield f"{config.train_images} training images"
    if config.precision != "fp32":
        yield f"precision {config.precision}"
    if data and not data.official:
        yield "unofficial data"
    if data and images < data.test_images:
        yield f"{number.attack} on {images} of {data.test_images} test images"
    if ATTACKS[number.attack][0] == AUTOATTACK and any(map(_is_fast, runs)):
        yield "AutoAttack in fast mode"
    stated = paper.settings.get(config.method, {}) | number.settings
    for key, value in stated.items():
        if config.settings.get(key) != value:
            yield f"{key} {config.settings.get(key)}, not {value}"


def _is_fast(run: Run) -> bool:
    attack = run.stages[AUTOATTACK].attack
    return attack is not None and attack.mode == "fast"


def _score(run: Run, attack: str) -> Score | None:
    stage, score = ATTACKS[attack]
    return score(run.stages[stage]) if run.has(stage) else None


def _why(run: Run, attack: str) -> str:
    return run.why(ATTACKS[attack][0]) or "not measured"


def _checksum(run: Run) -> str:
    return next((record.data.checksum for record in run.stages.values() if record.data), "")


def _without(config: Config, field: str) -> tuple[Any, str]:
    """Take one field out of a configuration: its value, and all the rest as text."""
    rest = config.as_dict()
    place = rest["settings"] if field in rest["settings"] else rest
    value = place.pop(field, None)
    if field == "protocol":
        value = value["name"]
    return value, json.dumps(rest, sort_keys=True)


def _facts(config: Config, without: str) -> str:
    facts = {
        "dataset": config.dataset,
        "architecture": config.architecture,
        "eps": f"{config.norm} {config.eps}",
        "protocol": config.protocol["name"],
        "method": config.method,
        "width": f"width {config.width}",
        "train_images": f"{config.train_images or 'all'} training images",
    }
    return ", ".join(value for key, value in facts.items() if key != without)


def _effect(
    where: str, options: tuple[str, str], attack: str, pairs: list[tuple[Score, Score]]
) -> Effect:
    gaps = [b.accuracy - a.accuracy for a, b in pairs]
    spread = statistics.stdev(gaps) if len(gaps) > 1 else None
    images = min(a.n for a, _ in pairs)
    return Effect(where, options, attack, statistics.fmean(gaps), spread, len(gaps), images)


def _block(where: tuple[str, ...], cells: list[Cell]) -> Block:
    table, *facts = where
    rows: dict[str, dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        rows[cell.printed.printed][cell.printed.attack] = cell
    attacks = list(dict.fromkeys(cell.printed.attack for cell in cells))
    return Block(table, ", ".join(fact for fact in facts if fact), attacks, dict(rows))
