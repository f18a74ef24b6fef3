"""Printed numbers beside ours: the difference, the verdict, and where our runs depart.

A printed number is compared with runs of the same data set, network, norm, radius, method and
attack. Every other departure of those runs from the paper is listed beside them.
"""

import dataclasses
import functools
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from bench.runs import catalogue, evaluations
from bench.runs.ending import plural
from bench.runs.evaluations import Entry
from bench.runs.record import (
    AUTOATTACK,
    COST,
    TRAIN,
    WEIGHTS,
    Config,
    Kept,
    Record,
    Score,
    radius,
)
from report import sources
from report.collect import RunRecords
from report.printed import Choice, Paper, Printed
from report.statistic import confidence_interval, deviation, shown

ACCURACY = "%"
COLLAPSED = "last, collapsed"  # of a printed number: of runs that ended so
Verdict = Literal["none", "held", "above", "below", "open"]


@dataclass(frozen=True)
class Ours:
    """Our result for a printed number, over runs that differ in their seed alone."""

    mean: float
    interval: tuple[float, float] | None  # 95 %; None: one seed of what is no accuracy
    spread: float | None  # standard deviation over seeds; None for one
    seeds: int
    images: int  # 0: of none, as passes
    settings: dict[str, Any]
    chosen: str  # values of the settings that the paper leaves open: "rule=code"
    departures: tuple[str, ...]  # from the paper; each may change the number

    @property
    def text(self) -> str:
        """Mean, confidence interval, seeds, images and chosen settings for people."""
        n = plural(self.seeds, "seed")
        n += f" of {self.images} images" if self.images else ""
        within = "" if self.interval is None else " [{:.3g}, {:.3g}]".format(*self.interval)
        result = f"{shown(self.mean)}{within}, {n}"
        return f"{result}, {self.chosen}" if self.chosen else result


@dataclass(frozen=True)
class Reproduction:
    """A printed number and our result for it, or the reason why there is none."""

    printed: Printed
    ours: Ours | None = None
    reason: str | None = None
    comparable: bool = True  # can runs of this project be compared with it

    @property
    def difference(self) -> float | None:
        """Our mean minus the printed number, in its unit; None without a result of ours."""
        return None if self.ours is None else self.ours.mean - self.printed.number

    @property
    def difference_text(self) -> str:
        """The difference with its sign, and as many digits as the printed number needs."""
        difference = self.difference
        if difference is None:
            return "-"
        return f"{'+' if difference >= 0 else ''}{shown(difference, self.printed.number)}"

    @property
    def verdict(self) -> Verdict:
        """Where our interval lies: around the printed number ("held"), above it or below it.

        It is "open" where one seed has no interval.
        """
        if self.ours is None:
            return "none"
        if self.ours.interval is None:
            return "open"
        low, high = self.ours.interval
        if low > self.printed.number:
            return "above"
        return "below" if high < self.printed.number else "held"


@dataclass(frozen=True)
class Effect:
    """The effect of a choice between two options, on pairs of runs that differ in it alone."""

    where: str  # data set, network, ... that the pairs share
    options: tuple[str, str]
    attack: str
    mean: float  # points, the second option minus the first
    spread: float | None  # standard deviation over pairs; None for one
    pairs: int
    images: int


@dataclass(frozen=True)
class Block:
    """The part of a paper's table for one data set, network, norm and radius."""

    table: str
    facts: str  # data set, network, norm and radius
    attacks: list[str]
    rows: dict[str, dict[str, Reproduction]]  # by the row's label, and attack

    @property
    def cells(self) -> list[Reproduction]:
        """All numbers, row by row."""
        return [cell for row in self.rows.values() for cell in row.values()]

    @property
    def counts(self) -> Counter[str]:
        """How many numbers have which verdict."""
        return Counter(cell.verdict for cell in self.cells)

    def beside(self, label: str) -> list[str]:
        """List our departures in a row, then the notes on its printed numbers, each once."""
        cells = self.rows[label].values()
        remarks = [departure for cell in cells if cell.ours for departure in cell.ours.departures]
        notes = [part for cell in cells for part in cell.printed.note.split("; ") if part]
        remarks += [f"paper: {note}" for note in notes]
        return list(dict.fromkeys(remarks))


@dataclass(frozen=True)
class PaperReport:
    """All numbers of a paper beside ours, and the measured effects of its open choices."""

    paper: Paper
    blocks: list[Block]
    effects: list[tuple[Choice, list[Effect]]]

    @property
    def compared(self) -> list[tuple[Block, Reproduction]]:
        """The numbers that have a result of ours, with their blocks."""
        return [(block, cell) for block in self.blocks for cell in block.cells if cell.ours]

    @property
    def counts(self) -> Counter[str]:
        """How many numbers have which verdict."""
        return sum((block.counts for block in self.blocks), Counter())

    @property
    def comparable(self) -> int:
        """How many numbers runs of this project can be compared with, run or not."""
        return sum(cell.comparable for cell in self.cells)

    @property
    def cells(self) -> list[Reproduction]:
        """All numbers, block by block."""
        return [cell for block in self.blocks for cell in block.cells]

    @property
    def incomparable(self) -> Counter[str]:
        """How many numbers runs of this project cannot be compared with, by reason."""
        return Counter(cell.reason for cell in self.cells if cell.reason and not cell.comparable)


class Number(NamedTuple):
    """What a record holds of a printed number."""

    value: float
    n: int  # images that it is of; 0: of none


NumberOf = Callable[[Record], Number | None]


def _number(score: Score | None) -> Number | None:
    return Number(score.accuracy, score.n) if score else None


def _autoattack(name: str) -> NumberOf:
    """Make the reader of the accuracy that is left after an attack of AutoAttack's sequence."""

    def left(record: Record) -> Number | None:
        attack = record.attack
        if attack is None or name not in attack.after:
            return None
        return Number(attack.after[name], attack.n)

    return left


def _training(name: str, weights: Kept = "last") -> NumberOf:
    """Make the reader of an accuracy that training ends with, of these weights."""

    def right(record: Record) -> Number | None:
        training = record.training
        chosen = training if weights == "last" else getattr(training, weights)
        return _number(getattr(chosen, name)) if chosen else None

    return right


def _chosen_by(record: Record) -> Number | None:
    """Read the score by which weights were chosen on all test images."""
    best = record.training and record.training.best_on_test
    return Number(best.validation, best.clean.n) if best else None


def _score(name: str) -> NumberOf:
    return lambda record: _number(record.measure.scores.get(name)) if record.measure else None


def _value(name: str, unit: str) -> NumberOf:
    """Make the reader of a number of an evaluation that is no accuracy."""

    def found(record: Record) -> Number | None:
        value = record.measure.values.get(name) if record.measure else None
        if value is None or value.value is None or value.unit != unit:
            return None
        return Number(value.value, value.n)

    return found


def _passes(way: str) -> NumberOf:
    return lambda record: Number(getattr(record.expense, way), 0) if record.expense else None


# By the attack's name in the CSV files: the stage that runs it, and the reader of its accuracy. Of
# AutoAttack's attacks, APGD-CE comes first and meets all images; the others meet the survivors.
# Other names are those of optional evaluations.
ATTACKS: dict[str, tuple[str, NumberOf]] = {
    "clean": (TRAIN, _training("clean")),
    "fgsm": (TRAIN, _training("fgsm")),
    "pgd10": (TRAIN, _training("pgd10")),
    "apgd_ce": (AUTOATTACK, _autoattack("apgd-ce")),
    "autoattack": (AUTOATTACK, _autoattack("square")),
}


# The same for what is no accuracy; other names are those that optional evaluations give.
OTHERS: dict[str, tuple[str, NumberOf]] = {
    f"passes_{way}": (COST, _passes(way)) for way in ("forward", "backward")
}


@functools.cache
def _measured() -> dict[tuple[str, str], Entry]:
    """List what evaluations measure beside accuracies, by its name and unit."""
    entries = [*map(evaluations.read, evaluations.known())]
    return {pair: entry for entry in entries for pair in evaluations.measures(entry).items()}


def _other(name: str, unit: str, weights: Kept) -> tuple[str, NumberOf] | None:
    """Find the stage that measures what is no accuracy on these weights, and its reader."""
    if weights == "last" and unit == "passes":
        return OTHERS.get(name)
    entry = _measured().get((name, unit))
    if entry is None or weights == "best_on_test":
        return None
    there = dataclasses.replace(entry, weights=weights)
    pairs = zip(evaluations.measures(entry), evaluations.measures(there), strict=True)
    return there.name, _value(dict(pairs)[name], unit)


@functools.cache
def _place(attack: str, unit: str, weights: Kept = "last") -> tuple[str, NumberOf] | None:
    """Find the stage that measures what a paper printed, on these weights, and its reader."""
    if unit != ACCURACY:
        return _other(attack, unit, weights)
    if ATTACKS.get(attack, ("",))[0] == TRAIN:
        return TRAIN, _training(attack, weights)
    if weights == "best_on_test":  # chosen by PGD-20; attacked by nothing else, so never ranked
        return (TRAIN, _chosen_by) if attack == "pgd20" else None
    if weights == "last" and attack in ATTACKS:
        return ATTACKS[attack]
    try:
        entry = evaluations.read("autoattack_best" if attack == "autoattack" else attack)
    except ValueError:
        return None
    if entry.file != "autoattack_best":
        entry = dataclasses.replace(entry, weights=weights)
    elif weights != "best":
        return None
    return entry.name, _score(entry.printed)


def paper_report(
    paper: Paper, numbers: Iterable[Printed], runs: Iterable[RunRecords]
) -> PaperReport:
    """Put our records beside a paper's numbers."""
    runs = list(runs)
    comparable = defaultdict(list)
    for run in runs:
        comparable[_shared(run.config)].append(run)
    by_block: dict[tuple[str, ...], list[Reproduction]] = defaultdict(list)
    for number in numbers:
        where = (number.table, number.dataset, number.architecture, number.norm, number.eps)
        by_block[where].append(_reproduction(paper, number, comparable))
    blocks = [_block(where, cells) for where, cells in by_block.items()]
    return PaperReport(paper, blocks, [(c, effects(c, runs)) for c in paper.choices])


def effects(choice: Choice, runs: Iterable[RunRecords]) -> list[Effect]:
    """Measure a choice on pairs of runs that differ in its field alone."""
    alike: dict[str, dict[str, RunRecords]] = defaultdict(dict)
    first, *others = map(str, choice.options or [""])
    for run in runs:
        if choice.field and choice.method in ("", run.config.method):
            value = str(_field(run.config, choice.field))
            if value in (first, *others):
                alike[_rest(run.config, choice.field)][value] = run
    pairs: dict[tuple[str, str, str], list[tuple[Number, Number]]] = defaultdict(list)
    for found in alike.values():
        for other in others:
            if first not in found or other not in found:
                continue
            for attack in ("clean", "pgd10", "autoattack"):
                a, b = (_read(found[option], *ATTACKS[attack]) for option in (first, other))
                if a and b and a.n == b.n:
                    pairs[_facts(found[other].config, choice.field), other, attack].append((a, b))
    return [
        _effect(where, (first, other), attack, both)
        for (where, other, attack), both in sorted(pairs.items())
    ]


def _shared(number: Config | Printed) -> tuple[Any, ...]:
    """Return what a printed number and a run share if they may be compared."""
    eps = round(radius(number.eps), 6)
    return number.dataset, number.architecture, number.norm, eps, number.method


def _reproduction(
    paper: Paper, number: Printed, runs: dict[tuple[Any, ...], list[RunRecords]]
) -> Reproduction:
    wants_collapsed = number.checkpoint == COLLAPSED
    if wants_collapsed:
        number = dataclasses.replace(number, checkpoint="last")
    reason = _incomparable(number)
    if reason:
        return Reproduction(number, reason=reason, comparable=False)
    found: dict[str, list[RunRecords]] = defaultdict(list)
    for run in runs.get(_shared(number), ()):
        if wants_collapsed and not (run.training and run.training.verdict.collapsed):
            continue
        own = sources.settings(run.config)
        if all(key in own and _is(own[key], said) for key, said in number.settings.items()):
            found[_rest(run.config, "seed") + run.checksum].append(run)
    if not found:
        given = "".join(f" {_said(key, value)}" for key, value in number.settings.items())
        return Reproduction(number, reason=f"no run of {number.method}{given} like it")
    candidates = [ours for same in found.values() if (ours := _ours(paper, number, same))]
    if not candidates:
        reasons = [_reason(run, number) for same in found.values() for run in same]
        return Reproduction(number, reason="; ".join(dict.fromkeys(reasons)))
    best = min(candidates, key=lambda ours: (len(ours.departures), -ours.seeds, -ours.images))
    return Reproduction(number, best)


def _incomparable(number: Printed) -> str | None:
    """Tell why no run of this project can be compared with a number; None if one can."""
    known = catalogue.default_settings(number.method) if _is_method(number.method) else {}
    strange = ", ".join(number.settings.keys() - known.keys())
    reasons = (
        (number.checkpoint not in WEIGHTS, f"of {number.checkpoint}, which no run keeps"),
        (not _is_method(number.method), f"method {number.method or number.label} is not here"),
        (bool(strange), f"{number.method} has no setting {strange} here"),
        (_width(number.architecture) is None, f"network {number.architecture} is not here"),
        (
            number.checkpoint in WEIGHTS and _found(number) is None,
            (
                f"attack {number.attack} is not run here"
                if number.unit == ACCURACY
                else f"{number.attack} in {number.unit} is not measured here"
            )
            + (" on weights chosen on test images" if number.checkpoint == "best_on_test" else ""),
        ),
        (not number.eps, "the table names no radius"),
        (
            number.norm not in _norms(number.method),
            f"{number.method} does not know {number.norm} here",
        ),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _found(number: Printed) -> tuple[str, NumberOf] | None:
    """Find the stage that measures what a printed number is of, and the reader of it."""
    checkpoint: Any = number.checkpoint
    return _place(number.attack, number.unit, checkpoint)


def _is(ours: Any, said: Any) -> bool:
    """Tell whether a setting of ours is what a paper says of it."""
    if isinstance(said, str) and said.startswith("> "):
        return bool(ours > float(said.removeprefix("> ")))
    return bool(ours == said)


def _said(key: str, said: Any) -> str:
    return f"{key} {said}" if str(said).startswith("> ") else f"{key}={said}"


@functools.cache
def _is_method(name: str) -> bool:
    return name in catalogue.names("methods")


def _norms(method: str) -> tuple[str, ...]:
    return catalogue.norms(method) if _is_method(method) else ()


@functools.cache
def _width(architecture: str) -> int | None:
    """Read the published channels of a network's first layer; None if we lack the network."""
    if architecture not in catalogue.names("bench/models"):
        return None
    width: int = catalogue.constant(f"bench/models/{architecture}.py", "WIDTH")
    return width


def _ours(paper: Paper, number: Printed, runs: list[RunRecords]) -> Ours | None:
    """Sum up runs that differ in their seed alone; None if none has a score for the attack."""
    place = _found(number)
    assert place, "a number of an attack that is not here was compared"
    numbers = [(run, found) for run in runs if (found := _read(run, *place))]
    if not numbers:
        return None
    values = [found.value for _, found in numbers]
    images = min(found.n for _, found in numbers)
    run = numbers[0][0]
    settings = sources.settings(run.config)
    left_open = [choice.field for choice in paper.choices if choice.method == number.method]
    return Ours(
        mean=statistics.fmean(values),
        interval=confidence_interval(values, [images] if number.unit == ACCURACY else ()),
        spread=deviation(values),
        seeds=len(values),
        images=images,
        settings=settings,
        chosen=", ".join(f"{key}={settings[key]}" for key in left_open if key in settings),
        departures=tuple(_departures(paper, number, [run for run, _ in numbers], images)),
    )


def _departures(
    paper: Paper, number: Printed, runs: Sequence[RunRecords], images: int
) -> Iterable[str]:
    """Describe where the runs of one configuration depart from the paper."""
    run, config = runs[0], runs[0].config
    data = next((record.data for record in run.records.values() if record.data), None)
    name, epochs = config.protocol["name"], str(config.protocol.get("epochs"))
    if config.start is not None:
        epochs = f"{config.start.protocol.get('epochs')}+{epochs}"
    if name not in paper.protocols:
        own = f", not {' or '.join(paper.protocols)}" if paper.protocols else ", not the paper's"
        yield f"protocol {name}{own}"
    if number.epochs and epochs != number.epochs:
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
    if data and 0 < images < data.test_images:
        yield f"{number.attack} on {images} of {data.test_images} test images"
    if _stage(number) == AUTOATTACK and any(map(_is_fast, runs)):
        yield "AutoAttack in fast mode"
    stated = paper.settings.get(config.method, {}) | number.settings
    settings = sources.settings(config)
    for key, value in stated.items():
        if not _is(settings.get(key), value):
            yield f"{key} {settings.get(key)}, not {value}"


def _is_fast(run: RunRecords) -> bool:
    attack = run.records[AUTOATTACK].attack
    return attack is not None and attack.mode == "fast"


def _read(run: RunRecords, stage: str, number: NumberOf) -> Number | None:
    return number(run.records[stage]) if run.has(stage) else None


def _stage(number: Printed) -> str:
    place = _found(number)
    return place[0] if place else ""


def _reason(run: RunRecords, number: Printed) -> str:
    absence = run.absence(_stage(number))
    return absence.text if absence else "not measured"


def _field(config: Config, field: str) -> Any:
    """Return the value of a field, or of a setting, of a configuration; of a protocol its name."""
    if field == "protocol":
        return config.protocol["name"]
    return config.settings[field] if field in config.settings else getattr(config, field, None)


def _rest(config: Config, field: str) -> str:
    """Write a configuration without a field as text."""
    rest = (config.with_seed(0) if field == "seed" else config).as_dict()
    holder = rest["settings"] if field in rest["settings"] else rest
    holder.pop(field, None)
    return json.dumps(rest, sort_keys=True)


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
    where: str, options: tuple[str, str], attack: str, pairs: list[tuple[Number, Number]]
) -> Effect:
    gaps = [b.value - a.value for a, b in pairs]
    images, mean = min(a.n for a, _ in pairs), statistics.fmean(gaps)
    return Effect(where, options, attack, mean, deviation(gaps), len(gaps), images)


def _block(where: tuple[str, ...], cells: list[Reproduction]) -> Block:
    table, *facts = where
    rows: dict[str, dict[str, Reproduction]] = defaultdict(dict)
    for cell in cells:
        rows[cell.printed.label][cell.printed.attack] = cell
    attacks = list(dict.fromkeys(cell.printed.attack for cell in cells))
    return Block(table, ", ".join(fact for fact in facts if fact), attacks, dict(rows))
