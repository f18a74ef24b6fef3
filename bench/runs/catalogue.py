"""The catalogue: what there is, by file name, and what can be read of it without importing it.

Standard library only, because Snakemake reads it before every run and, on clusters, in every job.
"""

import ast
import difflib
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EVALUATIONS = "evaluation/attacks"  # the optional ones


def names(kind: str) -> list[str]:
    """List a kind, ``methods``, ``bench/data``, ``bench/models`` or EVALUATIONS, by its files."""
    return sorted(path.stem for path in (ROOT / kind).glob("[!_]*.py"))


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Say what was given, what is allowed, and which of it is closest."""
    allowed = list(allowed)
    near = difflib.get_close_matches(given, allowed, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(allowed)}"
    return f"unknown {what} {given!r}: {hint}"


def settings(method: str) -> dict[str, Any]:
    """Read a method's hyperparameters and their defaults off its syntax tree.

    Raises:
        ValueError: a default is no literal, so it cannot be known without importing torch.
    """
    found: dict[str, Any] = {}
    for field in _fields(method):
        if "ClassVar" not in ast.unparse(field.annotation) and field.value is not None:
            found[field.target.id] = _literal(field, method)
    return found


def annotation(method: str, setting: str) -> str:
    """Read a hyperparameter's type off its method's syntax tree, as source text."""
    return next(
        ast.unparse(field.annotation) for field in _fields(method) if field.target.id == setting
    )


def constant(path: str, name: str) -> Any:
    """Read a module's constant off its syntax tree."""
    return ast.literal_eval(_assigned(path, name))


def argument(path: str, name: str, keyword: str) -> Any:
    """Read one keyword argument of a module's ``name = Something(...)`` off its syntax tree."""
    call = _assigned(path, name)
    for given in call.keywords if isinstance(call, ast.Call) else ():
        if given.arg == keyword:
            return ast.literal_eval(given.value)
    raise LookupError(f"{name} of {path} has no argument {keyword}")


def presets(method: str) -> dict[str, dict[str, Any]]:
    """Read a method's published settings by data set off its syntax tree."""
    for field in _fields(method):
        if field.target.id == "presets":
            return _literal(field, method)
    return {}


def data_folder() -> str:
    """Where official files are, unless a program or suite is told otherwise."""
    return os.environ.get("ONESTEP_DATA") or ".data"


@functools.cache
def _assigned(path: str, name: str) -> ast.expr:
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"{path} defines no constant {name}")


def _fields(method: str) -> list[Any]:
    path = ROOT / f"methods/{method}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=f"methods/{method}.py")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in classes:
        if any(ast.unparse(base) == "Method" for base in node.bases):
            return [field for field in node.body if isinstance(field, ast.AnnAssign)]
    found = ", ".join(ast.unparse(node).partition(":")[0] for node in classes) or "none"
    raise ValueError(
        f"methods/{method}.py must define a class derived from Method by that name, or settings "
        f"and changes of another base would go unseen; its classes: {found}"
    )


def _literal(field: Any, method: str) -> Any:
    try:
        return ast.literal_eval(field.value)
    except ValueError:
        where = f"methods/{method}.py, line {field.lineno}"
        raise ValueError(
            f"{where}: {field.target.id} = {ast.unparse(field.value)}; a hyperparameter's default "
            "must be a plain number, string or bool, because the grid reads it without torch"
        ) from None
