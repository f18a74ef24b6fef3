"""The catalogue: methods, data sets, networks, attacks and diagnostics, by their files' names.

It reads constants off syntax trees instead of importing the files, and uses the standard library
only, because Snakemake reads it before every run and, on clusters, in every job.
"""

import argparse
import ast
import difflib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from bench.runs.methodfile import class_in

ROOT = Path(__file__).parents[2]
METHODS = "methods"
# by how a method attacks in training; "regularised" adds a term to the loss at one attacked image
FAMILIES = ("standard", "single-step", "multi-step", "regularised")
FIGURES = "report/paper_figures"
EVALUATIONS = {"attack": "evaluation/attacks", "diagnostic": "evaluation/diagnostics"}

P = ParamSpec("P")
R = TypeVar("R")
_known: dict[Any, Any] | None = None  # inside `read_once`: what was returned, by function and words


@contextmanager
def read_once() -> Iterator[None]:
    """Read each file once, for a command that asks the same of thousands of runs.

    Outside it they are read whenever they are asked for, so that an edit is seen.
    """
    global _known
    before, _known = _known, {} if _known is None else _known
    try:
        yield
    finally:
        _known = before


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function of files remember what it returned, inside `read_once`."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        if _known is None:
            return function(*args, **kwargs)
        key = (function, args, *kwargs.items())
        if key not in _known:
            _known[key] = function(*args, **kwargs)
        found: R = _known[key]
        return found

    return asked


@remembered
def names(kind: str) -> list[str]:
    """List the names in ``methods``, ``bench/data``, ``evaluation/attacks`` or the like, sorted."""
    return sorted(path.stem for path in (ROOT / kind).glob("[!_]*.py"))


def unknown(what: str, given: str, allowed: Iterable[str]) -> str:
    """Return a message that names what was given and the allowed names nearest to it, or all.

    Of names that differ in capitals and hyphens alone, as FGSM-RS does, that one is the nearest.
    """
    plain = {name.lower().replace("-", "_"): name for name in allowed}
    wanted = given.lower().replace("-", "_")
    near = [wanted] if wanted in plain else difflib.get_close_matches(wanted, plain, n=3)
    hint = (
        f"did you mean {' or '.join(plain[name] for name in near)}?"
        if near
        else f"choose from {', '.join(plain.values())}"
    )
    return f"unknown {what} {given!r}: {hint}"


@remembered
def default_settings(name: str, kind: str = METHODS) -> dict[str, Any]:
    """Read the defaults of the settings of a method, or of a file of another folder, by name.

    Raises:
        ValueError: the file is no method's, or a default is no literal, so that only Python with
            torch could know its value.
    """
    defaults: dict[str, Any] = {}
    for field in _fields(name, kind):
        if "ClassVar" not in ast.unparse(field.annotation) and field.value is not None:
            defaults[field.target.id] = _literal(field.target.id, field, f"{kind}/{name}.py")
    return defaults


@remembered
def added_settings(method: str) -> dict[str, Any]:
    """Read the defaults of those of a method's hyperparameters that its file says came later.

    Configurations leave these out at their default, so that earlier runs keep their ids. A method
    whose file is gone has none.

    Raises:
        ValueError: the file is no method's, or names what is no hyperparameter of it.
    """
    if method not in names("methods"):
        return {}
    defaults, added = default_settings(method), class_constant(method, "added", METHODS) or ()
    if strange := [name for name in added if name not in defaults]:
        raise ValueError(f"methods/{method}.py: added names {strange}, no hyperparameters of it")
    return {name: defaults[name] for name in added}


def full_settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a configuration with those that it leaves out, added later."""
    return added_settings(method) | {**settings}


@remembered
def annotation(name: str, setting: str, kind: str = METHODS) -> str:
    """Read the annotation of a setting, as source text."""
    return next(
        ast.unparse(field.annotation) for field in _fields(name, kind) if field.target.id == setting
    )


@remembered
def described(name: str, word: str, kind: str = METHODS) -> str:
    """Read what a class's docstring says behind a word, as "Family"; an empty text if nothing.

    Raises:
        ValueError: the file is no method's.
    """
    return _behind(word, ast.get_docstring(_class(name, kind)))


@remembered
def class_constant(name: str, constant: str, kind: str) -> Any:
    """Read a constant of the class in a file; None if the class says nothing of it."""
    for statement in _class(name, kind).body:
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        elif isinstance(statement, ast.AnnAssign):
            target = statement.target
        else:
            continue
        if statement.value is not None and ast.unparse(target) == constant:
            try:
                return ast.literal_eval(statement.value)
            except (ValueError, TypeError):
                where = f"{kind}/{name}.py, line {statement.lineno}"
                raise ValueError(
                    f"{where}: {constant} must be written out, because the grid reads it without "
                    "torch"
                ) from None
    return None


@remembered
def title(name: str, kind: str = METHODS) -> str:
    """Read how the field writes a method's name: the file's first words, up to a colon."""
    found = re.match(r"[^:\n]{1,40}(?=: )", _docstring(f"{kind}/{name}.py") or "")
    return found[0] if found else ""


def caution(dataset: str) -> str:
    """Read what a data set's file warns of, behind "Caution"; an empty text if of nothing."""
    return said(f"bench/data/{dataset}.py", "Caution")


def said(path: str, word: str) -> str:
    """Read what a module's docstring says behind a word; an empty text if nothing."""
    return _behind(word, _docstring(path))


def constant(path: str, name: str) -> Any:
    """Read a constant of a module that is assigned a literal.

    Raises:
        LookupError: the module has no constant of this name.
    """
    return ast.literal_eval(_assigned(path, name))


def argument(path: str, name: str, keyword: str) -> Any:
    """Read one keyword argument of a module's ``name = Something(...)``; of a call, all of its own.

    Raises:
        LookupError: the module has no such assignment, or the call no such argument.
    """
    call = _assigned(path, name)
    passed = _keywords(call).get(keyword) if isinstance(call, ast.Call) else None
    if passed is None:
        raise LookupError(f"{name} of {path} has no argument {keyword}")
    if isinstance(passed, ast.Call):
        return {name: ast.literal_eval(value) for name, value in _keywords(passed).items()}
    return ast.literal_eval(passed)


def presets(method: str, kind: str = METHODS) -> dict[str, dict[str, Any]]:
    """Read the settings that a method's paper uses on some data sets, by data set."""
    return class_constant(method, "presets", kind) or {}


def norms(name: str, kind: str = METHODS) -> tuple[str, ...]:
    """Read the norms that a method can train in, or that an evaluation is defined for."""
    return class_constant(name, "norms", kind) or ("Linf",)  # as in the contracts


def declares(method: str, word: str) -> bool:
    """Read whether a method's class says ``word = True``, with a type or without."""
    return bool(class_constant(method, word, METHODS))


def published_width(architecture: str) -> int:
    """Read the channels of an architecture's first layer as published."""
    return int(constant(f"bench/models/{architecture}.py", "WIDTH"))


def usual_eps(dataset: str) -> float:
    """Read the L-inf radius that papers usually attack a data set with, in 1/255."""
    return float(argument(f"bench/data/{dataset}.py", "INFO", "eps"))


def training_images(dataset: str) -> int:
    """Read how many training images a data set has."""
    return int(argument(f"bench/data/{dataset}.py", "INFO", "train"))


@functools.cache
def classes(dataset: str) -> int | None:
    """Read how many classes a data set has; None if it has no file in bench/data."""
    known = dataset in names("bench/data")
    return int(argument(f"bench/data/{dataset}.py", "INFO", "classes")) if known else None


@functools.cache
def pictures(dataset: str) -> tuple[int, int, int, int]:
    """Read the shape (N, C, S, S) of a data set's training pictures as they are kept, in bytes."""
    channels, side, _ = argument(f"bench/data/{dataset}.py", "INFO", "shape")
    side = 256 if augment(dataset).get("resized") else side
    return training_images(dataset), channels, side, side


@functools.cache
def augment(dataset: str) -> dict[str, Any]:
    """Read how a data set's training images are varied, as the keywords of Augment."""
    found: dict[str, Any] = argument(f"bench/data/{dataset}.py", "INFO", "augment")
    return found


def remembers(method: str) -> tuple[int, bool]:
    """Read how many pictures (run.images, *shape) a method keeps, and if it asks for the canvas.

    Of the first there may be two, a perturbation and its momentum; of run.canvas it is one.
    """
    canvas = rows = False
    for node in ast.walk(_class(method, METHODS)):
        canvas |= isinstance(node, ast.Attribute) and node.attr == "canvas"
        shape = node.elts if isinstance(node, ast.Tuple) else getattr(node, "args", None)
        parts = shape if isinstance(shape, list) else []
        images = any(isinstance(part, ast.Attribute) and part.attr == "images" for part in parts)
        rows |= images and any(isinstance(part, ast.Starred) for part in parts)
    return 2 * rows, canvas


def data_folder() -> str:
    """Name the default folder of official and prepared data: $ONESTEP_DATA or .data."""
    return os.environ.get("ONESTEP_DATA") or ".data"


def home(folder: str) -> str:
    """Put a user's home for a ~ at the front of a folder's name, which not every shell has done.

    Raises:
        ValueError: there is no such user, or no home.
    """
    try:
        return str(Path(folder).expanduser())
    except RuntimeError:
        text = f"{folder} begins with ~, and no home is known for it; write it out"
        raise ValueError(text) from None


def folder(text: str) -> Path:
    """Convert the name of a folder as a user gives it, as a type for argparse."""
    try:
        path = Path(home(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file; give a folder")
    return path


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the data folder."""
    parser.add_argument(
        "--data-dir",
        type=folder,
        default=data_folder(),
        help="the data folder, with prepared/ inside; $ONESTEP_DATA or .data",
    )


def _docstring(path: str) -> str | None:
    return _docstring_of((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def _docstring_of(source: str) -> str | None:
    return ast.get_docstring(ast.parse(source))


def _behind(word: str, docstring: str | None) -> str:
    """Find what a docstring says behind a word and a colon, up to the next such line."""
    ends = r"(?=\n\n|\n\S|\Z)"
    found = re.search(rf"^{word}: (.+?){ends}", docstring or "", re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


@functools.cache
def _assigned(path: str, name: str) -> ast.expr:
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"{path} defines no constant {name}")


def _keywords(call: ast.Call) -> dict[str | None, ast.expr]:
    return {passed.arg: passed.value for passed in call.keywords}


def _fields(name: str, kind: str) -> list[Any]:
    return [field for field in _class(name, kind).body if isinstance(field, ast.AnnAssign)]


def _class(name: str, kind: str) -> ast.ClassDef:
    path = f"{kind}/{name}.py"
    return class_in(path, (ROOT / path).read_bytes())


def _literal(name: str, statement: Any, path: str) -> Any:
    try:
        return ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError(
            f"{path}, line {statement.lineno}: {name} = {ast.unparse(statement.value)}; a "
            "hyperparameter's default must be a plain number, string or bool, because the grid "
            "reads it without torch"
        ) from None
