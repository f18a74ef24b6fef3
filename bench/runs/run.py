"""Runs: from a suite, or from text given by hand, to complete and checked configurations. No torch.

A run by hand is checked here; a suite's values were checked when the suite was parsed.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.runs import catalogue, evaluations
from bench.runs.evaluations import Entry
from bench.runs.protocol import PROTOCOLS, Protocol
from bench.runs.record import Config, ConfigError, Norm, Start
from bench.runs.settings import (
    as_list,
    check_settings,
    kept_settings,
    published_settings,
    variants_on,
)
from bench.runs.suite import StartFor, Suite, at_least_half_a_level, level, read_yaml, within_reach
from bench.runs.typed import build, from_json


def expand(suite: Suite) -> list[Config]:
    """List the runs of a suite, in the order of its lists.

    Raises:
        ConfigError: the file of one of its methods has hyperparameters that cannot be read, a
            method cannot train in one of the norms, or the training images are too few or cannot be
            divided into batches.
    """
    axes: dict[str, list[Any]] = {
        "dataset": suite.datasets,
        "architecture": suite.architectures,
        "threat": [*_threats(suite)],
        "method": suite.methods,
        "seed": suite.seeds,
    }
    settings = {
        (method, dataset): [
            kept_settings(method, published_settings(method, dataset) | changed)
            for variants in as_list(suite.method_args.get(method, {}))
            for changed in _product(variants_on(dataset, variants))
        ]
        for method in suite.methods
        for dataset in suite.datasets
    }
    entries = [*map(evaluations.read, suite.evaluations)]
    others = [given.method for given in suite.start_for.values()]
    others += [
        entry.settings["method"] for entry in entries if evaluations.SOURCE in entry.settings
    ]
    methods = list(dict.fromkeys([*suite.methods, *others]))
    pairs = itertools.product(entries, suite.norms)
    mistakes = [*_wrong_norms(methods, suite.norms)]
    mistakes += filter(None, itertools.starmap(evaluations.lacking, pairs))
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    cells = [
        _config(suite, settings=variant, **cell)
        for cell in _product(axes)
        for variant in settings[cell["method"], cell["dataset"]]
    ]
    runs = [*{run.folder: run for run in cells}.values()]  # variants may meet in one
    pairs_of = itertools.product(entries, runs)
    attacked_from = [*filter(None, itertools.starmap(evaluations.source, pairs_of))]
    read = {run.folder: run for run in (*attacked_from, *sources([*runs, *attacked_from]))}
    for run in (*runs, *read.values()):
        _check_kept_weights(run)
        _check_images(run)
        _check_smoothing(run)
        check_kept(run, suite.kept)
        check_watched(run, map(evaluations.read, suite.watch))
    return runs


def kept_for(run: Config) -> list[int]:
    """List the updates of its source after which a run reads the weights; 0: the initial ones.

    They lie evenly in each epoch, and the last is the end of the last.
    """
    source, parts = run.source, run.start and run.start.kept
    if source is None or parts is None:
        return []
    protocol = source.protocol
    batches = -(-_images(source) // protocol["batch"])
    return sorted({-(-k * batches // parts) for k in range(protocol["epochs"] * parts + 1)})


def sources(runs: Iterable[Config]) -> list[Config]:
    """List the runs whose weights these begin with, each once, in order."""
    return list({run.source.folder: run.source for run in runs if run.source}.values())


def parse_run(text: str) -> Config:
    """Read one run's configuration from JSON text, or from a JSON or YAML file.

    A record's configuration is read as it is. By hand, the protocol may be a name and eps a number,
    in Linf of 1/255; norm, width, settings, seed and in Linf eps may be left out.

    Raises:
        ConfigError: says what is wrong with it.
    """
    try:
        by_text = text.lstrip().startswith("{")
        given = from_json(text, "the configuration") if by_text else read_yaml(Path(text))
        config: Config = build(Config, _completed(given), "run")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if mistakes := [*config.contradictions()]:
        raise ConfigError("; ".join(mistakes))
    whole = _checked(config)
    if config.start and config.source:
        source = _checked(config.source)
        own = {key: getattr(source, key) for key in config.start.of_run}
        whole = dataclasses.replace(whole, start=dataclasses.replace(config.start, **own))
    _check_kept_weights(whole)
    return whole


def _checked(config: Config) -> Config:
    """Check the protocol and the settings of a run by hand, and write them in full."""
    protocol = Protocol(**config.protocol)
    _check_name(protocol)
    if protocol.nesterov:
        raise ConfigError("protocol.nesterov is true, and no optimiser here has it; leave it out")
    _check_images(config)
    _check_smoothing(config)
    try:
        settings = check_settings(config.method, config.settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if mistakes := [*_wrong_norms([config.method], [config.norm])]:
        raise ConfigError(mistakes[0])
    settings = kept_settings(
        config.method, published_settings(config.method, config.dataset) | settings
    )
    return dataclasses.replace(config, settings=settings, protocol=protocol.as_dict())


def _product(axes: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of one value from each axis."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _threats(suite: Suite) -> Iterator[tuple[Norm, float | None]]:
    """Yield norm and radius of every threat of a suite; None is a data set's usual L-inf radius."""
    for norm in suite.norms:
        radii: Sequence[float | None] = suite.eps_l2 if norm == "L2" else suite.eps or [None]
        yield from ((norm, eps) for eps in radii)


def _text_of(norm: Norm, eps: float) -> str:
    """Write a radius as configurations have it: in L2 as it is, in Linf over 255."""
    return f"{eps:g}" if norm == "L2" else f"{eps:g}/255"


def _wrong_norms(methods: Iterable[str], norms: Iterable[str]) -> Iterator[str]:
    """Yield a message for every norm that some of the methods cannot train in."""
    for norm in norms:
        if unable := [name for name in methods if not _trains_in(norm, name)]:
            able = [name for name in catalogue.names("methods") if _trains_in(norm, name)]
            yield (
                f"{', '.join(unable)} cannot train in {norm}, only {', '.join(able)} can; leave "
                f"{'them' if len(unable) > 1 else 'it'} out, or choose another norm"
            )


def _trains_in(norm: str, method: str) -> bool:
    try:
        return norm in catalogue.norms(method)
    except ValueError:  # another method's file, which only whoever asks for it has to mend
        return False


def _config(
    suite: Suite, *, dataset: str, architecture: str, threat: tuple[Norm, float | None],
    method: str, seed: int, settings: dict[str, Any],
) -> Config:  # fmt: skip
    """Make the configuration of one cell of a suite's grid."""
    norm, eps = threat
    exceptions = (suite.protocol_for.get(name) for name in (method, architecture, dataset))
    protocol = PROTOCOLS[next(filter(None, exceptions), suite.protocol)]
    start = suite.start_for.get(method)
    return Config(
        dataset=dataset,
        architecture=architecture,
        width=suite.width or catalogue.published_width(architecture),
        method=method,
        settings=settings,
        norm=norm,
        eps=_text_of(norm, eps or catalogue.usual_eps(dataset)),
        seed=seed,
        protocol=protocol.as_dict(),
        precision=suite.precision,
        train_images=suite.train_images,
        start=_start(start, dataset, seed) if start else None,
    )


def _start(given: StartFor, dataset: str, seed: int) -> Start:
    """Make the start of one cell, whose source has the cell's seed."""
    settings = published_settings(given.method, dataset) | given.settings
    return Start(
        method=given.method,
        settings=kept_settings(given.method, settings),
        protocol=PROTOCOLS[given.protocol].as_dict(),
        seed=seed,
        kept=given.kept,
    )


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a run by hand may leave out, and write a protocol's name and eps in full."""
    mistakes = [*_wrong_keys("run", given, Config)] or [
        f"{key} is a list, and a run has one; suites take lists"
        for key, value in given.items()
        if isinstance(value, list)
    ]
    if mistakes:
        raise ConfigError("; ".join(mistakes))
    whole: dict[str, Any] = {"settings": {}, "seed": 0, "norm": "Linf"} | given
    folders = {"dataset": "bench/data", "architecture": "bench/models", "method": "methods"}
    for key, folder in folders.items():
        if key in whole:
            _check_known(key, whole[key], catalogue.names(folder))
    if isinstance(start := whole.get("start"), dict):
        if mistakes := [*_wrong_keys("start", start, Start)]:
            raise ConfigError("; ".join(mistakes))
        start = {"settings": {}, "seed": whole["seed"]} | start
        if "method" in start:
            _check_known("method", start["method"], catalogue.names("methods"))
        whole["start"] = _with_protocol(start)
    whole, eps = _with_protocol(whole), whole.get("eps")
    if eps is None and "dataset" in whole and whole["norm"] == "Linf":
        eps = catalogue.usual_eps(whole["dataset"])
    try:
        eps = level(eps) if whole["norm"] == "Linf" else eps
        if isinstance(eps, int | float) and not isinstance(eps, bool):
            if whole["norm"] == "Linf" and eps > 0:
                at_least_half_a_level(eps)
            elif whole["norm"] == "L2":
                within_reach(eps)
            whole["eps"] = _text_of(whole["norm"], eps)
    except ValueError as error:
        raise ConfigError(f"eps {error}") from None
    except OverflowError:
        raise ConfigError("eps is too large") from None
    if "width" not in whole and "architecture" in whole:
        whole["width"] = catalogue.published_width(whole["architecture"])
    return whole


def _wrong_keys(where: str, given: Mapping[str, Any], kind: type) -> Iterator[str]:
    """Yield a message for every key that a dataclass does not have."""
    known = [field.name for field in dataclasses.fields(kind)]
    for key in map(str, given):
        if key in known:
            continue
        if key in {field.name for field in dataclasses.fields(Protocol)}:
            yield f"{key} belongs to a {where}'s protocol; docs/commands.md has one written out"
        else:
            yield catalogue.unknown(f"key of a {where}", key, known)


def _check_known(kind: str, given: Any, known: Iterable[str]) -> None:
    known = list(known)
    if given not in known:
        raise ConfigError(catalogue.unknown(kind, str(given), known))


def _with_protocol(given: dict[str, Any]) -> dict[str, Any]:
    """Write a protocol that is given by its name in full."""
    protocol = given.get("protocol")
    if isinstance(protocol, dict):
        mistakes = [*_wrong_keys("protocol", protocol, Protocol)]
        needed = [
            field.name
            for field in dataclasses.fields(Protocol)
            if field.default is field.default_factory is dataclasses.MISSING
        ]
        if lacks := [name for name in needed if name not in protocol]:
            mistakes.append(
                f"protocol lacks {', '.join(lacks)}; a mapping is a whole protocol under a name of "
                "its own, as in docs/commands.md"
            )
        if mistakes:
            raise ConfigError("; ".join(mistakes))
    if not isinstance(protocol, str):
        return given
    _check_known("protocol", protocol, PROTOCOLS)
    return given | {"protocol": PROTOCOLS[protocol].as_dict()}


def _check_name(protocol: Protocol) -> None:
    """Raise ConfigError if a changed protocol bears the name of a known one.

    Tables compare runs whose protocols have the same name, so one name must mean one protocol.
    """
    known = PROTOCOLS.get(protocol.name, protocol)
    for field, value in vars(known).items():
        given = getattr(protocol, field)
        if given != value:
            raise ConfigError(
                f"protocol {protocol.name!r} has {field} {value}, not {given}; give what is "
                "changed a name of its own"
            )


def check_kept(config: Config, updates: Iterable[int]) -> None:
    """Raise ConfigError if weights are to be kept after an update that a run does not reach."""
    last = _updates(config)
    if beyond := [str(update) for update in updates if update > last]:
        raise ConfigError(
            f"keep_at asks for the weights after update {', '.join(beyond)}, and protocol "
            f"{config.protocol['name']} ends on {config.dataset} after {last}; leave those out"
        )


def _check_kept_weights(config: Config) -> None:
    """Raise ConfigError if a method lacks weights on its source's way, or cannot read them."""
    method, kept = config.method, config.start and config.start.kept
    if catalogue.declares(method, "follows") and not kept:
        raise ConfigError(
            f"{method} reads the weights along another run's training; name that run, and how "
            "often an epoch it keeps them, by start, or in a suite by start_for: "
            f"{{{method}: {{method: fgsm_rs, protocol: {config.protocol['name']}, kept: 2}}}}"
        )
    if kept and not catalogue.declares(method, "follows"):
        raise ConfigError(
            f"{method} begins with its source's last weights and reads no others; leave kept out"
        )


def check_watched(config: Config, entries: Iterable[Entry]) -> None:
    """Raise ConfigError if something cannot be measured while a run trains."""
    taken: set[tuple[str, int | None, int | None]] = set()
    for entry in entries:
        if entry.every is None:
            raise ConfigError(
                f"{entry.name} is to be measured while training, and does not say when; write "
                f"{entry.name}-every_50 for every 50 updates"
            )
        if (same := (entry.name, entry.since, entry.until)) in taken:
            raise ConfigError(
                f"{entry.name} is to be measured at two intervals while training; leave one out, "
                "or give it a window, since and until"
            )
        taken.add(same)
        if (entry.since or 0) > (last := _updates(config)):
            raise ConfigError(
                f"{entry.name} is to be measured since update {entry.since}, and protocol "
                f"{config.protocol['name']} ends on {config.dataset} after {last}"
            )
        if lacks := evaluations.lacking(entry, config.norm):
            raise ConfigError(lacks)


def _updates(config: Config) -> int:
    """Count the updates of a run, but for those by which replays of its batches round them up."""
    return int(config.protocol["epochs"] * -(-_images(config) // config.protocol["batch"]))


def _images(config: Config) -> int:
    """Count the images that a run is trained on."""
    allowed = catalogue.training_images(config.dataset) - config.protocol.get("validation", 0)
    return min(allowed, config.train_images or allowed)


def _check_images(config: Config) -> None:
    """Raise ConfigError if images are lacking, or BatchNorm cannot take the last batch's only one.

    More than there are would be all of them, under another id than null has.
    """
    batch, images = config.protocol["batch"], _images(config)
    if config.train_images and config.train_images > images:
        raise ConfigError(
            f"train_images asks for {config.train_images}, and protocol {config.protocol['name']} "
            f"has {images} of {config.dataset} to train on; give fewer, or null for all"
        )
    if batch > 1 and images % batch == 1:
        raise ConfigError(
            f"{images} training images of {config.dataset} in batches of {batch} leave one image "
            "for the last batch, which BatchNorm cannot take; choose another train_images"
        )


def _check_smoothing(config: Config) -> None:
    """Raise ConfigError if protocol and method would both smooth labels."""
    smoothing = config.protocol.get("smoothing")
    if smoothing and catalogue.declares(config.method, "smooths"):
        raise ConfigError(
            f"{config.method} smooths labels itself, and protocol {config.protocol['name']} "
            f"spreads {smoothing} of them, too; choose a protocol without smoothing"
        )
