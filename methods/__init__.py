"""Training methods, one a file. A file that appears here is on the menu; nothing registers it."""

import difflib
import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.method import Method


def names() -> list[str]:
    """List every method on offer, by its file; imports none of them."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def load(name: str) -> "type[Method]":
    """Import methods/<name>.py and return the one Method it defines.

    Raises:
        LookupError: there is no such file.
        TypeError: the file defines no Method, or several.
    """
    from bench.method import Method

    if name not in names():
        near = difflib.get_close_matches(name, names())
        raise LookupError(f"no methods/{name}.py; did you mean {near or names()}?")
    module = importlib.import_module(f"methods.{name}")
    found = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, Method) and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        classes = [c.__name__ for c in found]
        raise TypeError(f"methods/{name}.py must define exactly one Method, not {classes}")
    return found[0]
