"""The stages of a run: the options of each, the stages it reads, its record, and when it is done.

Programs take their flags from here, the plan its jobs and the page its commands, and all of them
ask ``Stage.state`` whether a record is still to be made.
"""

import dataclasses
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from bench.runs import catalogue, evaluations
from bench.runs.fingerprints import equivalent
from bench.runs.record import (
    AUTOATTACK,
    COST,
    SWEEP,
    TRAIN,
    Config,
    Engine,
    Mode,
    Record,
    Weights,
    body_of,
)
from bench.runs.suite import Suite

State = Literal["done", "stale code", "stale options", "stale weights", "failed", "missing"]


def option(
    default: Any,
    meaning: str,
    *,
    least: int = 1,
    counts: bool = False,
    free: bool = False,
    several: bool = False,
) -> Any:
    """Make a field of a class of options; the stage's program has a flag of the same name.

    Args:
        meaning: text for ``--help``.
        least: smallest value, if it is a number.
        counts: True for a number of the first test images, of which None, or more than the data set
            has, means all.
        free: True if a record made with another value counts as done.
        several: True for values with commas between; a record made with more of them counts as
            done.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "meaning": meaning,
            "least": least,
            "counts": counts,
            "free": free,
            "several": several,
        },
    )


ENGINE = "how steps are run; auto: captured on a GPU, eager on a CPU"
WEIGHTS = "of the last epoch, of the one that the protocol's rule chose, or the average"
SEED = "of the attacks; changes the draws"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of training; the rest is in the run's configuration."""

    test_images: int | None = option(None, "first ones to evaluate; all", counts=True)
    probe_images: int = option(512, "first ones, attacked every epoch", counts=True)
    engine: Engine | Literal["auto"] = option("auto", ENGINE)
    checkpoint_seconds: float = option(30.0, "least time between two", least=0, free=True)
    keep_at: str | None = option(None, "updates to keep weights of, as 0,3775; none", several=True)
    keep_weights: Literal["half"] | None = option(None, "in half precision; in full", free=True)
    watch: str | None = option(
        None, "diagnostics on the way, as gradient_alignment-every_50; none", several=True
    )


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """Options of AutoAttack."""

    images: int | None = option(None, "first test images to attack; all", counts=True)
    batch: int = option(256, "images at once; changes the draws")
    mode: Mode = option("exact", "fast attacks in bf16; the network in fp32 judges what was found")
    seed: int = option(0, SEED, least=0)
    weights: Weights = option("last", WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of an optional evaluation."""

    images: int | None = option(None, "first test images; all", counts=True)
    batch: int | None = option(None, "AutoAttack's, for an evaluation by it")
    mode: Mode | None = option(None, "AutoAttack's, for an evaluation by it")
    seed: int = option(0, SEED, least=0)
    weights: Weights = option("last", WEIGHTS)
    radii: str | None = option(
        None, f"of {SWEEP}, as 0,8,16, in 1/255 or, in L2, in 1/32 of eps; the usual ones"
    )


@dataclass(frozen=True, kw_only=True)
class CostOptions:
    """Options of the measurement of costs."""

    repetitions: int = option(5, "of each method, taking turns", least=2)
    engine: Engine | Literal["auto"] = option("auto", ENGINE)


Options = TrainOptions | AttackOptions | EvaluateOptions | CostOptions


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run: training, an attack, an optional evaluation or the measuring of costs."""

    name: str  # its record is NAME.json
    program: str  # python -m bench PROGRAM; its module in bench/stages
    defaults: Options
    options_for: Callable[[Suite], Options]  # the options that a suite asks for
    options_of: Callable[[Record], Options]  # the options that a finished record was made with
    per_seed: bool = True  # False: once for all seeds of a suite
    at: int | None = None  # update whose kept weights it reads; None: those that its options name
    reads: Callable[[Config], list[tuple[Config, str]]] = lambda config: []  # runs and stages

    @property
    def body(self) -> str:
        """The field of the record that holds what was found."""
        return body_of(self.name)

    def state(
        self,
        record: Record | None,
        wanted: Options,
        code: str,
        attempt: int = 1,
        trainings: Iterable[Record | None] = (),
    ) -> State:
        """Compare a record of this stage with what is wanted of it.

        Args:
            record: None if the stage left none.
            wanted: the options that it should be made with.
            code: the method's fingerprint now.
            attempt: smallest attempt that counts; one more than a failure's has it tried again.
            trainings: the records that there are of what the stage reads.

        Returns:
            "done" or "failed" if the record is the wanted one; otherwise the first reason to make
            it again.
        """
        if record is None or record.attempt < attempt:
            return "missing"
        if record.origin is None or not equivalent(record.origin.method_code, code):
            return "stale code"
        if not self._fits(record, wanted):
            return "stale options"
        if not all(self._is_of(record, training) for training in trainings):
            return "stale weights"
        return "done" if record.status == "done" else "failed"

    def flags(self, options: Options) -> dict[str, str]:
        """Return the flags with which the stage's program does this stage with some options."""
        which = {"--evaluation": self.name} if self.program == "evaluate" else {}
        return as_flags(options) | which

    def _is_of(self, record: Record, read: Record | None) -> bool:
        """Say whether a record was made with the weights that a training left last."""
        if read is None or read.training is None or record.body is None:
            return True  # it has to run, or has no weights, or is no result of any
        epoch: Weights = "last"
        at = None
        if read.run == record.run:
            at, epoch = self.at, getattr(self.options_of(record), "weights", epoch)
            digest = getattr(record.body, "digest", None)
        else:
            source = getattr(record.body, "source", None)
            digest = source and source.digest
        return digest is None or read.training.left(epoch, digest, at)

    def _fits(self, record: Record, wanted: Options) -> bool:
        """Say whether a record was made with the options that are wanted."""
        if record.status == "done":
            used = self.options_of(record)
        elif record.options is None:  # an old record of a failure; they lack the options
            return True
        else:
            used = type(wanted)(**record.options)
        available = record.data.test_images if record.data else None
        return all(
            _agree(field, getattr(used, field.name), getattr(wanted, field.name), available)
            for field in dataclasses.fields(wanted)
        )


def _agree(field: Any, used: Any, wanted: Any, available: int | None) -> bool:
    """Compare two values of an option; ``available`` is how many test images there are."""
    if field.metadata["free"] or wanted == "auto":
        return True
    if field.metadata["several"]:
        return {*_parts(wanted)} <= {*_parts(used)}
    if field.metadata["counts"] and available is not None:
        used, wanted = min(used or available, available), min(wanted or available, available)
    return bool(used == wanted)


def _parts(text: str | None) -> list[str]:
    return text.split(",") if text else []


def numbers(text: str | None) -> list[int]:
    """Read whole numbers with commas between.

    Raises:
        ValueError: the text holds something else.
    """
    if not all(part.isdecimal() for part in _parts(text)):
        raise ValueError(f"{text!r} is no list of whole numbers; write them as 0,3775")
    return [*map(int, _parts(text))]


def with_kept(options: TrainOptions, updates: Iterable[int]) -> TrainOptions:
    """Return the options with weights kept after these updates, too."""
    kept = sorted({*numbers(options.keep_at), *updates})
    return dataclasses.replace(options, keep_at=",".join(map(str, kept)) or None)


def watched(text: str | None) -> list[evaluations.Entry]:
    """Read names of evaluations with commas between.

    Raises:
        ValueError: one of them is the name of none.
    """
    return [*map(evaluations.read, _parts(text))]


def as_flags(options: Options) -> dict[str, str]:
    """Return a program's flags and their values as text; options that are None are left out."""
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {_flag(name): str(value) for name, value in values.items() if value is not None}


def as_stored(options: Options) -> dict[str, Any]:
    """Return options as a record holds them; those that came later only where they are set."""
    told = {field.name: field.metadata for field in dataclasses.fields(options)}
    return {
        name: value
        for name, value in dataclasses.asdict(options).items()
        if value is not None or not (told[name]["several"] or told[name]["free"])
    }


class Flag(typing.NamedTuple):
    """A flag of a stage's program, in the terms of argparse."""

    name: str
    kind: type  # int, float or str
    default: Any
    choices: tuple[str, ...] | None
    least: int
    meaning: str


def flags_of(options: Options) -> Iterator[Flag]:
    """Describe the flags that options of this class have; their values here are the defaults."""
    hints = typing.get_type_hints(type(options))
    for field in dataclasses.fields(options):
        choices = tuple(_choices(hints[field.name]))
        text = choices or hints[field.name] == str | None
        kind = str if text else float if hints[field.name] is float else int
        yield Flag(
            _flag(field.name), kind, getattr(options, field.name),
            choices or None, field.metadata["least"], field.metadata["meaning"],
        )  # fmt: skip


def _flag(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"


def _choices(kind: Any) -> Iterator[str]:
    """Yield the values of a Literal, or of the Literals in a union."""
    if typing.get_origin(kind) is Literal:
        yield from typing.get_args(kind)
    elif typing.get_origin(kind) is not None:
        for part in typing.get_args(kind):
            yield from _choices(part)


def _reads_training(config: Config) -> list[tuple[Config, str]]:
    return [(config, TRAIN)]


def _reads_source(config: Config) -> list[tuple[Config, str]]:
    return [(config.source, TRAIN)] if config.source else []


def _train_options(record: Record) -> Options:
    training = record.training
    assert training, "a training that is done has numbers"
    return TrainOptions(
        test_images=training.clean.n,
        probe_images=training.probe_images,
        engine=training.engine,
        keep_at=",".join(training.kept) or None,
        watch=",".join(training.watched) or None,
    )


def _attack_options_for(suite: Suite) -> AttackOptions:
    return AttackOptions(
        images=suite.attack_images, batch=suite.attack_batch, mode=suite.attack_mode
    )


def _attack_options(record: Record) -> Options:
    attack = record.attack
    assert attack, "an attack that is done has numbers"
    return AttackOptions(
        images=attack.n,
        batch=attack.batch,
        mode=attack.mode,
        seed=attack.seed,
        weights=attack.weights,
    )


def _cost_options(record: Record) -> Options:
    expense = record.expense
    assert expense, "a cost that is done has numbers"
    return CostOptions(repetitions=expense.repetitions, engine=expense.engine)


def _evaluate_options(record: Record) -> Options:
    evaluation, entry = record.measure, evaluations.read(record.stage)
    assert evaluation, "an evaluation that is done has numbers"
    scored = (score.n for score in evaluation.scores.values())
    images = evaluation.images or min(scored, default=0)
    seed = evaluation.settings.get("seed", 0)
    weights = evaluation.settings.get("weights", entry.weights)
    radii = evaluation.settings.get("radii")
    attack = {name: evaluation.settings.get(name, default)
              for name, default in _of_attack(entry, AttackOptions()).items()}  # fmt: skip
    return EvaluateOptions(images=images, seed=seed, weights=weights, radii=radii, **attack)


_FIXED = (
    Stage(
        name=TRAIN,
        program="train",
        defaults=TrainOptions(),
        options_for=lambda suite: TrainOptions(
            test_images=suite.test_images,
            probe_images=suite.probe_images,
            keep_at=",".join(map(str, suite.kept)) or None,
            keep_weights=None if suite.keep_weights == "full" else "half",
            watch=",".join(suite.watch) or None,
        ),
        options_of=_train_options,
        reads=_reads_source,
    ),
    Stage(
        name=AUTOATTACK,
        program="attack",
        defaults=AttackOptions(),
        options_for=_attack_options_for,
        options_of=_attack_options,
        reads=_reads_training,
    ),
    Stage(
        name=COST,
        program="cost",
        defaults=CostOptions(),
        options_for=lambda suite: CostOptions(),
        options_of=_cost_options,
        per_seed=False,
    ),
)


def _of_attack(entry: evaluations.Entry, options: AttackOptions) -> dict[str, Any]:
    """Return those of AutoAttack's options that an evaluation by it shares; none for others."""
    shares = entry.constant("autoattack")
    return {"batch": options.batch, "mode": options.mode} if shares else {}


def _evaluation(name: str) -> Stage:
    """Make the stage of an evaluation from its name, which says all but the suite's options."""
    entry = evaluations.read(name)

    def options_for(suite: Suite) -> Options:
        radii = suite.sweep_radii if name == SWEEP else None
        return EvaluateOptions(
            images=suite.evaluation_images or suite.attack_images,
            weights=entry.weights,
            radii=",".join(map(str, radii)) if radii else None,
            **_of_attack(entry, _attack_options_for(suite)),
        )

    def reads(config: Config) -> list[tuple[Config, str]]:
        source = evaluations.source(entry, config)
        return [*_reads_training(config), *([(source, TRAIN)] if source else [])]

    return Stage(
        name=entry.name,
        program="evaluate",
        defaults=EvaluateOptions(weights=entry.weights, **_of_attack(entry, AttackOptions())),
        options_for=options_for,
        options_of=_evaluate_options,
        at=entry.at,
        reads=reads,
    )


def stages() -> dict[str, Stage]:
    """List all stages by name, in the order in which a run does them.

    Of evaluations these are the ones with the files' own settings; `stage` knows the others.
    """
    train, attack, cost = _FIXED
    optional = [_evaluation(name) for name in evaluations.known()]
    return {stage.name: stage for stage in (train, attack, *optional, cost)}


@catalogue.remembered
def stage(name: str) -> Stage:
    """Return the stage of a name.

    Raises:
        LookupError: no stage has this name.
    """
    fixed = {stage.name: stage for stage in _FIXED}
    if name in fixed:
        return fixed[name]
    if not re.fullmatch(evaluations.pattern(), name):
        raise LookupError(catalogue.unknown("stage", name, stages()))
    return _evaluation(name)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names of stages into the order in which a run does them."""
    fixed = [TRAIN, AUTOATTACK, "", COST]  # optional evaluations in between
    return sorted(names, key=lambda name: (fixed.index(name if name in fixed else ""), name))


def stages_for(suite: Suite) -> list[Stage]:
    """List the stages that a suite asks for, in the order in which a run does them."""
    train, attack, cost = _FIXED
    names = sorted({evaluations.read(given).name for given in suite.evaluations})
    return [train, attack, *map(_evaluation, names), cost]
