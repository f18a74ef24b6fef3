"""Definitions of our code: what files define, import and use, read off their syntax trees.

A definition is a function, class, constant or other statement at the top level of a file. To reach
one from another is to find its name in the other's code, as Python would look it up.
"""

import ast
import builtins
import functools
import importlib.util
import symtable
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.runs import catalogue

Definition = tuple[Path, str]  # file, name; "" stands for statements that name nothing


class Statement(NamedTuple):
    """A statement at the top level of a file."""

    line: int
    source: str
    uses: frozenset[tuple[str, ...]]  # dotted names that it reads of its file


class Module(NamedTuple):
    """What a file defines and imports, by name."""

    definitions: dict[str, list[Statement]]
    imports: dict[str, set[str]]  # dotted names


def follow(roots: Iterable[Definition], within: Collection[Path]) -> set[Definition]:
    """Collect the roots and every definition that their code reaches.

    Args:
        within: the files, and the folders of files, in which names are followed.
    """
    waiting, reached = {*roots}, set[Definition]()
    while waiting:
        path, name = waiting.pop()
        if (path, name) in reached or {path, path.parent}.isdisjoint(within):
            continue
        reached.add((path, name))
        waiting.add((path, ""))  # runs when the file is imported
        for statement in read_module(path).definitions.get(name, ()):
            for dotted in statement.uses:
                waiting.update(resolve(path, dotted))
    return reached


def definitions_in(path: Path) -> list[Definition]:
    """List all definitions of a file."""
    return [(path, name) for name in read_module(path).definitions]


@catalogue.read_once()
def check_names(path: Path) -> None:
    """Check that all names that a file uses are defined or imported, without running it.

    Raises:
        ValueError: lists every name that is not, and every import of what does not exist.
    """
    source = path.read_text(encoding="utf-8")
    tree, name = ast.parse(source), path.relative_to(catalogue.ROOT)
    mistakes = sorted({*_missing(tree), *_undefined(tree, symtable.symtable(source, "", "exec"))})
    if mistakes:
        raise ValueError("\n".join(f"{name}, line {line}: {text}" for line, text in mistakes))


@catalogue.remembered
def resolve(path: Path, dotted: tuple[str, ...]) -> tuple[Definition, ...]:
    """Find the definitions that a dotted name stands for in a file.

    They are in that file or in the file of ours that it imports the name from; a name of a library
    has none.
    """
    module = read_module(path)
    first, *rest = dotted
    found = [(path, first)] if first in module.definitions else []
    for origin in module.imports.get(first, ()):
        whole = (*origin.split("."), *rest)
        for i in range(len(whole), 0, -1):  # a.b.c is a file a/b/c.py, or else c of a/b.py
            imported = _file(whole[:i])
            if imported is not None:  # code that holds a module itself may use all of it
                found += resolve(imported, whole[i:]) if whole[i:] else definitions_in(imported)
                break
    return tuple(found)


@catalogue.remembered
def _file(dotted: tuple[str, ...]) -> Path | None:
    """Find the file of a module or package of ours; None for one of a library."""
    base = catalogue.ROOT.joinpath(*dotted)
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


@catalogue.remembered
def read_module(path: Path) -> Module:
    """Read what a file defines and imports.

    Raises:
        SyntaxError: the file cannot be parsed.
    """
    return _parsed(path.read_text(encoding="utf-8"))


@functools.cache
def _parsed(source: str) -> Module:
    module, lines = Module({}, {}), source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        for inner in ast.walk(node):  # imports, inside functions too
            if isinstance(inner, ast.Import | ast.ImportFrom):
                above = f"{inner.module}." if isinstance(inner, ast.ImportFrom) else ""
                for alias in inner.names:  # `import a.b` gives a
                    origin = (
                        above + alias.name if above or alias.asname else alias.name.split(".")[0]
                    )
                    name = alias.asname or origin.removeprefix(above)
                    module.imports.setdefault(name, set()).add(origin)
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not isinstance(node, ast.Import | ast.ImportFrom):
            first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
            text = "\n".join(lines[first - 1 : node.end_lineno])
            for name in _bound([node]) or {""}:
                statement = Statement(first, text, frozenset(_uses(node)))
                module.definitions.setdefault(name, []).append(statement)
    return module


def _uses(node: ast.AST, hidden: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names that a tree reads and that no scope inside it binds."""
    end, chain = node, list[str]()
    while isinstance(end, ast.Attribute):
        chain.insert(0, end.attr)
        end = end.value
    if isinstance(end, ast.Name):
        if isinstance(end.ctx, ast.Load) and end.id not in hidden:
            yield (end.id, *chain)
        return
    scope: list[ast.AST] = []
    within = hidden
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        scope = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
        within |= {n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)} | _bound(scope)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        scope = [*ast.iter_child_nodes(node)]
        within |= _bound(part.target for part in node.generators)
    for child in ast.iter_child_nodes(node):
        yield from _uses(child, within if child in scope else hidden)


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Collect the names that statements bind outside inner scopes, except by imports."""
    names, waiting = set(), [*nodes]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.comprehension):
            waiting += ast.iter_child_nodes(node)
    return names


def _missing(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every import of a module, or of a name of ours, that is not there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "*") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            wanted = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            package = module.partition(".")[0]
            ours, path = (catalogue.ROOT / package).is_dir(), _file(tuple(module.split(".")))
            if importlib.util.find_spec(package) is None or (ours and path is None):
                yield node.lineno, f"there is no module {module!r} to import"
            elif ours and path and name != "*" and not _file((*module.split("."), name)):
                found = _parsed(path.read_text(encoding="utf-8"))
                if name not in (known := {*found.definitions, *found.imports}):
                    offered = sorted(n for n in known if n[:1].isalpha() and resolve(path, (n,)))
                    yield node.lineno, catalogue.unknown(f"name of {module}", name, offered)


def _undefined(tree: ast.Module, top: symtable.SymbolTable) -> Iterator[tuple[int, str]]:
    """Yield line and text of every name that no scope, import or builtin of Python defines."""
    symbols, tables = list[symtable.Symbol](), [top]
    for table in tables:
        symbols += table.get_symbols()
        tables += table.get_children()
    of_file = [symbol for symbol in symbols if symbol.is_global()]
    known = {s.get_name() for s in of_file if s.is_assigned() or s.is_imported()}
    known |= {*dir(builtins), "__file__"}
    if any(alias.name == "*" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
           for alias in node.names):  # fmt: skip
        return
    unknown = {s.get_name() for s in of_file} - known
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in unknown:
            yield node.lineno, f"{node.id!r} is neither defined nor imported{_where(node.id)}"


def _where(name: str) -> str:
    """Say where a method may import a name from."""
    for module in ("bench.method", "bench.ops"):
        path = _file(tuple(module.split(".")))
        if path and resolve(path, (name,)):
            return f"; write: from {module} import {name}"
    return ""
