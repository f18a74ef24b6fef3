"""The grid: names, settings, products, paths and fingerprints, and the plan that Snakemake asks.

Functions of source files and arguments, but for two: the environment says where data are and which
GPUs there are, and ``Plan.write`` writes. Standard library only, because Snakemake reads it before
every run and, on clusters, in every job.
"""

import ast
import difflib
import functools
import hashlib
import io
import itertools
import json
import os
import shlex
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.locks import visible
from bench.record import AUTOATTACK, COST, TRAIN, Config, read_status, write_json

ROOT = Path(__file__).parents[1]
MEASURE = "measure"  # the rule of all optional evaluations
PROGRAMS = {TRAIN: "train", AUTOATTACK: "attack", COST: "cost"}  # others: evaluate


def names(kind: str) -> list[str]:
    """List a kind, ``methods``, ``bench/data`` or ``bench/models``, by its files."""
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
    return fingerprint(ROOT / f"methods/{method}.py", ROOT / "bench/ops.py")


@functools.cache
def bench_fingerprint(stage: str, dataset: str, architecture: str) -> str:
    """Hash what else a stage's numbers depend on; a change is shown on the page, reruns nothing.

    That is what its program imports of bench/ and evaluation/, with one data set and one network.
    """
    modules = (program(stage), f"bench.data.{dataset}", f"bench.models.{architecture}")
    waiting = {path for name in modules for path in _files(name)}
    reached: set[Path] = set()
    while waiting:
        path = waiting.pop()
        reached.add(path)
        waiting |= _imported(path) - reached
    codes = " ".join(_code(path) for path in sorted(reached))
    return hashlib.sha256(codes.encode()).hexdigest()[:12]


_code = functools.cache(fingerprint)


def program(stage: str) -> str:
    """Name the module that does a stage."""
    return f"bench.{PROGRAMS.get(stage, 'evaluate')}"


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
    path = ROOT / room
    for part in ("", *rest) if room in ("bench", "evaluation") else ():
        path /= part
        both = (path / "__init__.py", path.with_suffix(".py"))
        yield from (file for file in both if file.is_file())


def product(axes: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of one value from each axis."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def run_id(config: Config) -> str:
    """First 12 hex digits of the SHA-256 of the configuration's sorted JSON."""
    text = json.dumps(config.as_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def folder(config: Config) -> str:
    """Where a run lives below results/runs/."""
    return f"{config.dataset}/{config.architecture}/{config.method}/{run_id(config)}"


def data_folder() -> str:
    """Where official files are, unless a program or suite is told otherwise."""
    return os.environ.get("ONESTEP_DATA") or ".data"


def attempt(run: Path, *, again: bool, stage: str = TRAIN) -> int:
    """Number the try that a stage's record is, or, when ``again`` and it failed, should become.

    A rule carries it as a param, so that a failed run is tried again when asked, and only then.
    """
    status, attempt = read_status(run / f"{stage}.json")
    return attempt + (again and status not in ("done", "missing"))


class Plan:
    """What the rules of Snakemake ask: the jobs of a suite, their inputs and their commands.

    Args:
        suite: a ``bench.config.Suite``.
        runs: its resolved runs.
        data_dir: where official files are looked for and prepared ones kept.
        results: folder of the working results.
        cores: that Snakemake may use; None is one.
    """

    python = shlex.quote(sys.executable)  # works without activating the environment
    render = f"{python} -m report.render"

    def __init__(
        self, suite: Any, runs: Iterable[Config], *, data_dir: str,
        results: Path = Path("results"), cores: int | None = None,
    ) -> None:  # fmt: skip
        self.suite, self.data_dir, self.results = suite, data_dir, results
        self.cores = cores or 1
        self.runs = {folder(run): run for run in runs}
        self.code = {name: method_fingerprint(name) for name in suite.methods}
        # strict runs again what failed before, so that it fails before the eyes of who asked
        self.again = suite.retry_failed or suite.strict
        # arguments that may change without rerunning anything
        self.flags = f"--data-dir {shlex.quote(data_dir)} --gpus {suite.gpus}"
        self.flags += " --strict" if suite.strict else ""

    @property
    def records(self) -> list[str]:
        """Files of the whole grid; costs do not depend on the seed and are measured once."""
        first = self.suite.seeds[0]
        stages = [(run, stage) for run in self.runs for stage in (TRAIN, AUTOATTACK)]
        stages += [(run, name) for run in self.runs for name in self.suite.evaluations]
        stages += [(run, COST) for run, config in self.runs.items() if config.seed == first]
        return [f"{self.results}/runs/{run}/{stage}.json" for run, stage in stages]

    @property
    def published(self) -> list[str]:
        """Files of the records in git."""
        return sorted(str(path) for path in (self.results / "published").rglob("*.json"))

    def prepared(self, wildcards: Any) -> str:
        """File of a run's prepared data."""
        return f"{self.data_dir}/prepared/{self.runs[wildcards.run].dataset}.safetensors"

    def job(self, stage: str) -> Callable[[Any], str]:
        """Return a function of wildcards: the arguments that, when they change, rerun a stage."""
        suite = self.suite
        options = {
            TRAIN: {"test-images": suite.test_images, "probe-images": suite.probe_images},
            AUTOATTACK: {
                "images": suite.attack_images,
                "batch": suite.attack_batch,
                # the default is not said, so that finished attacks stay fresh
                "mode": None if suite.attack_mode == "exact" else suite.attack_mode,
            },
            COST: {},
            MEASURE: {"images": suite.attack_images},
        }[stage]

        def arguments(wildcards: Any) -> str:
            config = self.runs[wildcards.run]
            folder = self.results / "runs" / wildcards.run
            name = wildcards.measure if stage == MEASURE else stage
            given = {
                "config": json.dumps(config.as_dict(), sort_keys=True),
                "attempt": attempt(folder, again=self.again, stage=name),
                "code": self.code[config.method],
            }
            given |= {key: value for key, value in options.items() if value is not None}
            return " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in given.items())

        return arguments

    @property
    def threads(self) -> int:
        """Threads of a job: the cores are shared out to the runs, and none is promised twice.

        One is enough where a GPU does the work.
        """
        if self.suite.threads or visible(os.environ):
            return self.suite.threads or 1
        return max(1, self.cores // len(self.runs))

    @property
    def alone(self) -> int:
        """Threads for a job that wants the machine to itself; a GPU it leases anyway."""
        return self.threads if visible(os.environ) else max(self.cores, self.threads)

    def write(self) -> None:
        """Write what is planned, so that the page can tell cells not yet run."""
        runs = [{"folder": name, "config": run.as_dict()} for name, run in self.runs.items()]
        write_json(self.results / "plan.json", {"suite": self.suite.suite, "runs": runs})


@functools.cache
def _assigned(path: str, name: str) -> ast.expr:
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return node.value
    raise LookupError(f"{path} defines no constant {name}")


def _fields(method: str) -> Iterator[Any]:
    path = ROOT / f"methods/{method}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=f"methods/{method}.py")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "Method" for b in node.bases):
            yield from (field for field in node.body if isinstance(field, ast.AnnAssign))


def _literal(field: Any, method: str) -> Any:
    try:
        return ast.literal_eval(field.value)
    except ValueError:
        where = f"methods/{method}.py, line {field.lineno}"
        raise ValueError(
            f"{where}: {field.target.id} = {ast.unparse(field.value)}; a hyperparameter's default "
            "must be a plain number, string or bool, because the grid reads it without torch"
        ) from None


def _docstring_lines(source: str) -> set[int]:
    lines = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                lines.add(first.lineno)
    return lines
