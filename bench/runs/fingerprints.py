"""Fingerprints of code: hashes that tell whether the code of now makes a record's numbers.

They hash definitions instead of files: a function, class or constant counts where it is reached,
whichever file it stands in, and only what is reached counts.
"""

import ast
import functools
import hashlib
import io
import tokenize
import tomllib
from collections.abc import Iterable
from pathlib import Path

from bench.runs import catalogue
from bench.runs.definitions import (
    Definition,
    definitions_in,
    follow,
    read_module,
    resolve,
)

ROOMS = (
    *("bench", "bench/data", "bench/models", "bench/stages", "evaluation"),
    *catalogue.EVALUATIONS.values(),
)
WORDS, THREAT = "bench/ops.py", "bench/threat.py"  # what methods are written in
RATES = "bench/runs/protocol.py"  # the only arithmetic in bench/runs: learning rates
FORMER = Path(__file__).with_name("former_codes.toml")


def fingerprint(*paths: Path) -> str:
    """Hash the code of whole files; imports, comments, docstrings and layout are left out."""
    return _hash(_code(path.read_text(encoding="utf-8")) for path in paths)


@catalogue.read_once()
def method_fingerprint(method: str) -> str:
    """Hash what a method computes: all of its file, and the words of the bench it reaches.

    Raises:
        SyntaxError: its file cannot be parsed.
    """
    return _combined(_of_method(method))


@functools.cache
@catalogue.read_once()
def bench_fingerprint(stage: str, dataset: str, architecture: str) -> str:
    """Hash the code beside the method that a stage's numbers depend on.

    It consists of the definitions that the stage's `prepare` and `work` reach, all of the network's
    file, and the data set's INFO; pixels have a checksum of their own. Of bench/runs only the
    learning rates count: the rest handles files or is data of the record. When this code changes,
    the page marks the record as older; only a changed method makes Snakemake run it again.
    """
    return _combined(_of_bench(stage, dataset, architecture))


@catalogue.read_once()
def checkpoint_fingerprint(stage: str, method: str, dataset: str, architecture: str) -> str:
    """Hash all of every file that a stage reaches: any of it may read what a checkpoint holds."""
    reached = _of_method(method) | _of_bench(stage, dataset, architecture)
    return fingerprint(*sorted({path for path, _ in reached}))


def equivalent(old: str, now: str) -> bool:
    """Say whether code with these fingerprints makes the same numbers.

    It does if they are equal, or if lines of former_codes.toml lead from the old one to the new.
    """
    waiting, seen = [old], {old}
    while waiting:
        later = former_codes().get(waiting.pop(), set()) - seen
        waiting += later
        seen |= later
    return now in seen


@functools.cache
def former_codes() -> dict[str, set[str]]:
    """Read the fingerprints that replaced each former one; several, where stages shared it."""
    replaced_by: dict[str, set[str]] = {}
    for section in tomllib.loads(FORMER.read_text(encoding="utf-8")).values():
        for old, new in section.items():
            replaced_by.setdefault(old, set()).add(new)
    return replaced_by


def _of_method(method: str) -> set[Definition]:
    path, words, threat = (
        catalogue.ROOT / name for name in (f"methods/{method}.py", WORDS, THREAT)
    )
    roots = definitions_in(path)
    if any(isinstance(node, ast.Attribute) and node.attr == "threat"
           for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):  # fmt: skip
        roots.append((threat, "Threat"))  # behind self, where no name leads to it
    return follow(roots, [path, words, threat])


def _of_bench(stage: str, dataset: str, architecture: str) -> set[Definition]:
    root, program = catalogue.ROOT, _program(stage)
    prepare, work = (resolve(program, (name,)) for name in ("prepare", "work"))
    assert prepare and work, f"{program} must define both prepare and work"
    roots = [*prepare, *work]
    network, pictures = root / f"bench/models/{architecture}.py", root / f"bench/data/{dataset}.py"
    for path in (network, *_of_evaluation(stage)):  # found by their names
        roots += definitions_in(path) if path.is_file() else []
    if pictures.is_file():  # network and data set may be gone
        roots += resolve(pictures, ("INFO",))
    return follow(roots, [root / room for room in (*ROOMS, RATES)])


def _of_evaluation(name: str) -> list[Path]:
    from bench.runs import evaluations, stage  # at the top this would be circular

    measured = stage.stage(name).program == "evaluate"
    return [catalogue.ROOT / evaluations.read(name).path] if measured else []


def _program(name: str) -> Path:
    from bench.runs.stage import stage  # at the top this would be circular

    return catalogue.ROOT / f"bench/stages/{stage(name).program}.py"


def _combined(definitions: set[Definition]) -> str:
    """Hash definitions so that their order and the files they stand in make no difference."""
    sources = {
        (path, statement.line): statement.source
        for path, name in definitions
        for statement in read_module(path).definitions.get(name, ())
    }
    return _hash(sorted(_hash([_code(source)]) for source in sources.values()))


def _hash(codes: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(codes).encode()).hexdigest()[:12]


@functools.cache
def _code(source: str) -> str:
    """Join the tokens of source that count; ast.dump would differ between versions of Python."""
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
    """Find the lines that hold only docstrings and imports."""
    found: set[int] = set()
    lines = source.encode().splitlines()  # columns of syntax trees are bytes
    for node in ast.walk(ast.parse(source)):
        first: list[ast.stmt] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            first = [node]
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[: ast.get_docstring(node, clean=False) is not None]
        for statement in first:
            end = statement.end_lineno or statement.lineno
            beside = (
                lines[statement.lineno - 1][: statement.col_offset]
                + lines[end - 1][statement.end_col_offset :].partition(b"#")[0]
            )
            if not beside.strip():
                found |= {*range(statement.lineno, end + 1)}
    return found
