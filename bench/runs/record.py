"""The run record: what a stage of a run found, as typed and versioned JSON. No torch.

Each stage of a run writes one file in the run's folder: train.json, autoattack.json, cost.json,
and one for every optional evaluation. All have the same head (which run, which status, where it was
made), and the report joins them by run id. ``Record.read`` is the one reader: it checks every value
against its type and range, and what belongs together against each other.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from bench.runs.files import write_json
from bench.runs.protocol import Protocol, Rule
from bench.runs.typed import LIMIT, Amount, Count, Percent, Positive, Real, Share, build, parse

SCHEMA = 1
TRAIN, AUTOATTACK, COST, SWEEP = "train", "autoattack", "cost", "eps_sweep"
# The fields of a record that hold what its stage found: these, and that of optional evaluations.
BODIES, MEASURE = {TRAIN: "training", AUTOATTACK: "attack", COST: "expense"}, "measure"
TRACES = "curves.safetensors"  # numbers of every update: bench/traces.py
WATCHED, UPDATES = "watch.{}", "watch.{}.update"  # in it: what a diagnostic found, and when
Norm = Literal["Linf", "L2"]
Status = Literal["done", "failed", "diverged", "oom", "refused", "skipped"]
Engine = Literal["eager", "compiled", "captured"]  # how steps are run: bench/engine.py
Mode = Literal["exact", "fast"]  # of AutoAttack; fast: attacked in bf16, judged in fp32
Weights = Literal["last", "best", "average"]  # that may be attacked
Kept = Weights | Literal["best_on_test"]  # all that a run may leave
WEIGHTS: dict[Kept, str] = {  # their files
    "last": "model.safetensors",
    "best": "best.safetensors",
    "average": "average.safetensors",
    "best_on_test": "best_on_test.safetensors",
}
Network = Literal["raw", "average"]  # as trained, or averaged over the updates
FEWEST_CLASSES = 4  # that AutoAttack takes
TOO_FEW_CLASSES = (
    f"AutoAttack's targeted DLR loss needs {FEWEST_CLASSES} classes or more, so data with fewer "
    "get no rank; other evaluations, as pgd50_10, stand in columns beside"
)
MOST_L2 = 16  # as far as an L2 radius may be; papers stay below 6, and 128 was meant in 1/255
RADII: dict[Norm, str] = {
    "Linf": "a radius in Linf is more than 0 and less than 255, over 255: '8/255'",
    "L2": f"a radius in L2 is more than 0 and less than {MOST_L2}: '0.5'",
}


Given = Annotated[Positive, Field(lt=LIMIT)]


@dataclass(frozen=True, kw_only=True)
class Start:
    """The run whose weights another begins with, by what it has of its own."""

    method: str
    settings: dict[str, Any]
    protocol: dict[str, Any]
    seed: Count
    # Fields below came later, as those of Config.
    kept: Positive | None = None  # how often an epoch its weights are read; None: the last alone

    @property
    def of_run(self) -> dict[str, Any]:
        """The fields that are the run's own, by name."""
        return {key: value for key, value in vars(self).items() if key != "kept"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The complete configuration of a run; its hash is the run's id."""

    dataset: str
    architecture: str
    width: Given  # channels of the first layer
    method: str
    settings: dict[str, Any]  # every hyperparameter of the method
    norm: Norm = "Linf"
    eps: str  # on the [0, 1] scale: "8/255" in Linf, "0.5" in L2
    seed: Annotated[Count, Field(lt=LIMIT)]
    protocol: dict[str, Any]  # a bench.runs.protocol.Protocol
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    train_images: Given | None = None  # a fixed random subset; None: all
    # Fields below came later. Records leave them out where they are unset, so that earlier runs
    # keep their ids.
    start: Start | None = None  # whose weights it begins with; None: initial ones

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as dicts, ready for JSON: the later ones only where they are set."""
        # dataclasses.asdict would copy each value of each dict, which is slow for thousands of runs
        values = {key: value for key, value in vars(self).items() if key != "run_id"}
        start = values.pop("start")
        own = {k: {**value} if isinstance(value, dict) else value for k, value in values.items()}
        if start is None:
            return own
        begun = dataclasses.asdict(start)
        if start.kept is None:
            del begun["kept"]
        return own | {"start": begun}

    @property
    def source(self) -> Self | None:
        """The run that ``start`` names: as this one in all else, and from initial weights."""
        if self.start is None:
            return None
        return dataclasses.replace(self, start=None, **self.start.of_run)

    def with_seed(self, seed: int) -> Self:
        """Return the same run with another seed; that of its source stays as far from it."""
        start = self.start and dataclasses.replace(
            self.start, seed=self.start.seed - self.seed + seed
        )
        return dataclasses.replace(self, seed=seed, start=start)

    @functools.cached_property
    def run_id(self) -> str:
        """The first 12 hex digits of the SHA-256 of the configuration's sorted JSON."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """The run's folder, below results/runs/."""
        return self.folder_of(self.run_id)

    def folder_of(self, run_id: str) -> str:
        """The folder of a run with this data set, network and method."""
        return f"{self.dataset}/{self.architecture}/{self.method}/{run_id}"

    def contradictions(self) -> Iterator[str]:
        """Yield a message for every value that no run can have."""
        if not is_radius(self.eps, self.norm):
            yield f"eps is {self.eps!r}; {RADII[self.norm]}"
        protocols = {"protocol": self.protocol}
        if self.start is not None:
            protocols["start.protocol"] = self.start.protocol
        for where, protocol in protocols.items():
            try:
                yield from build(Protocol, protocol, where).contradictions()
            except ValueError as error:
                yield str(error)


class NewerRecordError(ValueError):
    """A record was made by a newer version, which may know what this one does not."""


class ConfigError(ValueError):
    """A suite's or a run's configuration is wrong; the text lists every mistake."""


def radius(eps: str) -> float:
    """Convert a radius from text, as "8/255" or "0.5", to a number on the [0, 1] scale.

    Raises:
        ValueError: the text is neither fraction nor number.
    """
    numerator, slash, denominator = eps.partition("/")
    return float(numerator) / float(denominator if slash else 1)


def is_radius(eps: str, norm: Norm) -> bool:
    """Tell whether a text is a radius of this norm, written in the one way that run ids know."""
    try:
        size = radius(eps)
    except (ValueError, ZeroDivisionError):
        return False
    if norm == "Linf":
        return 0 < size < 1 and eps == f"{255 * size:g}/255"
    return 0 < size < MOST_L2 and eps == f"{size:g}"


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
    threads: Positive
    started: str  # ISO 8601, UTC
    seconds: Amount  # the whole job's, without imports
    bf16_units: bool | None = None  # of the CPU, if the job computed in bf16 there; else None


@dataclass(frozen=True, kw_only=True)
class Data:
    """The images that a run was trained and tested on."""

    checksum: str  # SHA-256 of the pixels and labels of both splits
    official: bool  # equal to the published copy
    train_images: Positive
    test_images: Positive


@dataclass(frozen=True, kw_only=True)
class Score:
    """An accuracy and the number of images that it is of."""

    accuracy: Percent
    n: Positive


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A spell of epochs, counted from 0, in catastrophic overfitting."""

    first: Count
    last: Count
    depth: Share  # share of the best PGD-10 accuracy before it that was lost, 0 to 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the run overfitted catastrophically, by the rule of evaluation/overfitting.py."""

    collapsed: bool  # in its last epoch
    onset_epoch: Count | None  # first epoch, from 0, from which it stayed collapsed
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

    epoch: Count  # from 0
    lr: Amount  # of its last update
    loss: Real
    pert_align: Real | None  # mean cosine of first attack gradient and training gradient
    reach: Amount  # largest |at - x|, in units of eps
    state: dict[str, Real]  # the method's 0-dim state
    probe: dict[str, Percent]  # on the probe images
    validation: Percent | None = None  # under PGD-10, on the images held out, if any are
    validation_average: Percent | None = None  # the same of the averaged weights, if there are any


@dataclass(frozen=True, kw_only=True)
class Best:
    """The weights that a rule chose, by its score, and their test accuracies."""

    epoch: Count  # from 0
    validation: Percent  # the rule's score: under its attack, on its images
    clean: Score
    fgsm: Score
    pgd10: Score
    rule: Rule = "validation"
    update: Count | None = None  # updates that had been taken; older records lack it
    network: Network = "raw"


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """Test accuracies of the weights averaged over the updates."""

    clean: Score
    fgsm: Score
    pgd10: Score


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Training between a start, or a resume, and the next."""

    update: Count  # that it began with, from 0
    engine: Engine
    device: str  # its name, as the driver or the kernel gives it
    threads: Positive


@dataclass(frozen=True, kw_only=True)
class Source:
    """Another run whose weights a stage read, and what they had cost."""

    run: str  # run id
    digest: str  # SHA-256 of the file of weights
    epochs: Positive  # of its training
    updates: Positive
    train_seconds: Amount


@dataclass(frozen=True, kw_only=True)
class Training:
    """What training found: accuracies, curves, and the time and memory that it took."""

    epochs: Positive
    updates: Positive
    parameters: Positive
    train_seconds: Amount
    data_seconds: Amount  # the part of them spent waiting for batches
    probe_seconds: Amount  # spent on probes; not part of train_seconds
    peak_bytes: Count | None  # of device memory while training; None without a GPU
    state_bytes: Count
    probe_images: Count
    resumed: Count  # times it went on from a checkpoint
    clean: Score
    fgsm: Score
    pgd10: Score
    verdict: Verdict
    method_source: str
    curves: list[Epoch]
    best: Best | None = None  # None where the protocol chooses none
    best_on_test: Best | None = None  # chosen on test images, so never beside honest numbers
    average: Averaged | None = None  # None where nothing was averaged
    engine: Engine = "eager"
    answers: Positive | None = None  # classes that it names on clean images; older ones lack it
    segments: list[Segment] = field(default_factory=list)  # in order; none in older records
    # SHA-256 of the files of weights, by name, "full" and in "half" precision; none in older ones
    weights: dict[Kept, dict[str, str]] = field(default_factory=dict)
    traces: str | None = None  # SHA-256 of curves.safetensors; older records lack it
    # SHA-256 of the weights kept on the way, by update, "full" and in "half" precision
    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    # diagnostics measured on the way, as a suite spells them; their numbers are in the traces
    watched: list[str] = field(default_factory=list)
    source: Source | None = None  # that it began with; its cost comes on top. None: initial weights

    def left(self, name: Weights, digest: str, at: int | None = None) -> bool:
        """Tell whether training left these weights, or their copy in half precision.

        Records from before weights were tied to them name none, and any will do.

        Args:
            name: which of those that it ended with.
            digest: SHA-256 of their file.
            at: the update after which they were kept, if they are not of the end.
        """
        known = self.weights.get(name) if at is None else self.kept.get(str(at), {})
        return known is None or digest in known.values()

    def contradictions(self) -> Iterator[str]:
        """Yield a message for every pair of numbers that cannot both be true."""
        epochs = [epoch.epoch for epoch in self.curves]
        if epochs != list(range(self.epochs)):
            yield f"curves are of {len(epochs)} epochs, training of {self.epochs}"
        verdict = self.verdict
        named = [best.epoch for best in (self.best, self.best_on_test) if best]
        named += [verdict.onset_epoch] if verdict.onset_epoch is not None else []
        named += [epoch for spell in verdict.episodes for epoch in (spell.first, spell.last)]
        if beyond := [epoch for epoch in named if epoch >= self.epochs]:
            yield f"epochs {beyond} are beyond the last of {self.epochs}"
        if verdict.collapsed != (verdict.onset_epoch is not None):
            yield f"collapsed is {verdict.collapsed}, its onset {verdict.onset_epoch}"
        if self.segments and len(self.segments) != self.resumed + 1:
            yield f"{len(self.segments)} segments, resumed {self.resumed} times"
        if self.best and self.best.rule == "best_on_test":
            yield "the best weights were chosen on test images; those are best_on_test"
        if not self.clean.n == self.fgsm.n == self.pgd10.n:
            yield f"accuracies are of {self.clean.n}, {self.fgsm.n} and {self.pgd10.n} images"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What AutoAttack found, image by image."""

    version: str  # "standard"
    library: str  # name and version of the implementation
    seed: Count
    batch: Positive
    n: Positive  # the first n test images
    accuracy: Percent  # after all attacks: the headline
    after: dict[str, Percent]  # left after "clean" and after each attack in turn
    robust: dict[str, str]  # the same as masks: hex, first image is the highest bit
    attack_seconds: Amount
    mode: Mode = "exact"
    weights: Weights = "last"
    digest: str | None = None  # SHA-256 of the file of weights; older records lack it
    warnings: dict[str, Positive] = field(default_factory=dict)  # the library's, and how often

    def contradictions(self) -> Iterator[str]:
        """Yield a message for every accuracy that does not follow from the masks."""
        if not self.robust or self.robust.keys() != self.after.keys():
            yield f"masks are of {list(self.robust)}, accuracies of {list(self.after)}"
            return
        if odd := [name for name, mask in self.robust.items() if not _is_mask(mask, self.n)]:
            yield f"{odd} are no masks of {self.n} images"
            return
        masks = {name: int(mask, 16) for name, mask in self.robust.items()}
        if any(later & ~earlier for earlier, later in pairwise(masks.values())):
            yield "an image that one attack broke stands after a later one"
        shares = {name: 100 * mask.bit_count() / self.n for name, mask in masks.items()}
        claimed = [*self.after.items(), (list(masks)[-1], self.accuracy)]
        for name, accuracy in claimed:
            if not math.isclose(accuracy, shares[name], abs_tol=1e-9):
                yield f"the mask of {name} gives {shares[name]} %, beside it stands {accuracy}"


def _is_mask(mask: str, n: int) -> bool:
    """Tell whether a text is n verdicts in hex, followed by zero bits up to a whole digit."""
    if len(mask) != -(-n // 4) or not set(mask) <= set("0123456789abcdef"):
        return False
    return int(mask, 16) % (1 << (4 * len(mask) - n)) == 0


@dataclass(frozen=True, kw_only=True)
class Value:
    """A measured number that is no accuracy, and the number of images that it is of."""

    value: Real | None  # None: not a number, or infinite
    unit: str  # "cosine", "%", "L2 distance", ...
    n: Count

    @property
    def text(self) -> str:
        """The number with its unit and its images, for people."""
        shown = "not a number" if self.value is None else f"{self.value:.4g}"
        return f"{shown} {self.unit} of {self.n}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an optional evaluation found."""

    settings: dict[str, Any]  # of the attack or diagnostic; seed; norm and eps where not the run's
    scores: dict[str, Score]  # by what was measured, as "pgd50_10" or "fgsm 8/255"
    measure_seconds: Amount
    digest: str | None = None  # SHA-256 of the file of weights; older records lack it
    source: Source | None = None  # whose weights it was made against, if another run's
    values: dict[str, Value] = field(default_factory=dict)  # by what was measured
    # file beside the record and its SHA-256, of what is more than a number; none in older records
    arrays: dict[str, str] = field(default_factory=dict)
    images: Positive | None = None  # first test images; None in older records: as many as scored


@dataclass(frozen=True, kw_only=True)
class Expense:
    """What one update costs, measured with nothing else on the device."""

    forward: Amount  # counted passes per training image and update
    backward: Amount
    declared_forward: Amount
    declared_backward: Amount
    flops_per_image: Amount  # of one training image, all passes of an update
    update_seconds: Amount  # median
    update_seconds_sd: Amount  # over the repetitions
    reference: str  # the method whose updates were timed in turns with these
    reference_seconds: Amount  # median of one update of it
    time_ratio: Amount  # median of the ratios of neighbours
    data_seconds: Amount  # of one update, making the batch; median
    repetitions: Positive
    updates: Positive  # steps per repetition; a step of Free-AT is m updates
    peak_bytes: Count | None
    reference_bytes: Count | None
    state_bytes: Count
    engine: Engine = "eager"  # of both


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of one stage: the head that all stages share, and the body of this one."""

    stage: str  # train, autoattack, cost, or the name of an evaluation
    run: str  # run id
    config: Config
    status: Status
    reason: str | None = None  # why not done, in one paragraph
    attempt: Positive = 1
    options: dict[str, Any] | None = None  # that the stage ran with; older records lack them
    origin: Origin | None = None
    data: Data | None = None
    training: Training | None = None
    attack: Attack | None = None
    expense: Expense | None = None
    measure: Evaluation | None = None
    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = field(default=SCHEMA)

    @property
    def folder(self) -> str:
        """The run's folder, below results/runs/; of ``config.folder`` without hashing it again."""
        return self.config.folder_of(self.run)

    @property
    def body(self) -> Training | Attack | Expense | Evaluation | None:
        """What this stage found; None unless it is done."""
        return self.training or self.attack or self.expense or self.measure

    def write(self, folder: Path) -> Path:
        """Write <folder>/<stage>.json and return its path."""
        path = folder / f"{self.stage}.json"
        write_json(path, dataclasses.asdict(self) | {"config": self.config.as_dict()})
        return path

    def contradictions(self) -> Iterator[str]:
        """Yield a message for everything in the record that cannot be true of one stage."""
        yield from self.config.contradictions()
        if self.run != self.config.run_id:
            yield f"run is {self.run!r}, the hash of its configuration {self.config.run_id!r}"
        if not is_stage(self.stage):
            yield f"stage is {self.stage!r}, not one of {stage_names()}"
        bodies = [name for name in (*BODIES.values(), MEASURE) if getattr(self, name) is not None]
        expected = [body_of(self.stage)] if self.status == "done" else []
        if bodies != expected:
            yield f"status is {self.status!r} with {bodies or 'nothing'} found"
        if self.status == "done" and not (self.origin and self.data):
            yield "status is 'done' without origin and data"
        if isinstance(self.body, Training | Attack):
            yield from self.body.contradictions()
        if self.training:
            wanted_run, read = self.config.source, self.training.source
            named = wanted_run and wanted_run.run_id, read and read.run
            if named[0] != named[1]:
                yield f"it starts from run {named[0]}, and began with weights of {named[1]}"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a record.

        Raises:
            ValueError: the file departs from the schema, or contradicts itself; the message says
                where.
            OSError: the file cannot be read.
        """
        return cls.checked(path.read_bytes(), path)

    @classmethod
    def checked(cls, content: bytes, path: Path) -> Self:
        """Check the content of a record's file, as ``read`` does."""
        try:
            record: Self = parse(cls, content, "record")
            mistakes = [*record.contradictions()]
            if record.stage != path.stem:
                mistakes.append(f"stage is {record.stage!r} in a file of {path.stem!r}")
            if mistakes:
                raise ValueError("; ".join(mistakes))
        except ValueError as error:
            if newer := _newer(content):
                raise NewerRecordError(f"{path} is no valid record: {newer}") from None
            raise ValueError(
                f"{path} is no valid record: {error}; remove it to have it made again"
            ) from None
        return record


def _newer(content: bytes) -> str | None:
    """Say that a newer version made a record, whose other mistakes are none then; None if not."""
    try:
        given = parse(dict[str, Any], content, "record").get("schema")
    except ValueError:
        return None
    if type(given) is not int or given <= SCHEMA:
        return None
    return f"a newer onestep made it (schema {given}, here {SCHEMA}); update onestep"


def body_of(stage: str) -> str:
    """Return the field of a stage's record that holds what the stage found."""
    return BODIES.get(stage, MEASURE)


def stage_names() -> list[str]:
    """List the names of all stages, in the order in which a run does them.

    Of an evaluation this is the name that it has with its file's own settings.
    """
    from bench.runs import evaluations  # at the top this would be circular

    return [TRAIN, AUTOATTACK, *evaluations.known(), COST]


def is_stage(name: str) -> bool:
    """Tell whether a stage has this name; an evaluation has one for each of its settings."""
    from bench.runs import evaluations

    try:
        return name in (TRAIN, AUTOATTACK, COST) or evaluations.read(name).name == name
    except ValueError:
        return False
