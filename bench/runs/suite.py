"""Suites: the keys of a suite's YAML file, and the checks of their values. No torch.

Every mistake of a suite is reported at once, each with what was given, what is allowed, and the
nearest name.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
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
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import MOST_L2, ConfigError, Mode, Norm
from bench.runs.settings import as_list, check_settings, check_variants, distinct
from bench.runs.typed import explained


def _one_or_more(value: Any) -> Any:
    """Let ``--config methods=sora`` mean a list of one; pydantic would refuse a text."""
    return None if value is None else as_list(value)


def _known(kind: str, names: Callable[[], Iterable[str]]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names():
            raise ValueError(catalogue.unknown(kind, name, names()))
        return name

    return AfterValidator(check)


def at_least_half_a_level(eps: float) -> float:
    """Return a radius in 1/255.

    Raises:
        ValueError: it is below 0.5, as if meant on the scale of [0, 1].
    """
    if eps < 0.5:
        near = f"{255 * eps:.2g}"
        raise ValueError(f"counts in 1/255, and {eps} is less than half of that; meant {near}?")
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


MethodName = Annotated[str, _known("method", lambda: catalogue.names("methods"))]
DataName = Annotated[str, _known("data set", lambda: catalogue.names("bench/data"))]
ArchitectureName = Annotated[str, _known("architecture", lambda: catalogue.names("bench/models"))]
ProtocolName = Annotated[str, _known("protocol", lambda: PROTOCOLS)]
EvaluationName = Annotated[
    str, BeforeValidator(lambda given: evaluations.read(given).spelt if given else given)
]
# 1/255 is the unit; a radius of 255 covers every image
Radius = Annotated[float, Field(gt=0, lt=255), AfterValidator(at_least_half_a_level)]
# of all pixels together
L2Radius = Annotated[float, Field(gt=0), AfterValidator(within_reach)]
SweptRadius = Annotated[int, Field(ge=0, lt=255)]  # 0: without attack
Seed = Annotated[int, Field(ge=0, lt=2**31)]
KeepWeights = Literal["full", "half", "robust"]
_List = [BeforeValidator(_one_or_more), AfterValidator(distinct), Field(min_length=1)]


class StartFor(BaseModel):
    """The run whose weights a method begins with; it begins with initial ones itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodName = Field(description="A file of methods/.")
    protocol: ProtocolName = Field(description="How it trains.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Its hyperparameters other than published."
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
    seeds: Annotated[list[Seed], *_List] = Field(description="One run each.")
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
    width: PositiveInt | None = Field(description="Channels of the first layer; null: published.")
    train_images: PositiveInt | None = Field(description="Fixed random subset; null: all.")
    test_images: PositiveInt | None = Field(
        description="First test images for clean, FGSM and PGD-10; null: all."
    )
    probe_images: PositiveInt = Field(description="First test images attacked after every epoch.")
    keep_at: Annotated[
        list[NonNegativeInt], BeforeValidator(_one_or_more), AfterValidator(distinct)
    ] = Field(
        default_factory=list,
        description="Updates after which weights are kept, in weights-UPDATE.safetensors; 0: the "
        "initial ones. Where a batch is several updates (Free-AT), at its end.",
    )
    keep_weights: KeepWeights = Field(
        default="full",
        description="full: in float32. half: in half precision, which is then attacked. robust: "
        "half, and of runs that collapsed none, once all that the suite asks of them is done.",
    )
    attack_images: PositiveInt | None = Field(
        description="First test images for AutoAttack; null: all."
    )
    evaluations: Annotated[
        list[EvaluationName], BeforeValidator(_one_or_more), AfterValidator(distinct)
    ] = Field(
        default_factory=list,
        description="Optional ones, as {attack: pgd, steps: 20, eps: 6/255} or {diagnostic: NAME}, "
        "files of evaluation/attacks/ and evaluation/diagnostics/; or by name, as pgd20-6_255.",
    )
    evaluation_images: PositiveInt | None = Field(
        default=None, description="First test images for these; null: those of AutoAttack."
    )
    sweep_radii: Annotated[list[SweptRadius], *_List] | None = Field(
        default=None, description="Of eps_sweep, in 1/255; null: 0 to 32, in fours to 1.25 eps."
    )
    attack_batch: PositiveInt = Field(description="Images AutoAttack takes at once; recorded.")
    attack_mode: Mode = Field(
        default="exact",
        description="fast: attacked in bf16, judged in fp32; recorded.",
    )
    method_args: Annotated[
        dict[MethodName, dict[str, Any]],
        AfterValidator(lambda given: {name: check_variants(name, given[name]) for name in given}),
    ] = Field(
        default_factory=dict,
        description="Hyperparameters other than published, by method; a list means a run of each.",
    )
    data_dir: Annotated[
        str | None, AfterValidator(lambda given: catalogue.home(given or catalogue.data_folder()))
    ] = Field(
        default=None,
        validate_default=True,
        description="Where official files are; null: $ONESTEP_DATA or .data.",
    )
    threads: PositiveInt | None = Field(
        default=None, description="CPU threads of a job; null: Snakemake's cores shared out."
    )
    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Of a job's GPU; `make plan` names runs that need more. null: any.",
    )
    gpus: PositiveInt = Field(default=1, description="GPUs of a job, where there are any; 1.")
    strict: bool = Field(default=False, description="A run that fails is an error.")
    retry_failed: bool = Field(default=False, description="Run again what failed before.")
    again: bool = Field(default=False, description="Run again all that is done.")

    @functools.cached_property
    def watch(self) -> list[str]:
        """Those of the evaluations that are measured while training, too."""
        return [given for given in self.evaluations if evaluations.read(given).every]

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
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    return content


def parse_suite(given: Mapping[str, Any]) -> Suite:
    """Check the keys and values of a suite.

    Args:
        given: by key; without the key ``suite``, the default suite supplies what is missing.

    Raises:
        ConfigError: lists every mistake with its remedy.
    """
    if "suite" not in given:
        given = read_yaml(catalogue.ROOT / "workflows/config/default.yaml") | dict(given)
    try:
        return Suite.model_validate(dict(given))
    except ValidationError as error:
        lines = [f"  {_explained(mistake)}" for mistake in error.errors()]
        name = given["suite"]
        text = "\n".join([f"suite {name!r} has {len(lines)} mistake(s):", *lines])
        raise ConfigError(text) from None


def _explained(mistake: Any) -> str:
    """Say one of pydantic's errors in our words."""
    key = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return catalogue.unknown("key", key, Suite.model_fields)
    return f"key {key!r} is missing" if mistake["type"] == "missing" else explained(mistake)
