"""Verdicts on training curves that others publish, by the rule that judges our own runs.

The curves are FastAT_Benchmark's: its benchmark_data.json as it stands in public, or a CSV file
with a line an epoch. An accuracy in them is a share, 0 to 1, on images held out of training.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bench.runs import catalogue
from bench.runs.typed import Count, Percent, Positive, Share, explained
from evaluation import early_warning
from evaluation.early_warning import EPOCHS, halved
from evaluation.overfitting import judge

FALL = 15.0  # points below its own best at which a run's last epoch is no longer what is printed
# of early warning, with the way that each is expected to move; they cost nothing more than curves
DETECTORS = {"clean": False, "fgsm": True, "pgd10": False}
HELD_OUT = {"cifar10": 1000, "cifar100": 1000, "tiny_imagenet": 2000}  # images, by our data set


class Run(NamedTuple):
    """Which run a curve is of."""

    dataset: str  # our name
    method: str  # as the file names it
    seed: int


Curves = dict[Run, list[dict[str, float]]]  # by epoch, in percent; [] of a run without attacks


@dataclass(frozen=True)
class Ending:
    """How a run went, told from its curve; the fields are the columns of a CSV file.

    All but the first three are None where no attacks were made in training.
    """

    dataset: str
    method: str
    seed: Count
    best: Percent | None  # right under PGD-10 in the best epoch
    best_epoch: Positive | None  # from 1
    last: Percent | None  # right under PGD-10 in the last epoch
    outcome: Literal["none", "collapsed", "recovered"] | None  # by evaluation/overfitting.py
    onset: Positive | None  # epoch, from 1, from which it stayed collapsed

    @property
    def fell(self) -> bool:
        """Whether it ended FALL points or more below its own best."""
        if self.best is None or self.last is None:
            return False
        return round(self.best - self.last, 6) >= FALL


@dataclass(frozen=True)
class Heard:
    """What a detector said of a run before its collapse; the fields are the columns of a CSV file.

    Numbers are of epochs, from 1, as ``evaluation.early_warning`` counts updates.
    """

    dataset: str
    method: str
    seed: Count
    detector: str
    onset: Positive | None
    readings: Count
    judged: bool
    lead: int | None
    false_alarms: Count
    quiet: Count
    half: int | None


@dataclass(frozen=True)
class _Line:
    """An epoch in a CSV file; other columns are passed over."""

    dataset: str
    method: str
    seed: Count
    epoch: Count
    clean: Share | None
    fgsm: Share | None
    pgd10: Share | None


@dataclass(frozen=True)
class _Lists:
    """A run in benchmark_data.json; other keys are passed over."""

    model_val_acc_list: list[Share] | None = None
    model_fgsm_acc_list: list[Share] | None = None
    model_pgd_acc_list: list[Share] | None = None


@dataclass(frozen=True)
class _Method:
    seeds: dict[int, _Lists]


def plain(name: str) -> str:
    """Reduce a name to what its spellings share: "Tiny-ImageNet" and "tiny_imagenet" are one."""
    return "".join(char for char in name.lower() if char.isalnum())


def read(path: Path) -> Curves:
    """Read the curves of a file: JSON by its suffix, CSV otherwise.

    Raises:
        ValueError: the file holds no such curves; says where.
        OSError: it cannot be read.
    """
    found = _from_json(path) if path.suffix == ".json" else _from_csv(path)
    if not found:
        raise ValueError(f"{path} holds no curves")
    return found


def endings(curves: Curves) -> list[Ending]:
    """Judge every run, in the order of data set, method and seed."""
    return [_ending(run, curves[run]) for run in sorted(curves)]


def warnings(curves: Curves) -> list[Heard]:
    """Judge the detectors of every run that was attacked, by the rule for readings of epochs."""
    found = []
    for run in sorted(curves):
        epochs = range(1, len(curves[run]) + 1)
        series = {name: [probe[name] for probe in curves[run]] for name in DETECTORS}
        begun = halved(epochs, series["pgd10"]) if epochs else None
        for name, rises in DETECTORS.items() if epochs else ():
            said = early_warning.judge(epochs, series[name], begun, rises=rises, rule=EPOCHS)
            found.append(Heard(*run, name, **said._asdict()))
    return found


def write_csv(rows: Sequence[Ending] | Sequence[Heard]) -> str:
    """Write rows of one kind as CSV, which ``read_csv`` reads."""
    text = io.StringIO()
    names = [column.name for column in dataclasses.fields(rows[0])]
    lines = csv.DictWriter(text, names, lineterminator="\n")
    lines.writeheader()
    lines.writerows(dataclasses.asdict(row) for row in rows)
    return text.getvalue()


def read_csv(path: Path, kind: Any) -> list[Any]:
    """Read a CSV file as dataclasses whose fields are among its columns; an empty cell is None.

    Raises:
        ValueError: a line is none; names it.
    """
    adapter = TypeAdapter(kind)
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for i, row in enumerate(csv.DictReader(file), 2):
            try:
                cells = {name: text or None for name, text in row.items()}
                found.append(adapter.validate_python(cells))
            except ValidationError as error:
                raise ValueError(f"{path} line {i}: {_fault(error)}") from None
    return found


def statement(found: Iterable[Ending], title: str) -> str:
    """Say how many runs ended far below their own best, and what the rule of our page finds."""
    found = list(found)
    known = [ending for ending in found if ending.outcome]
    outcomes = [ending.outcome for ending in known]
    text = (
        f"{sum(ending.fell for ending in known)} of {len(found)} runs of {title} end {FALL:g} "
        "points or more below their own best under PGD-10; its table prints the best epoch. By "
        f"our rule {outcomes.count('collapsed')} end collapsed, and "
        f"{outcomes.count('recovered')} more collapsed and recovered."
    )
    if rest := len(found) - len(known):
        text += f" {rest} have no curve under attack."
    return text


def _ending(run: Run, curve: list[dict[str, float]]) -> Ending:
    if not curve:
        return Ending(*run, None, None, None, None, None)
    count = catalogue.classes(run.dataset)
    assert count is not None, f"{run.dataset} has a file in bench/data"
    verdict = judge(curve, classes=count, images=HELD_OUT[run.dataset])
    pgd10 = [probe["pgd10"] for probe in curve]
    best = max(pgd10)
    onset = None if verdict.onset_epoch is None else verdict.onset_epoch + 1
    return Ending(*run, best, pgd10.index(best) + 1, pgd10[-1], verdict.outcome, onset)


def _from_csv(path: Path) -> Curves:
    lines: dict[Run, list[_Line]] = {}
    for line in read_csv(path, _Line):
        run = _run(path, line.dataset, line.method, line.seed)
        lines.setdefault(run, []).append(line)
        if line.epoch != len(lines[run]) - 1:
            raise ValueError(
                f"{path}: {_name(run)} has epoch {line.epoch} in place of {len(lines[run]) - 1}"
            )
    return {
        run: _curve(
            path,
            run,
            *([share for line in epochs if (share := getattr(line, name)) is not None]
              for name in ("clean", "fgsm", "pgd10")),
        )
        for run, epochs in lines.items()
    }  # fmt: skip


def _from_json(path: Path) -> Curves:
    try:
        raw = TypeAdapter(dict[str, dict[str, _Method]]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path}: {_fault(error)}") from None
    found = {}
    for dataset, methods in raw.items():
        for method, entry in methods.items():
            for seed, lists in entry.seeds.items():
                run = _run(path, dataset, method, seed)
                found[run] = _curve(
                    path,
                    run,
                    lists.model_val_acc_list or [],
                    lists.model_fgsm_acc_list or [],
                    lists.model_pgd_acc_list or [],
                )
    return found


def _run(path: Path, dataset: str, method: str, seed: int) -> Run:
    known = {plain(name): name for name in HELD_OUT}
    if plain(dataset) not in known:
        raise ValueError(f"{path}: {catalogue.unknown('data set', dataset, HELD_OUT)}")
    return Run(known[plain(dataset)], method, seed)


def _curve(path: Path, run: Run, *lists: Sequence[float]) -> list[dict[str, float]]:
    """Turn three lists of shares into percentages by epoch."""
    if len({len(shares) for shares in lists}) > 1:
        numbers = ", ".join(str(len(shares)) for shares in lists)
        raise ValueError(f"{path}: {_name(run)} has {numbers} accuracies: clean, FGSM, PGD-10")
    return [
        # 100 * 0.314 is 31.400000000000002
        dict(zip(("clean", "fgsm", "pgd10"), (round(100 * s, 6) for s in shares), strict=True))
        for shares in zip(*lists, strict=True)
    ]


def _name(run: Run) -> str:
    return f"{run.method} on {run.dataset}, seed {run.seed},"


def _fault(error: ValidationError) -> str:
    return explained(error.errors(include_url=False)[0])
