"""Values from JSON or YAML, checked against types by pydantic, and its errors in our words."""

import functools
import json
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]

SHOWN = 4  # mistakes of one value that a message names


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
    shown = "" if mistake["type"] == "value_error" else f", given {_short(mistake['input'])}"
    return f"{key}: {text}{shown}" if key else f"{text}{shown}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:76]} ..."


@functools.cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)
