"""The run record: what a stage of a run found, as typed and versioned JSON. Standard library only.

Each stage of a run writes one file in the run's folder: train.json, autoattack.json, cost.json,
and one for every optional evaluation. All have the same head (which run, which status, where it was
made), and the report joins them by run id.
"""

import dataclasses
import functools
import hashlib
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from bench.runs import catalogue
from bench.runs.files import write_json

SCHEMA = 1
TRAIN, AUTOATTACK, COST = "train", "autoattack", "cost"
Status = Literal["done", "failed", "diverged", "oom", "refused", "skipped"]
Engine = Literal["eager", "compiled", "captured"]  # how steps are run: bench/engine.py
Mode = Literal["exact", "fast"]  # of AutoAttack; fast: attacked in bf16, judged in fp32
Weights = Literal["last", "best"]  # of which epoch


@dataclass(frozen=True, kw_only=True)
class Config:
    """The complete configuration of a run; its hash is the run's id."""

    dataset: str
    architecture: str
    width: int  # channels of the first layer
    method: str
    settings: dict[str, Any]  # every hyperparameter of the method
    norm: Literal["Linf"] = "Linf"
    eps: str  # "8/255", on the [0, 1] scale
    seed: int
    protocol: dict[str, Any]  # a bench.runs.protocol.Protocol
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    train_images: int | None = None  # a fixed random subset; None: all

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as dicts, ready for JSON."""
        return dataclasses.asdict(self)

    @property
    def run_id(self) -> str:
        """The first 12 hex digits of the SHA-256 of the configuration's sorted JSON."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """The run's folder, below results/runs/."""
        return f"{self.dataset}/{self.architecture}/{self.method}/{self.run_id}"


class ConfigError(ValueError):
    """A suite's or a run's configuration is wrong; the text lists every mistake."""


def radius(eps: str) -> float:
    """Convert a radius from text, as "8/255", to a number on the [0, 1] scale.

    Raises:
        ValueError: the text is no fraction.
    """
    numerator, denominator = eps.split("/")
    return float(numerator) / float(denominator)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The code and the machine that made a record."""

    commit: str | None  # of the repository; None outside one
    dirty: bool | None  # True if there were uncommitted changes
    method_code: str  # fingerprint of the method's file and what it reaches of ops.py
    bench_code: str  # fingerprint of what else the stage's numbers depend on
    python: str
    torch: str
    cuda: str | None
    device: str  # its name, as the driver or the kernel gives it
    threads: int
    started: str  # ISO 8601, UTC
    seconds: float  # the whole job's, without imports


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images that a run was trained and tested on."""

    checksum: str  # SHA-256 of the pixels and labels of both splits
    official: bool  # equal to the published copy
    train_images: int
    test_images: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """An accuracy and the number of images that it is of."""

    accuracy: float  # percent
    n: int


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A spell of epochs, counted from 0, in catastrophic overfitting."""

    first: int
    last: int
    depth: float  # share of the best PGD-10 accuracy before it that was lost, 0 to 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the run overfitted catastrophically, by the rule of evaluation/overfitting.py."""

    collapsed: bool  # in its last epoch
    onset_epoch: int | None  # first epoch, from 0, from which it stayed collapsed
    episodes: list[Episode] = field(default_factory=list)  # in order; none in older records

    @property
    def outcome(self) -> Literal["none", "collapsed", "recovered"]:
        """What became of the run in the end."""
        if self.collapsed:
            return "collapsed"
        return "recovered" if self.episodes else "none"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of the training curves; means over its updates."""

    epoch: int  # from 0
    lr: float  # of its last update
    loss: float
    pert_align: float | None  # mean cosine of first attack gradient and training gradient
    reach: float  # largest |at - x|, in units of eps
    state: dict[str, float]  # the method's 0-dim state
    probe: dict[str, float]  # percent, on the probe images
    validation: float | None = None  # percent under PGD-10, on the images held out, if any are


@dataclass(frozen=True, kw_only=True)
class Best:
    """The epoch with the best PGD-10 accuracy on validation images, and its test accuracies."""

    epoch: int  # from 0
    validation: float  # percent
    clean: Score
    fgsm: Score
    pgd10: Score


@dataclass(frozen=True, kw_only=True)
class Training:
    """What training found: accuracies, curves, and the time and memory that it took."""

    epochs: int
    updates: int
    parameters: int
    train_seconds: float
    data_seconds: float  # the part of them spent waiting for batches
    probe_seconds: float  # spent on probes; not part of train_seconds
    peak_bytes: int | None  # of device memory while training; None without a GPU
    state_bytes: int
    probe_images: int
    resumed: int  # times it went on from a checkpoint
    clean: Score
    fgsm: Score
    pgd10: Score
    verdict: Verdict
    method_source: str
    curves: list[Epoch]
    best: Best | None = None  # None where the protocol holds no validation images out
    engine: Engine = "eager"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What AutoAttack found, image by image."""

    version: str  # "standard"
    library: str  # name and version of the implementation
    seed: int
    batch: int
    n: int  # the first n test images
    accuracy: float  # percent, after all attacks: the headline
    after: dict[str, float]  # percent left after "clean" and after each attack in turn
    robust: dict[str, str]  # the same as masks: hex, first image is the highest bit
    attack_seconds: float
    mode: Mode = "exact"
    weights: Weights = "last"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an optional evaluation found."""

    settings: dict[str, Any]  # steps, restarts, step size in units of eps, seed
    scores: dict[str, Score]  # by what was measured, as "pgd50_10" or "fgsm 8/255"
    measure_seconds: float


@dataclass(frozen=True, kw_only=True)
class Expense:
    """What one update costs, measured with nothing else on the device."""

    forward: float  # counted passes per training image and update
    backward: float
    declared_forward: float
    declared_backward: float
    flops_per_image: float  # of one training image, all passes of an update
    update_seconds: float  # median
    update_seconds_sd: float  # over the repetitions
    reference: str  # the method whose updates were timed in turns with these
    reference_seconds: float  # median of one update of it
    time_ratio: float  # median of the ratios of neighbours
    data_seconds: float  # of one update, making the batch; median
    repetitions: int
    updates: int  # steps per repetition; a step of Free-AT is m updates
    peak_bytes: int | None
    reference_bytes: int | None
    state_bytes: int
    engine: Engine = "eager"  # of both


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of one stage: the head that all stages share, and the body of this one."""

    stage: str  # train, autoattack, cost, or a file of evaluation/attacks
    run: str  # run id
    config: Config
    status: Status
    reason: str | None = None  # why not done, in one paragraph
    attempt: int = 1
    options: dict[str, Any] | None = None  # that the stage ran with; older records lack them
    origin: Origin | None = None
    data: Data | None = None
    training: Training | None = None
    attack: Attack | None = None
    expense: Expense | None = None
    measure: Evaluation | None = None
    schema: int = field(default=SCHEMA)

    @property
    def body(self) -> Training | Attack | Expense | Evaluation | None:
        """What this stage found; None unless it is done."""
        return self.training or self.attack or self.expense or self.measure

    def write(self, folder: Path) -> Path:
        """Write <folder>/<stage>.json and return its path."""
        path = folder / f"{self.stage}.json"
        write_json(path, dataclasses.asdict(self))
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a record.

        Raises:
            ValueError: the file departs from the schema; the message says where.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON ({error}); remove it and run again") from None
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            given = raw.get("schema") if isinstance(raw, dict) else None
            raise ValueError(f"{path} has schema {given!r}, this version reads schema {SCHEMA}")
        try:
            record = build(cls, raw)
            known = stage_names()
            if record.stage not in known:
                raise ValueError(f"record.stage is {record.stage!r}, not one of {known}")
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path} is no valid record: {error}") from None
        return record


def stage_names() -> list[str]:
    """List the names of all stages, in the order in which a run does them."""
    return [TRAIN, AUTOATTACK, *catalogue.names(catalogue.EVALUATIONS), COST]


def build(kind: Any, value: Any, where: str = "record") -> Any:
    """Convert a value read from JSON to a type.

    Args:
        kind: a dataclass, list, dict, optional type, Literal, number, bool or str.
        where: name of the value in messages.

    Raises:
        ValueError: names the first place where the value departs from the type.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is types.UnionType:
        if value is None and type(None) in args:
            return None
        return build(next(arg for arg in args if arg is not type(None)), value, where)
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{where} is {value!r}, not one of {list(args)}")
        return value
    if origin is list and isinstance(value, list):
        return [build(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {key: build(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}, not {getattr(kind, '__name__', kind)}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, not an object")
    hints, required = _fields(kind)
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where} has unknown {unknown}")
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{where} lacks {missing}")
    return kind(**{key: build(hints[key], item, f"{where}.{key}") for key, item in value.items()})


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], set[str]]:
    """Return the types of a dataclass's fields, and the names of those without a default."""
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    return typing.get_type_hints(kind), required
