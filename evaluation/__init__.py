"""One measure a file: (network, data, settings) to numbers; attacks and diagnostics in folders."""

import importlib
import inspect
from typing import Any


def load(kind: str, name: str) -> Any:
    """Import a file of evaluation/attacks or evaluation/diagnostics and return its one class.

    Args:
        kind: "attack" or "diagnostic".
        name: the file's; the catalogue knows that it defines one such class.
    """
    contract = getattr(importlib.import_module(f"evaluation.{kind}"), kind.capitalize())
    module = importlib.import_module(f"evaluation.{kind}s.{name}")
    (found,) = (
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, contract)
        and each.__module__ == module.__name__
    )
    return found
