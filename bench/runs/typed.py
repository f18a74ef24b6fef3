"""Values from JSON or YAML: read, checked against types by pydantic, its errors in our words."""

import functools
import json
import re
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]

SHOWN = 4  # mistakes of one value that a message names
MOST = 100_000  # values, or characters of YAML, that are taken for a person's
DEEPEST = 50  # lists and mappings inside each other, likewise
LIMIT = 2**31  # whole numbers that people give lie below it


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


NUMBER = BeforeValidator(_no_truth)  # Python, and so pydantic, takes True for 1


def short(value: Any) -> str:
    """Write a value as Python does, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:76]} ..."


class _Loader(yaml.SafeLoader):
    """Reads YAML without what is not as it looks.

    That is ``<<``, which a few lines can make of any size, keys that stand twice, octal numbers.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise _misread(key, "<< is not read; write its keys out")
            word = key.value if isinstance(key, yaml.ScalarNode) else key
            if word in seen:
                raise _misread(key, f"the key {short(word)} stands twice; leave one out")
            seen.add(word)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value: int = super().construct_yaml_int(node)
        if re.match(r"[-+]?0[\d_]", node.value):
            raise _misread(node, f"{node.value} is octal, for {value}; leave out zeros in front")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _misread(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def from_yaml(text: str, where: str) -> Any:
    """Read YAML.

    Args:
        where: name of the text in messages.

    Raises:
        ValueError: it is none, or is nested or larger than what people write; says where.
    """
    if len(text) > MOST:
        raise ValueError(f"{where} has more than {MOST:,} characters, which nobody writes by hand")
    try:
        value = yaml.load(text, _Loader)  # noqa: S506  # it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        told = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{where}{line}: this is no YAML: {told}") from None
    except (yaml.YAMLError, ValueError) as error:  # a date that is none is a ValueError
        told = " ".join(str(error).split())
        raise ValueError(f"{where}: this is no YAML: {told}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deep to be read") from None
    check_size(value, where)
    return value


def from_json(text: str, where: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deep to be read") from None


def check_size(value: Any, where: str) -> None:
    """Refuse lists and mappings that hold each other, or themselves, again and again.

    Raises:
        ValueError: there are more values than a person writes, or they are nested too deep.
    """
    waiting, count = [(value, 0)], 1
    while waiting:
        one, depth = waiting.pop()
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(inside)
        if depth > DEEPEST:
            raise ValueError(f"{where} is nested too deep to be read")
        if count > MOST:
            raise ValueError(
                f"{where} holds more than {MOST:,} values, which nobody writes by hand"
            )
        waiting += ((part, depth + 1) for part in inside)


def parse(kind: Any, text: str | bytes, where: str) -> Any:
    """Read JSON as a type. A text is no number, a fraction no count, and every key is known.

    Args:
        kind: a dataclass, list, dict, Literal, number, bool or text; ranges are its annotations.
        where: name of the value in messages.

    Raises:
        ValueError: names the places where the value departs from the type.
    """
    try:
        return _adapter(kind).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        shown = [explained(mistake, where) for mistake in mistakes[:SHOWN]]
        more = [f"and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        raise ValueError("; ".join([*shown, *more])) from None


def build(kind: Any, value: Any, where: str) -> Any:
    """Convert a value that could stand in JSON to a type, as `parse` does."""
    try:
        text = json.dumps(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{where} is nothing that JSON can hold: {error}") from None
    return parse(kind, text, where)


def written(kind: Any, value: Any) -> str:
    """Write a value of a type as JSON on one line, without dicts in between, which take longer."""
    text: bytes = _adapter(kind).dump_json(value)
    return text.decode()


def explained(mistake: Any, where: str = "") -> str:
    """Say one of pydantic's errors in our words."""
    key = ".".join(str(part) for part in (where, *mistake["loc"]) if part != "")
    if mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key} is unknown"
    if mistake["type"] == "missing":
        return f"{key} is missing"
    text = mistake["msg"].removeprefix("Value error, ")
    shown = "" if mistake["type"] == "value_error" else f", given {short(mistake['input'])}"
    return f"{key}: {text}{shown}" if key else f"{text}{shown}"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)
