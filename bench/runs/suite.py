"""Suites: the keys of a suite's YAML file, and the checks of their values. No torch.

Every mistake of a suite is reported at once, each with what was given, what is allowed, and the
nearest name.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bench.runs import catalogue, evaluations
from bench.runs.ending import plural
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import MOST_L2, ConfigError, Mode, Norm
from bench.runs.settings import as_list, check_settings, check_variants, distinct
from bench.runs.typed import LIMIT, MOST, NUMBER, check_size, explained, from_yaml, short

LEVEL = re.compile(rf"\s*({evaluations.NUMBER})\s*(?:/\s*255\s*)?")
SPAN = re.compile(r"(\d{1,9})-(\d{1,9})")


def _one_or_more(value: Any) -> Any:
    """Let ``--config methods=sora`` mean a list of one, and ``seeds=0,1,2`` a list of three.

    Raises:
        ValueError: it is a span, as 0-4.
    """
    if isinstance(value, str) and (span := SPAN.fullmatch(value)):
        first, last = map(int, span.groups())
        listed = ",".join(map(str, range(first, last + 1)[:10]))
        raise ValueError(f"{value} is no list; write {listed or value.replace('-', ',')}")
    if isinstance(value, str) and "," in value:
        return [part.strip() for part in value.split(",")]
    return None if value is None else as_list(value)


def _known(kind: str, names: Callable[[], Iterable[str]]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names():
            raise ValueError(catalogue.unknown(kind, name, names()))
        return name

    return AfterValidator(check)


def level(eps: Any) -> Any:
    """Read a radius in 1/255, which 8, "8" and "8/255" give alike; return what is none as it is.

    Raises:
        ValueError: it is another fraction.
    """
    if isinstance(eps, str):
        if found := LEVEL.fullmatch(eps):
            return _rounded(float(found[1]))
        if "/" in eps:
            raise ValueError(f"counts in 1/255, and {eps!r} does not; write 8 or 8/255")
    return _rounded(eps)


def _rounded(eps: Any) -> Any:
    """Round a number to the six digits that a run's configuration has of its radius."""
    try:
        rounded = float(f"{float(eps):g}")
        return eps if rounded == float(eps) else rounded
    except (TypeError, ValueError, OverflowError):
        return eps  # whoever asked for a number says so


def at_least_half_a_level(eps: float) -> float:
    """Return a radius in 1/255.

    Raises:
        ValueError: it is below 0.5, as if meant on the scale of [0, 1].
    """
    if eps < 0.5:
        near = f"{255 * eps:.2g}"
        raise ValueError(f"counts in 1/255, and {eps:g} is less than half of that; meant {near}?")
    return eps


def within_reach(eps: float) -> float:
    """Return a radius in L2.

    Raises:
        ValueError: it is so large as if meant in 1/255.
    """
    if eps >= MOST_L2:
        near = f"{eps / 255:.3g}"
        raise ValueError(f"counts in ranges of a pixel, and {eps:g} is too far; meant {near}?")
    return eps


def _checked_variants(given: dict[str, Any]) -> dict[str, Any]:
    """Check the hyperparameters of every method, each in a mapping or in several."""
    for name, variants in given.items():
        if variants == []:
            raise ValueError(f"{name} has an empty list; give a mapping, or leave it out")
    return {
        name: [check_variants(name, one) for one in as_list(variants)]
        for name, variants in given.items()
    }


def _data_folder(given: str | None) -> str:
    folder = given or catalogue.data_folder()
    if taken := sorted({*folder} & {"\0", "\n", "{", "}"}):
        raise ValueError(
            f"{folder!r} has {', '.join(map(repr, taken))}, which Snakemake takes for its own; "
            "choose another folder, or a link to it"
        )
    return catalogue.home(folder)


MethodName = Annotated[str, _known("method", lambda: catalogue.names("methods"))]
DataName = Annotated[str, _known("data set", lambda: catalogue.names("bench/data"))]
ArchitectureName = Annotated[str, _known("architecture", lambda: catalogue.names("bench/models"))]
ProtocolName = Annotated[str, _known("protocol", lambda: PROTOCOLS)]
EvaluationName = Annotated[
    str,
    BeforeValidator(
        lambda given: evaluations.read(given).spelt if isinstance(given, str | dict) else given
    ),
]
# 1/255 is the unit; a radius of 255 covers every image
Radius = Annotated[
    float,
    Field(gt=0, lt=255),
    AfterValidator(at_least_half_a_level),
    NUMBER,
    BeforeValidator(level),
]
# of all pixels together
L2Radius = Annotated[
    float, Field(gt=0), AfterValidator(within_reach), NUMBER, BeforeValidator(_rounded)
]
FigureName = Annotated[str, _known("figure", lambda: catalogue.names(catalogue.FIGURES))]
SweptRadius = Annotated[int, Field(ge=0, lt=255), NUMBER]  # 0: without attack
Count = Annotated[NonNegativeInt, Field(lt=LIMIT), NUMBER]
Positive = Annotated[PositiveInt, Field(lt=LIMIT), NUMBER]
KeepWeights = Literal["full", "half", "robust"]
_Several = [BeforeValidator(_one_or_more), AfterValidator(distinct)]
_List = [*_Several, Field(min_length=1)]


class StartFor(BaseModel):
    """The run whose weights a method begins with; it begins with initial ones itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodName = Field(description="A file of methods/.")
    protocol: ProtocolName = Field(description="How it trains.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Its hyperparameters other than published."
    )
    kept: PositiveInt | None = Field(
        default=None,
        description="How often an epoch it keeps weights, for a method that reads them all and "
        "begins with the first (Sub-AT); null: a method begins with the last.",
    )

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        method = info.data.get("method")  # None if it is unknown, which is told already
        return check_settings(method, given) if method else given


class Suite(BaseModel):
    """A whole suite: the axes of its grid, and what all its runs share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str = Field(description="Name of the suite.")
    methods: Annotated[list[MethodName], *_List] = Field(description="Files of methods/.")
    datasets: Annotated[list[DataName], *_List] = Field(description="Files of bench/data/.")
    architectures: Annotated[list[ArchitectureName], *_List] = Field(
        description="Files of bench/models/."
    )
    eps: Annotated[list[Radius], *_List] | None = Field(
        description="L-inf radii, in 1/255; null: each data set's usual one."
    )
    norms: Annotated[list[Norm], *_List] = Field(
        default=["Linf"], description="Of the threats: Linf, L2, or both."
    )
    eps_l2: Annotated[list[L2Radius], *_List] = Field(
        default=[0.5], description="L2 radii, where the range of a pixel is 1."
    )
    seeds: Annotated[list[Count], *_List] = Field(description="One run each.")
    protocol: ProtocolName = Field(
        description="How all runs train, by name: bench/runs/protocol.py."
    )
    protocol_for: dict[str, ProtocolName] = Field(
        default_factory=dict,
        description="Other protocols for some methods, architectures or data sets; a method's "
        "first, then an architecture's.",
    )
    start_for: dict[MethodName, StartFor] = Field(
        default_factory=dict,
        description="The runs whose weights some methods begin with, of the same seed; they are "
        "trained first.",
    )
    precision: Literal["fp32", "tf32", "bf16"] = Field(description="Of the network in training.")
    width: Positive | None = Field(description="Channels of the first layer; null: published.")
    train_images: Positive | None = Field(description="Fixed random subset; null: all.")
    test_images: Positive | None = Field(
        description="First test images for clean, FGSM and PGD-10; null: all."
    )
    probe_images: Positive = Field(description="First test images attacked after every epoch.")
    keep_at: Annotated[list[Count], *_Several] = Field(
        default_factory=list,
        description="Updates after which weights are kept, in weights-UPDATE.safetensors; 0: the "
        "initial ones. Where a batch is several updates (Free-AT), at its end. Those that an "
        "evaluation names as `at` are kept anyway.",
    )
    keep_weights: KeepWeights = Field(
        default="full",
        description="full: in float32. half: in half precision, which is then attacked. robust: "
        "half, and of runs that collapsed none, once all that the suite asks of them is done.",
    )
    attack_images: Positive | None = Field(
        description="First test images for AutoAttack; null: all."
    )
    evaluations: Annotated[list[EvaluationName], *_Several] = Field(
        default_factory=list,
        description="Optional ones, as {attack: pgd, steps: 20, eps: 6/255} or {diagnostic: NAME}, "
        "files of evaluation/attacks/ and evaluation/diagnostics/; or by name, as pgd20-6_255.",
    )
    evaluation_images: Positive | None = Field(
        default=None, description="First test images for these; null: those of AutoAttack."
    )
    sweep_radii: Annotated[list[SweptRadius], *_List] | None = Field(
        default=None,
        description="Of eps_sweep, in 1/255; null: 0 to 32, in fours to 1.25 eps. In L2, in 1/32 "
        "of eps; null: 0 to 40.",
    )
    attack_batch: Positive = Field(description="Images AutoAttack takes at once; recorded.")
    attack_mode: Mode = Field(
        default="exact",
        description="fast: attacked in bf16, judged in fp32; recorded.",
    )
    method_args: Annotated[
        dict[MethodName, dict[str, Any] | list[dict[str, Any]]], AfterValidator(_checked_variants)
    ] = Field(
        default_factory=dict,
        description="Hyperparameters other than published, by method; a list of values means a run "
        "of each, a list of mappings the runs of each. A value may be a mapping from data sets to "
        "values, as {c: {cifar10: 0.04}}: elsewhere it is as published.",
    )
    figures: Annotated[list[FigureName], *_Several] = Field(
        default_factory=list,
        description="Files of report/paper_figures/, which `snakemake figures` draws of its runs.",
    )
    data_dir: Annotated[str | None, AfterValidator(_data_folder)] = Field(
        default=None,
        validate_default=True,
        description="Where official files are; null: $ONESTEP_DATA or .data.",
    )
    threads: Positive | None = Field(
        default=None, description="CPU threads of a job; null: Snakemake's cores shared out."
    )
    gpu_memory_gb: Annotated[float, Field(gt=0), NUMBER] | None = Field(
        default=None,
        description="Of a job's GPU; `make plan` names runs that need more. null: any.",
    )
    gpus: Positive = Field(default=1, description="GPUs of a job, where there are any; 1.")
    strict: bool = Field(default=False, description="A run that fails is an error.")
    retry_failed: bool = Field(default=False, description="Run again what failed before.")
    again: bool = Field(default=False, description="Run again all that is done.")

    @functools.cached_property
    def watch(self) -> list[str]:
        """Those of the evaluations that are measured while training, too."""
        return [given for given in self.evaluations if evaluations.read(given).every]

    @functools.cached_property
    def kept(self) -> list[int]:
        """Updates after which weights are kept: those that are asked for, and those measured."""
        measured = (evaluations.read(given).at for given in self.evaluations)
        return list(dict.fromkeys([*self.keep_at, *(at for at in measured if at is not None)]))

    @property
    def data_folder(self) -> str:
        """Folder of the official files and of the prepared ones."""
        return str(self.data_dir)

    @field_validator("gpus")
    @classmethod
    def _one_gpu(cls, given: int) -> int:
        if given != 1:
            raise ValueError(
                f"a run uses one GPU, not {given}; leave the key out, and give Snakemake "
                f"--resources gpu={given} for as many runs at once"
            )
        return given

    @field_validator("protocol_for")
    @classmethod
    def _known_exceptions(cls, given: dict[str, str]) -> dict[str, str]:
        kinds = ("methods", "bench/models", "bench/data")
        allowed = [name for kind in kinds for name in catalogue.names(kind)]
        mistakes = [
            catalogue.unknown("method, architecture or data set", name, allowed)
            for name in given
            if name not in allowed
        ]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return given

    @model_validator(mode="before")
    @classmethod
    def _null_is_none(cls, given: Any) -> Any:
        # Snakemake's --config hands over null as a text
        return {key: None if value == "null" else value for key, value in given.items()}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigError: the file is missing, or holds something else.
    """
    try:
        if not path.is_file():
            raise ConfigError(f"there is no file {path}")
        with path.open(encoding="utf-8") as file:
            content = from_yaml(file.read(MOST + 1), str(path))
    except OSError as error:
        raise ConfigError(f"{short(str(path))} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text in UTF-8") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    return content


def suite_file(given: Path) -> Path:
    """Find a suite's file: the one given, or by its name the one in workflows/config/.

    Raises:
        ConfigError: there is no suite of this name.
    """
    room = catalogue.ROOT / "workflows/config"
    names = sorted({path.stem for path in room.glob("*.yaml")} - {"schema"})
    if str(given) in names:
        path = room / f"{given}.yaml"
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if given.is_dir():
        raise ConfigError(f"{given} is a folder; give a suite's name, or its YAML file")
    if not given.suffix and not given.is_file():
        raise ConfigError(catalogue.unknown("suite", str(given), names))
    return given


def read_suite(given: Path) -> dict[str, Any]:
    """Read a suite's keys from its file, or by its name.

    Raises:
        ConfigError: there is no such suite, or its file holds something else.
    """
    return read_yaml(suite_file(given))


def parse_suite(given: Mapping[str, Any]) -> Suite:
    """Check the keys and values of a suite.

    Args:
        given: by key; without the key ``suite``, the default suite supplies what is missing.

    Raises:
        ConfigError: lists every mistake with its remedy.
    """
    named = "suite" in given
    if not named:
        given = read_yaml(catalogue.ROOT / "workflows/config/default.yaml") | dict(given)
    try:
        check_size(given, "the suite")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        return Suite.model_validate(dict(given))
    except ValidationError as error:
        lines = [f"  {_explained(mistake)}" for mistake in error.errors()]
        name = f"suite {given['suite']!r}" if named else "the default suite, as changed here,"
        text = "\n".join([f"{name} has {plural(len(lines), 'mistake')}:", *lines])
        raise ConfigError(text) from None


def _explained(mistake: Any) -> str:
    """Say one of pydantic's errors in our words."""
    key = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return catalogue.unknown("key", key, Suite.model_fields)
    if mistake["type"] == "missing":
        return f"key {key!r} is missing; a suite with a name has all that default.yaml has"
    return explained(mistake)
