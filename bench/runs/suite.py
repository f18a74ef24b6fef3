"""Suites: from a YAML file and the command line to fully resolved runs. No torch.

Checks happen here and only here. Every mistake of a suite is reported at once, each with what was
given, what is allowed, and the nearest name.
"""

import ast
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from bench.runs import catalogue
from bench.runs.protocol import PROTOCOLS, Protocol
from bench.runs.record import Config, Mode, build, radius


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _listed(value: Any) -> Any:
    """Let ``--config methods=sora`` mean a list of one, not a list of letters."""
    return None if value is None else _each(value)


def _named(what: str, allowed: Callable[[], Iterable[str]]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in allowed():
            raise ValueError(catalogue.unknown(what, name, allowed()))
        return name

    return AfterValidator(check)


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} names something twice")
    return values


MethodName = Annotated[str, _named("method", lambda: catalogue.names("methods"))]
DataName = Annotated[str, _named("data set", lambda: catalogue.names("bench/data"))]
ArchitectureName = Annotated[str, _named("architecture", lambda: catalogue.names("bench/models"))]
ProtocolName = Annotated[str, _named("protocol", lambda: PROTOCOLS)]


EvaluationName = Annotated[
    str, _named("evaluation", lambda: catalogue.names(catalogue.EVALUATIONS))
]


def _in_levels(eps: float) -> float:
    if eps < 0.5:
        near = f"{255 * eps:.2g}"
        raise ValueError(f"counts in 1/255, and {eps} is less than half of that; meant {near}?")
    return eps


# 1/255 is the unit; a radius of 255 covers every image
Radius = Annotated[float, Field(gt=0, lt=255), AfterValidator(_in_levels)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
_List = [BeforeValidator(_listed), AfterValidator(_unique), Field(min_length=1)]


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
    seeds: Annotated[list[Seed], *_List] = Field(description="One run each.")
    protocol: ProtocolName = Field(
        description="How all runs train, by name: bench/runs/protocol.py."
    )
    protocol_for: dict[str, ProtocolName] = Field(
        default_factory=dict,
        description="Other protocols for some architectures or data sets; an architecture's first.",
    )
    precision: Literal["fp32", "tf32", "bf16"] = Field(description="Of the network in training.")
    width: PositiveInt | None = Field(description="Channels of the first layer; null: published.")
    train_images: PositiveInt | None = Field(description="Fixed random subset; null: all.")
    test_images: PositiveInt | None = Field(
        description="First test images for clean, FGSM and PGD-10; null: all."
    )
    probe_images: PositiveInt = Field(description="First test images attacked after every epoch.")
    attack_images: PositiveInt | None = Field(
        description="First test images for AutoAttack; null: all."
    )
    evaluations: Annotated[
        list[EvaluationName], BeforeValidator(_listed), AfterValidator(_unique)
    ] = Field(default_factory=list, description="Optional ones, on the images of AutoAttack.")
    attack_batch: PositiveInt = Field(description="Images AutoAttack takes at once; recorded.")
    attack_mode: Mode = Field(
        default="exact",
        description="fast: attacked in bf16, judged in fp32; recorded.",
    )
    method_args: Annotated[
        dict[MethodName, dict[str, Any]],
        AfterValidator(lambda given: {name: variants(name, given[name]) for name in given}),
    ] = Field(
        default_factory=dict,
        description="Hyperparameters other than published, by method; a list means a run of each.",
    )
    data_dir: str | None = Field(
        default=None, description="Where official files are; null: $ONESTEP_DATA or .data."
    )
    threads: PositiveInt | None = Field(
        default=None, description="CPU threads of a job; null: Snakemake's cores shared out."
    )
    gpus: PositiveInt = Field(default=1, description="GPUs of a job, where there are any; 1.")
    strict: bool = Field(default=False, description="A run that fails is an error.")
    retry_failed: bool = Field(default=False, description="Run again what failed before.")
    again: bool = Field(default=False, description="Run again all that is done.")

    @field_validator("gpus")
    @classmethod
    def _one(cls, given: int) -> int:
        if given != 1:
            raise ValueError(
                f"a run uses one GPU, not {given}; leave the key out, and give Snakemake "
                f"--resources gpu={given} for as many runs at once"
            )
        return given

    @field_validator("protocol_for")
    @classmethod
    def _for_what_exists(cls, given: dict[str, str]) -> dict[str, str]:
        allowed = [*catalogue.names("bench/models"), *catalogue.names("bench/data")]
        wrong = [
            catalogue.unknown("architecture or data set", name, allowed)
            for name in given
            if name not in allowed
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return given

    @model_validator(mode="before")
    @classmethod
    def _null_on_the_command_line(cls, given: Any) -> Any:
        return {key: None if value == "null" else value for key, value in given.items()}


class ConfigError(ValueError):
    """A suite or run that cannot be; its text lists every mistake."""


def load(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: the file is missing, or no mapping.
    """
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values")
    return raw


def suite(given: Mapping[str, Any]) -> Suite:
    """Check a suite; without a ``suite`` key, what is given is laid over the default suite.

    Raises:
        ConfigError: lists every mistake with its remedy.
    """
    if "suite" not in given:
        given = load(catalogue.ROOT / "workflows/config/default.yaml") | dict(given)
    try:
        return Suite.model_validate(dict(given))
    except ValidationError as error:
        lines = [f"  {_said(mistake)}" for mistake in error.errors()]
        name = given["suite"]
        text = "\n".join([f"suite {name!r} has {len(lines)} mistake(s):", *lines])
        raise ConfigError(text) from None


def runs(suite: Suite) -> list[Config]:
    """Expand a suite into resolved runs, in the order of its lists.

    Raises:
        ConfigError: a method's own settings are none that a suite can have.
    """
    axes: dict[str, list[Any]] = {
        "dataset": suite.datasets,
        "architecture": suite.architectures,
        "eps": suite.eps or [None],
        "method": suite.methods,
        "seed": suite.seeds,
    }
    known = {
        (method, dataset): [
            published(method, dataset) | given
            for given in product(suite.method_args.get(method, {}))
        ]
        for method in suite.methods
        for dataset in suite.datasets
    }
    return [
        _resolved(suite, settings=given, **cell)
        for cell in product(axes)
        for given in known[cell["method"], cell["dataset"]]
    ]


def product(axes: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of one value from each axis."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _resolved(
    suite: Suite, *, dataset: str, architecture: str, eps: float | None, method: str, seed: int,
    settings: dict[str, Any],
) -> Config:  # fmt: skip
    exception = suite.protocol_for.get(dataset, suite.protocol)
    protocol = PROTOCOLS[suite.protocol_for.get(architecture, exception)]
    return Config(
        dataset=dataset,
        architecture=architecture,
        width=suite.width or published_width(architecture),
        method=method,
        settings=settings,
        eps=f"{eps or usual_eps(dataset):g}/255",
        seed=seed,
        protocol=protocol.as_dict(),
        precision=suite.precision,
        train_images=suite.train_images,
    )


def run(text: str) -> Config:
    """Read one run's configuration from JSON text, or from a JSON or YAML file.

    What a record holds is read as it is; by hand, the protocol may be a name, eps a number of
    1/255, and eps, width, settings and seed may be left out.

    Raises:
        ConfigError: says what is wrong with it.
    """
    try:
        raw = json.loads(text) if text.lstrip().startswith("{") else load(Path(text))
        config: Config = build(Config, _completed(raw), "run")
        protocol: Protocol = build(Protocol, config.protocol, "run.protocol")
    except json.JSONDecodeError as error:
        raise ConfigError(f"the configuration is no JSON: {error}") from None
    except ValueError as error:
        raise ConfigError(f"the configuration is not one: {error}") from None
    _own_name(protocol)
    if wrong := list(_unsound(config, protocol)):
        raise ConfigError("; ".join(wrong))
    try:
        known = 0 < radius(config.eps) < 1
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"eps is {config.eps!r}; give a radius in (0, 1) as text, like '8/255'")
    try:
        given = settings(config.method, config.settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    given = published(config.method, config.dataset) | given
    return dataclasses.replace(config, settings=given, protocol=protocol.as_dict())


def published(method: str, dataset: str) -> dict[str, Any]:
    """A method's hyperparameters on a data set, as published.

    Raises:
        ConfigError: the method's file has a default that is no literal, or not of its type.
    """
    try:
        return settings(
            method, catalogue.settings(method) | catalogue.presets(method).get(dataset, {})
        )
    except ValueError as error:
        raise ConfigError(f"methods/{method}.py: {error}") from None


def _completed(raw: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {"settings": {}, "seed": 0} | raw
    kinds = {"dataset": "bench/data", "architecture": "bench/models", "method": "methods"}
    for what, kind in kinds.items():
        if what in whole and whole[what] not in catalogue.names(kind):
            raise ConfigError(catalogue.unknown(what, str(whole[what]), catalogue.names(kind)))
    name, eps = whole.get("protocol"), whole.get("eps")
    if isinstance(name, str):
        if name not in PROTOCOLS:
            raise ConfigError(catalogue.unknown("protocol", name, PROTOCOLS))
        whole["protocol"] = PROTOCOLS[name].as_dict()
    if eps is None and "dataset" in whole:
        eps = usual_eps(whole["dataset"])
    if isinstance(eps, int | float) and not isinstance(eps, bool):
        try:
            whole["eps"] = f"{_in_levels(eps):g}/255"
        except ValueError as error:
            raise ConfigError(f"eps {error}") from None
    if "width" not in whole and "architecture" in whole:
        whole["width"] = published_width(whole["architecture"])
    return whole


def _own_name(protocol: Protocol) -> None:
    """Refuse a protocol that is not what its name says: tables put runs together by that name."""
    known = PROTOCOLS.get(protocol.name, protocol)
    for field, value in vars(known).items():
        given = getattr(protocol, field)
        if given != value:
            raise ConfigError(
                f"protocol {protocol.name!r} has {field} {value}, not {given}; give what is "
                "changed a name of its own"
            )


def _unsound(config: Config, protocol: Protocol) -> Iterator[str]:
    """Say which numbers no run can have."""
    least = {
        "width": (config.width, 1),
        "seed": (config.seed, 0),
        "train_images": (config.train_images, 1),
        "protocol.epochs": (protocol.epochs, 1),
        "protocol.batch": (protocol.batch, 1),
        "protocol.validation": (protocol.validation, 0),
        "protocol.weight_decay": (protocol.weight_decay, 0),
        "protocol.lr_start": (protocol.lr_start, 0),
        "protocol.lr_peak": (protocol.lr_peak, 0),
        "protocol.lr_end": (protocol.lr_end, 0),
    }
    for name, (value, low) in least.items():
        if value is not None and not low <= value < math.inf:
            yield f"{name} is {value}; give {low} or more"
    if protocol.nesterov:
        yield "protocol.nesterov is true, and no optimiser here has it; leave it out"


def published_width(architecture: str) -> int:
    """Channels of an architecture's first layer as published, read off its syntax tree."""
    return int(catalogue.constant(f"bench/models/{architecture}.py", "WIDTH"))


def usual_eps(dataset: str) -> float:
    """Radius that a data set is usually attacked with, in 1/255, read off its syntax tree."""
    return float(catalogue.argument(f"bench/data/{dataset}.py", "INFO", "eps"))


def data_dir(suite: Suite) -> str:
    """Where official files are looked for and prepared ones kept."""
    return suite.data_dir or catalogue.data_folder()


def settings(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyperparameters against the fields of a method, and give them their types.

    Raises:
        ValueError: lists every unknown name and every wrong value.
    """
    known, checked, wrong = catalogue.settings(method), {}, []
    for name, value in given.items():
        if name not in known:
            wrong.append(catalogue.unknown(f"setting of {method}", name, known))
            continue
        kind = catalogue.annotation(method, name)
        try:
            # not strict: Snakemake's command line hands over every number as text
            checked[name] = TypeAdapter(_type(kind)).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            wrong.append(f"{method}.{name} = {value!r} is no {kind}: {said}")
        except ValueError as error:
            wrong.append(f"{method}.{name}: {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return checked


def variants(method: str, given: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Check hyperparameters as ``settings`` does, where a list names several values of one.

    Raises:
        ValueError: lists every unknown name and every wrong value.
    """
    found, wrong = {}, []
    for name, values in given.items():
        try:
            found[name] = [settings(method, {name: value})[name] for value in _each(values)]
            _unique(found[name])
        except ValueError as error:
            wrong.append(str(error))
        if values == []:
            wrong.append(f"{method}.{name} is an empty list; give a value, or leave it out")
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def _type(kind: str) -> Any:
    """Turn a field's annotation into the type that values are checked against."""
    if kind.endswith(" | None"):
        return _type(kind.removesuffix(" | None")) | None
    if kind.startswith("Literal["):
        return Literal[ast.literal_eval(f"({kind[8:-1]},)")]
    known = {"float": FiniteFloat, "int": NonNegativeInt, "bool": bool, "str": str}
    if kind not in known:
        raise ValueError(
            f"{kind} is no type of a setting: {', '.join(known)}, Literal[...], | None"
        )
    return known[kind]


def _said(mistake: Any) -> str:
    where = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "extra_forbidden":
        return catalogue.unknown("key", where, Suite.model_fields)
    if mistake["type"] == "missing":
        return f"key {where!r} is missing"
    text = mistake["msg"].removeprefix("Value error, ")
    shown = "" if mistake["type"] == "value_error" else f", given {mistake['input']!r}"
    return f"{where}: {text}{shown}" if where else f"{text}{shown}"
