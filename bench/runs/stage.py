"""A stage of a run: what it reads, what it may be told, what its record holds, and when it is done.

The only place that says so. Programs take their flags from here, the plan its jobs, the page its
commands; and all of them ask ``Stage.state`` whether a record is what is wanted.
"""

import functools
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from bench.runs import catalogue
from bench.runs.fingerprints import same
from bench.runs.record import AUTOATTACK, COST, TRAIN, Config, Engine, Mode, Record, Weights
from bench.runs.suite import Suite

State = Literal["done", "stale code", "stale options", "failed", "missing"]


def option(
    default: Any, meaning: str, *, least: int = 1, counts: bool = False, free: bool = False
) -> Any:
    """Make a field of a stage's options, which is also a flag of its program.

    Args:
        meaning: for ``--help``.
        least: of a number.
        counts: it is a number of the first test images; None, or more than there are, means all.
        free: it may change without making a record stale.
    """
    return field(
        default=default,
        metadata={"meaning": meaning, "least": least, "counts": counts, "free": free},
    )


ENGINE = "how steps are run; auto: captured on a GPU, eager on a CPU"
WEIGHTS = "of the last epoch, or of the best one on the images held out"
SEED = "of the attacks; changes the draws"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What training may be told beside the configuration."""

    test_images: int | None = option(None, "first ones to evaluate; all", counts=True)
    probe_images: int = option(512, "first ones, attacked every epoch", counts=True)
    engine: Engine | Literal["auto"] = option("auto", ENGINE)
    checkpoint_seconds: float = option(30.0, "least time between two", least=0, free=True)


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """What AutoAttack may be told."""

    images: int | None = option(None, "first test images to attack; all", counts=True)
    batch: int = option(256, "images at once; changes the draws")
    mode: Mode = option("exact", "fast attacks in bf16; the network in fp32 judges what was found")
    seed: int = option(0, SEED, least=0)
    weights: Weights = option("last", WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What an optional evaluation may be told."""

    images: int | None = option(None, "first test images; all", counts=True)
    seed: int = option(0, SEED, least=0)
    weights: Weights = option("last", WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """What the measurement of costs may be told."""

    repetitions: int = option(5, "of each method, taking turns", least=2)
    engine: Engine | Literal["auto"] = option("auto", ENGINE)


Options = TrainOptions | AttackOptions | EvaluateOptions | CostOptions


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage; ``name`` is that of its record's file."""

    name: str
    program: str  # python -m bench PROGRAM; its module in bench/stages
    options: Options  # as they are unless something else is wanted
    body: str  # field of the record that holds what was found
    wanted: Callable[[Suite], Options]  # by a suite
    made: Callable[[Record], Options]  # that a record of a finished stage was made with
    per_seed: bool = True  # False: once for all seeds of a suite
    reads: Callable[[Config], list[tuple[Config, str]]] = lambda config: []  # runs and stages

    def state(self, record: Record | None, wanted: Options, code: str, attempt: int = 1) -> State:
        """Say whether a record is what is wanted, and if not, why.

        Args:
            record: of this stage; None if there is none.
            code: the method's fingerprint as it is.
            attempt: least number of the try that counts; one more than a failure's to try again.
        """
        if record is None or record.attempt < attempt:
            return "missing"
        if record.origin is None or not same(record.origin.method_code, code):
            return "stale code"
        if not self._fits(record, wanted):
            return "stale options"
        return "done" if record.status == "done" else "failed"

    def _fits(self, record: Record, wanted: Options) -> bool:
        """Was a record made with the options that are wanted."""
        if record.status == "done":
            given = self.made(record)
        elif record.options is None:  # of a time when failures did not say
            return True
        else:
            given = type(wanted)(**record.options)
        there = record.data.test_images if record.data else None
        return all(
            _agree(
                option.metadata, getattr(given, option.name), getattr(wanted, option.name), there
            )
            for option in fields(wanted)
        )


def _agree(known: Any, given: Any, wanted: Any, there: int | None) -> bool:
    if known["free"] or wanted == "auto":
        return True
    if known["counts"] and there is not None:
        given, wanted = min(given or there, there), min(wanted or there, there)
    return bool(given == wanted)


def flags(options: Options) -> dict[str, str]:
    """Write options as the flags of a program; what is None is left out."""
    given = {option.name: getattr(options, option.name) for option in fields(options)}
    return {
        f"--{name.replace('_', '-')}": str(value) for name, value in given.items()
        if value is not None
    }  # fmt: skip


class Flag(typing.NamedTuple):
    """One option as argparse is told of it."""

    name: str
    kind: type  # int, float or str
    default: Any
    choices: tuple[str, ...] | None
    least: int
    meaning: str


def flags_of(options: Options) -> Iterator[Flag]:
    """List the flags of a program, with what its stage's options say of them."""
    hints = typing.get_type_hints(type(options))
    for option in fields(options):
        choices = tuple(_choices(hints[option.name]))
        kind = str if choices else float if hints[option.name] is float else int
        yield Flag(
            f"--{option.name.replace('_', '-')}", kind, getattr(options, option.name),
            choices or None, option.metadata["least"], option.metadata["meaning"],
        )  # fmt: skip


def _choices(kind: Any) -> Iterator[str]:
    """Values of a Literal, or of a union of some; none of another type."""
    if typing.get_origin(kind) is Literal:
        yield from typing.get_args(kind)
    elif typing.get_origin(kind) is not None:
        for part in typing.get_args(kind):
            yield from _choices(part)


def _reads_training(config: Config) -> list[tuple[Config, str]]:
    return [(config, TRAIN)]


def _made_train(record: Record) -> Options:
    made = record.training
    assert made, "a training that is done has numbers"
    return TrainOptions(
        test_images=made.clean.n, probe_images=made.probe_images, engine=made.engine
    )


def _made_attack(record: Record) -> Options:
    made = record.attack
    assert made, "an attack that is done has numbers"
    return AttackOptions(
        images=made.n, batch=made.batch, mode=made.mode, seed=made.seed, weights=made.weights
    )


def _made_cost(record: Record) -> Options:
    made = record.expense
    assert made, "a cost that is done has numbers"
    return CostOptions(repetitions=made.repetitions, engine=made.engine)


def _made_evaluation(record: Record) -> Options:
    made = record.measure
    assert made, "an evaluation that is done has numbers"
    images = min((score.n for score in made.scores.values()), default=0)
    weights = made.settings.get("weights", weights_of(record.stage))
    return EvaluateOptions(images=images, seed=made.settings.get("seed", 0), weights=weights)


_FIXED = (
    Stage(
        name=TRAIN,
        program="train",
        options=TrainOptions(),
        body="training",
        wanted=lambda suite: TrainOptions(
            test_images=suite.test_images, probe_images=suite.probe_images
        ),
        made=_made_train,
    ),
    Stage(
        name=AUTOATTACK,
        program="attack",
        options=AttackOptions(),
        body="attack",
        wanted=lambda suite: AttackOptions(
            images=suite.attack_images, batch=suite.attack_batch, mode=suite.attack_mode
        ),
        made=_made_attack,
        reads=_reads_training,
    ),
    Stage(
        name=COST,
        program="cost",
        options=CostOptions(),
        body="expense",
        wanted=lambda suite: CostOptions(),
        made=_made_cost,
        per_seed=False,
    ),
)


def weights_of(evaluation: str) -> Weights:
    """Say which weights an optional evaluation attacks unless told otherwise."""
    path = f"{catalogue.EVALUATIONS}/{evaluation}.py"
    weights: Weights = (
        catalogue.constant(path, "WEIGHTS") if evaluation in evaluations() else "last"
    )
    return weights


def evaluations() -> list[str]:
    """List the optional evaluations by their canonical names: a file each, with its settings."""
    return catalogue.names(catalogue.EVALUATIONS)


@functools.cache
def _evaluation(name: str, weights: Weights) -> Stage:
    options = EvaluateOptions(weights=weights)
    return Stage(
        name=name,
        program="evaluate",
        options=options,
        body="measure",
        wanted=lambda suite: EvaluateOptions(images=suite.attack_images, weights=weights),
        made=_made_evaluation,
        reads=_reads_training,
    )


def stages() -> dict[str, Stage]:
    """List all stages by name, in the order in which a run does them."""
    train, attack, cost = _FIXED
    optional = [_evaluation(name, weights_of(name)) for name in evaluations()]
    return {stage.name: stage for stage in (train, attack, *optional, cost)}


def stage(name: str) -> Stage:
    """Find a stage.

    Raises:
        LookupError: there is none of this name.
    """
    known = stages()
    if name not in known:
        raise LookupError(catalogue.unknown("stage", name, known))
    return known[name]


def wanted(suite: Suite) -> list[Stage]:
    """List the stages that a suite asks for, in their order."""
    optional = {*suite.evaluations}
    return [one for one in stages().values() if one.program != "evaluate" or one.name in optional]
