"""Settings: checks of a method's, an attack's or a diagnostic's against its fields. No torch."""

import ast
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, TypeAdapter, ValidationError

from bench.runs import catalogue
from bench.runs.definitions import check_names
from bench.runs.record import ConfigError
from bench.runs.typed import LIMIT, NUMBER, short


def published_settings(method: str, dataset: str, kind: str = catalogue.METHODS) -> dict[str, Any]:
    """Read a method's hyperparameters on a data set as published: its defaults and its preset.

    Args:
        method: or another name in the folder ``kind``.

    Raises:
        ConfigError: the method's file cannot be read, or gives a default of the wrong type.
    """
    try:
        defaults = catalogue.default_settings(method, kind)
        presets = catalogue.presets(method, kind).get(dataset, {})
        added = catalogue.added_settings(method) if kind == catalogue.METHODS else {}
        if both := added.keys() & presets.keys():
            raise ValueError(
                f"{kind}/{method}.py: its preset for {dataset} sets {', '.join(sorted(both))}, "
                "which it says was added later, so that ids leave it out; leave it out of one"
            )
        check_names(catalogue.ROOT / f"{kind}/{method}.py")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        return check_settings(method, defaults | presets, kind)
    except ValueError as error:
        raise ConfigError(f"{kind}/{method}.py: {error}") from None


def kept_settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a configuration holds: those added later only where changed."""
    added = catalogue.added_settings(method)
    return {k: v for k, v in settings.items() if k not in added or v != added[k]}


def check_settings(
    method: str, given: Mapping[str, Any], kind: str = catalogue.METHODS
) -> dict[str, Any]:
    """Convert settings, by name, to the types of the fields of a method or of another kind of file.

    Raises:
        ValueError: lists every unknown name and every wrong value.
    """
    known, checked, mistakes = catalogue.default_settings(method, kind), {}, []
    for name, value in given.items():
        if name not in known:
            mistakes.append(catalogue.unknown(f"setting of {method}", name, known))
            continue
        annotation = catalogue.annotation(method, name, kind)
        try:
            # not strict: Snakemake's command line hands over every number as text
            checked[name] = TypeAdapter(_type(annotation)).validate_python(value)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            mistakes.append(f"{method}.{name} = {short(value)} is no {annotation}: {message}")
        except ValueError as error:
            mistakes.append(f"{method}.{name}: {error}")
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return checked


def check_variants(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert hyperparameters as `check_settings` does, where a list gives several values of one.

    Returns:
        By name, the list of its values, or such a list by data set; a single value becomes a list
        of one.

    Raises:
        ValueError: lists every unknown name and every wrong value.
    """
    catalogue.default_settings(method)  # a file that cannot be read is told once, not by setting
    checked, mistakes = {}, []
    for name, values in given.items():
        try:
            checked[name] = _by_dataset(method, name, values)
        except ValueError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return checked


def variants_on(dataset: str, checked: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Choose a data set's values of what `check_variants` returned; what has none is left out."""
    found = {
        name: values.get(dataset) if isinstance(values, dict) else values
        for name, values in checked.items()
    }
    return {name: values for name, values in found.items() if values is not None}


def _by_dataset(method: str, name: str, given: Any) -> Any:
    """Convert the values of one setting, which a mapping gives by data set."""
    if not isinstance(given, dict) or not given:
        return _values(method, name, given)
    checked = {dataset: _values(method, name, values) for dataset, values in given.items()}
    known = catalogue.names("bench/data")
    if strange := [str(dataset) for dataset in given if dataset not in known]:
        raise ValueError(f"{method}.{name}: {catalogue.unknown('data set', strange[0], known)}")
    return checked


def _values(method: str, name: str, given: Any) -> list[Any]:
    """Convert one value of a setting, or a list of them."""
    if given in ([], {}):
        raise ValueError(f"{method}.{name} is empty; give a value, or leave it out")
    return distinct([check_settings(method, {name: value})[name] for value in as_list(given)])


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def distinct(values: list[Any]) -> list[Any]:
    """Return the values.

    Raises:
        ValueError: two of them are equal.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"{values} names something twice")
    return values


def _type(annotation: str) -> Any:
    """Turn the source of a field's annotation into the type that its values are checked against."""
    if annotation.endswith(" | None"):
        return _type(annotation.removesuffix(" | None")) | None
    if annotation.startswith("Literal["):
        return Literal[ast.literal_eval(f"({annotation[8:-1]},)")]
    known = {
        "float": Annotated[FiniteFloat, NUMBER],
        "int": Annotated[NonNegativeInt, Field(lt=LIMIT), NUMBER],
        "bool": bool,
        "str": str,
    }
    if annotation not in known:
        raise ValueError(
            f"{annotation} is no type of a setting: {', '.join(known)}, Literal[...], | None"
        )
    return known[annotation]
