"""Fingerprints of code: whether what made a number is what would make it now.

They are of definitions, not of files: a function, class or constant counts where it is reached,
whichever file it stands in, and what nothing reaches does not count.
"""

import ast
import functools
import hashlib
import io
import tokenize
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.runs import catalogue

ROOMS = ("bench", "bench/data", "bench/models", "bench/stages", "evaluation", "evaluation/attacks")
RATES = "bench/runs/protocol.py"  # the only arithmetic in bench/runs: learning rates
FORMER = Path(__file__).with_name("former_codes.toml")

Definition = tuple[Path, str]  # file, name; "" stands for statements that name nothing


def fingerprint(*paths: Path) -> str:
    """Hash whole files, but neither imports, comments, docstrings nor layout."""
    return _hash(_code(path.read_text(encoding="utf-8")) for path in paths)


def method_fingerprint(method: str) -> str:
    """Hash what a method computes: all of its file, and what of ops.py it reaches.

    Raises:
        SyntaxError: its file cannot be parsed.
    """
    return _combined(_of_method(method))


@functools.cache
def bench_fingerprint(stage: str, dataset: str, architecture: str) -> str:
    """Hash what else a stage's numbers depend on; a change is shown on the page, reruns nothing.

    That is what its preparing and its work reach, the network, and what is fixed about the data
    set, whose pixels have a checksum of their own. Nothing in bench/runs counts but the learning
    rates: the rest is data of the record, or the handling of files.
    """
    return _combined(_of_bench(stage, dataset, architecture))


def checkpoint_fingerprint(stage: str, method: str, dataset: str, architecture: str) -> str:
    """Hash every file that a stage reaches, whole, because a checkpoint holds what any may read."""
    reached = _of_method(method) | _of_bench(stage, dataset, architecture)
    return fingerprint(*sorted({path for path, _ in reached}))


def same(made: str, now: str) -> bool:
    """Say whether code with these fingerprints makes the same numbers.

    Args:
        made: of the code that made them; may be a former one that leads to that of now.
    """
    waiting, seen = [made], {made}
    while waiting:
        later = former().get(waiting.pop(), set()) - seen
        waiting += later
        seen |= later
    return now in seen


@functools.cache
def former() -> dict[str, set[str]]:
    """Read which codes a code gave way to; one of old may do so in several stages."""
    found: dict[str, set[str]] = {}
    for section in tomllib.loads(FORMER.read_text(encoding="utf-8")).values():
        for old, new in section.items():
            found.setdefault(old, set()).add(new)
    return found


def _of_method(method: str) -> set[Definition]:
    _look_again()
    path = catalogue.ROOT / f"methods/{method}.py"
    return _reached(_all(path), [path, catalogue.ROOT / "bench/ops.py"])


def _of_bench(stage: str, dataset: str, architecture: str) -> set[Definition]:
    _look_again()
    root, program = catalogue.ROOT, _program(stage)
    prepare, work = (_resolved(program, (name,)) for name in ("prepare", "work"))
    assert prepare and work, f"{program} does not say how to prepare and to work"
    roots = [*prepare, *work]
    network, pictures = root / f"bench/models/{architecture}.py", root / f"bench/data/{dataset}.py"
    for path in (network, root / f"{catalogue.EVALUATIONS}/{stage}.py"):  # found by their names
        roots += _all(path) if path.is_file() else []
    if pictures.is_file():  # network and data set may be gone
        roots += _resolved(pictures, ("INFO",))
    return _reached(roots, [root / room for room in (*ROOMS, RATES)])


def _program(name: str) -> Path:
    from bench.runs.stage import stage  # which asks this module whether a record's code is today's

    return catalogue.ROOT / f"bench/stages/{stage(name).program}.py"


def _reached(roots: Iterable[Definition], rooms: Collection[Path]) -> set[Definition]:
    """Follow names from definition to definition, within some files and folders."""
    waiting, reached = {*roots}, set[Definition]()
    while waiting:
        path, name = waiting.pop()
        if (path, name) in reached or {path, path.parent}.isdisjoint(rooms):
            continue
        reached.add((path, name))
        waiting.add((path, ""))  # runs when the file is imported
        for statement in _module(path).definitions.get(name, ()):
            for words in statement.uses:
                waiting.update(_resolved(path, words))
    return reached


def _all(path: Path) -> list[Definition]:
    return [(path, name) for name in _module(path).definitions]


@functools.cache
def _resolved(path: Path, words: tuple[str, ...]) -> tuple[Definition, ...]:
    """Find what a dotted name means in a file: its own definition, or that of another of ours."""
    module = _module(path)
    found = [(path, words[0])] if words[0] in module.definitions else []
    for origin in module.imports.get(words[0], ()):
        dotted = (*origin.split("."), *words[1:])
        for i in range(len(dotted), 0, -1):  # a.b.c is a file a/b/c.py, or else c of a/b.py
            other = _file(dotted[:i])
            if other is not None:  # of a module as such, anything may be asked
                found += _resolved(other, dotted[i:]) if dotted[i:] else _all(other)
                break
    return tuple(found)


def _combined(reached: set[Definition]) -> str:
    """Hash definitions, whatever their files and order."""
    sources = {
        (path, statement.line): statement.source
        for path, name in reached
        for statement in _module(path).definitions.get(name, ())
    }
    return _hash(sorted(_hash([_code(source)]) for source in sources.values()))


class Statement(NamedTuple):
    """A statement at the top level of a file."""

    line: int
    source: str
    uses: frozenset[tuple[str, ...]]  # dotted names that it reads of its file


class Module(NamedTuple):
    """What a file defines and imports, by name."""

    definitions: dict[str, list[Statement]]
    imports: dict[str, set[str]]  # dotted names


def _look_again() -> None:
    """Forget what files said, because they may have been edited since."""
    for cache in (_module, _file, _resolved):
        cache.cache_clear()


@functools.cache
def _file(dotted: tuple[str, ...]) -> Path | None:
    """Find the file of a module or package of ours; None for others."""
    name = catalogue.ROOT.joinpath(*dotted)
    both = (name.with_suffix(".py"), name / "__init__.py")
    return next((path for path in both if path.is_file()), None)


@functools.cache
def _module(path: Path) -> Module:
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
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not words and not isinstance(node, ast.Import | ast.ImportFrom):
            first = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
            text = "\n".join(lines[first - 1 : node.end_lineno])
            for name in _bound([node]) or {""}:
                statement = Statement(first, text, frozenset(_uses(node)))
                module.definitions.setdefault(name, []).append(statement)
    return module


def _uses(node: ast.AST, hidden: frozenset[str] = frozenset()) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names that a tree reads, without those that a scope inside it binds."""
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
    """Collect the names that statements bind, but for imports, outside the scopes in them."""
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


def _hash(codes: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(codes).encode()).hexdigest()[:12]


@functools.cache
def _code(source: str) -> str:
    """Keep the tokens that matter; not ast.dump, which differs between versions of Python."""
    silent = _silent(source)
    code = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("INDENT", "DEDENT"):
            code.append(kind)
        elif kind not in ("COMMENT", "NL", "ENCODING") and token.start[0] not in silent:
            code.append(kind if kind == "NEWLINE" else token.string)
    return "\0".join(code)


def _silent(source: str) -> set[int]:
    """Find the lines of docstrings and imports, unless code stands beside them."""
    found: set[int] = set()
    lines = source.encode().splitlines()  # columns of syntax trees are bytes
    for node in ast.walk(ast.parse(source)):
        first: list[ast.stmt] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            first = [node]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[: ast.get_docstring(node, clean=False) is not None]
        for words in first:
            end = words.end_lineno or words.lineno
            beside = (
                lines[words.lineno - 1][: words.col_offset]
                + lines[end - 1][words.end_col_offset :].partition(b"#")[0]
            )
            if not beside.strip():
                found |= {*range(words.lineno, end + 1)}
    return found
