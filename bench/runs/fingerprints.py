"""Fingerprints of code: whether what made a number is what would make it now."""

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from bench.runs import catalogue


def fingerprint(*paths: Path) -> str:
    """Hash the code alone: neither comments, docstrings nor layout make a run stale.

    Tokens, not ast.dump, which differs between versions of Python.
    """
    digest = hashlib.sha256()
    for path in paths:
        source = path.read_text(encoding="utf-8")
        docstrings = _docstring_lines(source)
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = tokenize.tok_name[token.type]
            if kind in ("COMMENT", "NL", "ENCODING"):
                continue
            if kind == "STRING" and token.start[0] in docstrings:
                continue
            layout = kind in ("INDENT", "DEDENT", "NEWLINE")
            digest.update((kind if layout else token.string).encode() + b"\0")
    return digest.hexdigest()[:12]


def method_fingerprint(method: str) -> str:
    """Hash what a method computes: its own file and the words it is written in."""
    return fingerprint(catalogue.ROOT / f"methods/{method}.py", catalogue.ROOT / "bench/ops.py")


@functools.cache
def bench_fingerprint(stage: str, dataset: str, architecture: str) -> str:
    """Hash what else a stage's numbers depend on; a change is shown on the page, reruns nothing.

    That is what its program imports of bench/ and evaluation/, with one data set and one network.
    """
    modules = (
        f"bench.stages.{catalogue.program(stage)}",
        f"bench.data.{dataset}",
        f"bench.models.{architecture}",
    )
    waiting = {path for name in modules for path in _files(name)}
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        reached.add(path)
        waiting |= _imported(path) - reached
    codes = " ".join(_code(path) for path in sorted(reached))
    return hashlib.sha256(codes.encode()).hexdigest()[:12]


_code = functools.cache(fingerprint)


@functools.cache
def _imported(path: Path) -> frozenset[Path]:
    """Files of bench/ and evaluation/ that a file imports, inside its functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return frozenset(found for name in names for found in _files(name))


def _files(name: str) -> Iterator[Path]:
    """Files of bench/ and evaluation/ that run when a dotted name is imported."""
    room, *rest = name.split(".")
    path = catalogue.ROOT / room
    for part in ("", *rest) if room in ("bench", "evaluation") else ():
        path /= part
        both = (path / "__init__.py", path.with_suffix(".py"))
        yield from (file for file in both if file.is_file())


def _docstring_lines(source: str) -> set[int]:
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                lines.add(first.lineno)
    return lines
