"""A method's file, read off its syntax tree: its class, and why a suite could not use it.

The standard library only, as in the catalogue, whose ``default_settings`` and the like rest on it.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

CONTRACT = Path(__file__).parents[1] / "method.py"
TYPES = (bool, int, float, str)


@functools.cache
def method_class(name: str, source: bytes) -> ast.ClassDef:
    """Find the class that a method's file defines.

    Args:
        name: the file's, for messages.
        source: its bytes.

    Raises:
        ValueError: it is no file of one method; each reason with its line.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        where = f"{name}, line {error.lineno or 1}"
        raise ValueError(f"{where}: this is no Python: {error.msg}") from None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    found: list[ast.ClassDef] = []
    for node in classes:
        known = {"Method", *(other.name for other in found)}
        if known & {ast.unparse(base) for base in node.bases}:
            found.append(node)
    if not found:
        shown = ", ".join(f"{_head(node)} in line {node.lineno}" for node in classes)
        raise ValueError(
            f"{name} must define a class derived from Method by that name, or settings and "
            f"changes of another base would go unseen; its classes: {shown or 'none'}"
        )
    if len(found) > 1:
        shown = " and ".join(f"{_head(node)} in line {node.lineno}" for node in found)
        raise ValueError(
            f"{name} must define exactly one method, and defines {shown}; give each a file of its "
            "own, and share code as functions"
        )
    mistakes = [f"{name}, line {line}: {text}" for line, text in _mistakes(found[0])]
    if mistakes:
        raise ValueError("\n".join(mistakes))
    return found[0]


def _head(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return f"class {node.name}({bases})" if bases else f"class {node.name}"


def _mistakes(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Yield line and text of what would have a method, or a setting of it, go wrong later."""
    if not any(_freezes(decorator) for decorator in node.decorator_list):
        text = (
            f"{node.name} is no frozen dataclass, so that a step could change its settings; "
            "write @dataclass(frozen=True, kw_only=True) above the class"
        )
        yield node.lineno, text
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            texts = _of_untyped(statement)
        elif isinstance(statement, ast.AnnAssign):
            texts = _of_typed(ast.unparse(statement.target), statement)
        else:
            continue
        yield from ((statement.lineno, text) for text in texts)


def _of_untyped(statement: ast.Assign) -> Iterator[str]:
    value, kind, default = statement.value, "float", "..."
    if isinstance(value, ast.Constant) and type(value.value) in TYPES:
        kind, default = type(value.value).__name__, ast.unparse(value)
    for node in (node for target in statement.targets for node in ast.walk(target)):
        if isinstance(node, ast.Name) and node.id == "norms" and not _are_names(value):
            yield (
                f"norms = {ast.unparse(value)}; it must name them, as ('Linf', 'L2'), because the "
                "grid reads it without torch"
            )
        if isinstance(node, ast.Name) and node.id not in _contract():
            yield (
                f"{node.id} = {ast.unparse(value)} has no type, so no suite can set it; write "
                f"{node.id}: {kind} = {default} for a hyperparameter, or move a constant above the "
                "class"
            )


def _of_typed(name: str, statement: ast.AnnAssign) -> Iterator[str]:
    kind = ast.unparse(statement.annotation)
    if "ClassVar" in kind:
        return
    if name in ("eps", "norm"):
        yield f"{name} is set by the run; leave it out"
    elif name in _contract():
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


@functools.cache
def _contract() -> set[str]:
    """Read the words of the contract: what the class Method has."""
    tree = ast.parse(CONTRACT.read_text(encoding="utf-8"))
    method = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Method")
    fields = (n.target for n in method.body if isinstance(n, ast.AnnAssign))
    targets = {target.id for target in fields if isinstance(target, ast.Name)}
    return targets | {n.name for n in method.body if isinstance(n, ast.FunctionDef)}
