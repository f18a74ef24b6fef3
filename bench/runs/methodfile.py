"""A file of one class, a method's or an attack's: that class, and why a suite could not use it.

It is read off the syntax tree.

The standard library only, as in the catalogue, whose ``default_settings`` and the like rest on it.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TYPES = (bool, int, float, str)


class Contract(NamedTuple):
    """What each file of a folder must define: a class derived from another."""

    base: str  # the other's name
    path: str  # of the file that defines the other
    taken: dict[str, str]  # names that no setting may have, and who sets them

    @property
    def thing(self) -> str:
        """What a file defines, in messages."""
        return self.base.lower()


_ENTRY = dict.fromkeys(("attack", "diagnostic", "eps", "norm", "every", "seed"), "the suite")
CONTRACTS = {
    "methods": Contract("Method", "bench/method.py", dict.fromkeys(("eps", "norm"), "the run")),
    "evaluation/attacks": Contract("Attack", "evaluation/attack.py", _ENTRY),
    "evaluation/diagnostics": Contract("Diagnostic", "evaluation/diagnostic.py", _ENTRY),
}


@functools.cache
def class_in(name: str, source: bytes) -> ast.ClassDef:
    """Find the class that a method's, an attack's or a diagnostic's file defines.

    Args:
        name: the file's, below the project's folder; its own folder says what it must define.
        source: its bytes.

    Raises:
        ValueError: it is no file of one such class; each reason with its line.
    """
    folder = name.rpartition("/")[0]
    if folder not in CONTRACTS:
        raise ValueError(f"{name} lies in none of {', '.join(CONTRACTS)}")
    contract = CONTRACTS[folder]
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        where = f"{name}, line {error.lineno or 1}"
        raise ValueError(f"{where}: this is no Python: {error.msg}") from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found: list[ast.ClassDef] = []
    for node in classes:
        known = {contract.base, *(other.name for other in found)}
        if known & {ast.unparse(base) for base in node.bases}:
            found.append(node)
    if not found:
        shown = ", ".join(f"{_head(node)} in line {node.lineno}" for node in classes)
        raise ValueError(
            f"{name} must define a class derived from {contract.base} by that name, or settings "
            f"and changes of another base would go unseen; its classes: {shown or 'none'}"
        )
    if len(found) > 1:
        shown = " and ".join(f"{_head(node)} in line {node.lineno}" for node in found)
        raise ValueError(
            f"{name} must define exactly one {contract.thing}, and defines {shown}; give each a "
            "file of its own, and share code as functions"
        )
    mistakes = [f"{name}, line {line}: {text}" for line, text in _mistakes(found[0], contract)]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return found[0]


def _head(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def _mistakes(node: ast.ClassDef, contract: Contract) -> Iterator[tuple[int, str]]:
    """Yield line and text of what would have the class, or a setting of it, go wrong later."""
    if not any(_freezes(decorator) for decorator in node.decorator_list):
        text = (
            f"{node.name} is no frozen dataclass, so that a step could change its settings; "
            "write @dataclass(frozen=True, kw_only=True) above the class"
        )
        yield node.lineno, text
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            texts = _of_untyped(statement, contract)
        elif isinstance(statement, ast.AnnAssign):
            texts = _of_typed(ast.unparse(statement.target), statement, contract)
        else:
            continue
        yield from ((statement.lineno, text) for text in texts)


def _of_untyped(statement: ast.Assign, contract: Contract) -> Iterator[str]:
    value, kind, default = statement.value, "float", "..."
    if isinstance(value, ast.Constant) and type(value.value) in TYPES:
        kind, default = type(value.value).__name__, ast.unparse(value)
    for node in (node for target in statement.targets for node in ast.walk(target)):
        if isinstance(node, ast.Name) and node.id == "norms" and not _are_names(value):
            yield (
                f"norms = {ast.unparse(value)}; it must name them, as ('Linf', 'L2'), because the "
                "grid reads it without torch"
            )
        if isinstance(node, ast.Name) and node.id not in _words(contract):
            yield (
                f"{node.id} = {ast.unparse(value)} has no type, so no suite can set it; write "
                f"{node.id}: {kind} = {default} for a hyperparameter, or move a constant above the "
                "class"
            )


def _of_typed(name: str, statement: ast.AnnAssign, contract: Contract) -> Iterator[str]:
    kind = ast.unparse(statement.annotation)
    if "ClassVar" in kind:
        return
    if name in contract.taken:
        yield f"{name} is set by {contract.taken[name]}; leave it out"
    elif name in _words(contract):
        yield f"{name} is a word of the contract, no hyperparameter; leave out its type, {kind}"
    elif statement.value is None:
        yield f"{name} has no default; give it the published value: {name}: {kind} = ..."


def _are_names(value: ast.expr) -> bool:
    return isinstance(value, ast.Tuple) and all(
        isinstance(one, ast.Constant) and isinstance(one.value, str) for one in value.elts
    )


def _freezes(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func) in ("dataclass", "dataclasses.dataclass")
        and any(ast.unparse(word) == "frozen=True" for word in decorator.keywords)
    )


def _words(contract: Contract) -> set[str]:
    """Read the words of a contract: what the class that others derive from has."""
    return _words_of(contract.base, (ROOT / contract.path).read_bytes())


@functools.cache
def _words_of(base: str, source: bytes) -> set[str]:
    body = next(
        n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == base
    ).body
    fields = (n.target for n in body if isinstance(n, ast.AnnAssign))
    targets = {target.id for target in fields if isinstance(target, ast.Name)}
    return targets | {n.name for n in body if isinstance(n, ast.FunctionDef)}
