"""Start, check and document methods: python -m bench method new|check NAME, or docs FILE."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.runs.catalogue import ROOT, default_settings, described, unknown
from bench.runs.settings import published_settings
from bench.stages.faults import place_in
from methods import load, names

HEAD = """# Methods

Generated from the files in `methods/` by `make docs`; do not edit. Passes are images forward /
backward through the network per training image and batch. State is that of CIFAR-10 at batch 128.
Defaults are the authors' own settings (`variant = official`); the SORA benchmark's stand below each
box.

| method | family | source | passes | state | settings |
| --- | --- | --- | --- | --- | --- |"""

STUB = '''"""{title}: say in one line what is new about it."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import box, ce, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class {title}(Method):
    """Say in one sentence what the attack or the loss does.

    Source: authors, venue and year, arXiv number, commit of the code.
    Cite: none
    Family: single-step

        eta = U[-eps, eps]
        g   = grad_x CE(f(x + eta), y)
        d   = P(eta + alpha sign(g))

    Shapes: x, eta, g, d (B, C, H, W).
    Cost: 2 forward, 2 backward.
    Differs: what is not as in the source, and why.
    """

    alpha: float = 1.0  # step, in units of eps

    cost = Cost(forward=2, backward=2)

    def step(self, net, batch, state, descend):
        x, loss = batch.x, ce(net, batch.y)
        eta = box(uniform(x, self.eps), x)
        g = grad(loss, at=x + eta)
        d = project(eta + self.alpha * self.eps * g.sign(), x, self.eps)
        descend(loss, at=x + d, g=g)
'''


def new(name: str) -> Path:
    """Write methods/<name>.py, a stub that passes all laws, for its author to change.

    Raises:
        ValueError: the name is taken, or is not in lower snake case.
    """
    path = ROOT / f"methods/{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name!r} cannot be a method's name; use lower snake case: my_method")
    if path.exists():
        raise ValueError(f"{path} exists; choose another name")
    title = "".join(part.capitalize() for part in name.split("_"))
    path.write_text(STUB.format(title=title), encoding="utf-8")
    return path


def check(name: str) -> int:
    """Judge a method: its file, its format, and the laws; return 0 if it is sound.

    Raises:
        ValueError: methods/ lacks a file of this name, or no suite could use it; says why.
    """
    if name not in names():
        raise ValueError(unknown("method", name, names()))
    published_settings(name, "")
    lint, laws = _check_format(f"methods/{name}.py"), _check_laws(name)
    return lint or laws


def _check_format(file: str) -> int:
    ruff = [sys.executable, "-m", "ruff"]
    lint = subprocess.run(
        [*ruff, "check", "--quiet", "--output-format", "concise", file], cwd=ROOT, check=False
    )
    layout = subprocess.run(
        [*ruff, "format", "--check", "--quiet", file], cwd=ROOT, check=False, capture_output=True
    )
    if layout.returncode:
        print(f"{file}: not in the project's format; write: ruff format {file}")
    return lint.returncode or layout.returncode


def _check_laws(name: str) -> int:
    import pytest

    file, verdict = f"methods/{name}.py", Verdict(ROOT / f"methods/{name}.py")
    options = ["-p", "no:cacheprovider", "--tb=no", "--no-summary", "--method", name]
    laws = [str(ROOT / f"tests/{tests}.py") for tests in ("test_methods", "test_architecture")]
    code = int(pytest.main(["--rootdir", str(ROOT), *options, *laws], [verdict]))
    if verdict.broken:
        print(f"{file} breaks {verdict.text()}")
    if code:
        print(f"with tracebacks: python -m pytest tests/test_methods.py --method {name}")
    return code


class Verdict:
    """Collects the laws that a method breaks, as a plugin of pytest.

    A fault that breaks several laws is told once, with its last line in the method's file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken: dict[str, list[str]] = {}  # laws, by what they say
        self.texts: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave the tests that are laws, which take a method's name; called by pytest."""
        items[:] = [item for item in items if "name" in item.fixturenames]

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        """Note a law that is broken; called by pytest after each phase of each test."""
        if call.excinfo is None:
            return
        error = call.excinfo.value
        said = str(error).partition("\n")[0]
        said = said if isinstance(error, AssertionError) else f"{type(error).__name__}: {said}"
        key = re.sub(r"[\d.]+", "", said)  # two laws see the same fault in other numbers
        remedy = item.function.__doc__
        text = place_in(self.path, error) + said + (f"\n  {remedy}" if remedy else "")
        self.texts.setdefault(key, text)
        self.broken.setdefault(key, []).append(_claim(item.originalname))

    def text(self) -> str:
        """Write a paragraph for each fault."""
        count = sum(map(len, self.broken.values()))
        told = [f"{count} law{'s' if count > 1 else ''}:"]
        told += [f"- {_few(laws)}:\n  {self.texts[key]}" for key, laws in self.broken.items()]
        return "\n".join(told)


def _claim(test: str) -> str:
    """Write a test's name as the claim that it is."""
    return test.removeprefix("test_").replace("_", " ")


def _few(laws: Sequence[str]) -> str:
    rest = [f"and {len(laws) - 2} more"] if len(laws) > 3 else laws[2:]
    return "; ".join([*laws[:2], *rest])


def docs() -> str:
    """Describe all methods in Markdown, from their docstrings, fields and state."""
    import inspect

    import torch
    import yaml

    from bench.method import Run

    # the sizes of CIFAR-10 at batch 128; on the meta device, which gives shapes and no memory
    run = Run(torch.device("meta"), (128, 3, 32, 32), (50_000, 3, 40, 40), 30, 50_000, 10)
    lines = [HEAD]
    boxes = []
    paper = (ROOT / "workflows/config/paper.yaml").read_text(encoding="utf-8")
    of_benchmark = yaml.safe_load(paper)["method_args"]
    for name in names():
        kind = load(name)
        method, docstring = kind(), inspect.getdoc(kind) or ""
        state = method.init(run)
        tensors = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state.items())
        size = sum(v.nbytes for v in state.values())
        hyperparameters = ", ".join(f"{k} = {v}" for k, v in default_settings(name).items())
        cells = [
            f"[{name}](#{name})",
            described(name, "Family"),
            described(name, "Source"),
            f"{method.cost.forward} / {method.cost.backward}",
            f"{tensors}: {_bytes(size)}" if tensors else "none",
            hyperparameters or "none",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        boxes += ["", f"## {name}", "", "```", docstring, "```"]
        boxes += [f"\nPublished for {k}: `{v}`" for k, v in kind.presets.items()]
        given = of_benchmark.get(name, {})
        text = f"`{given}`" if given else "the defaults"
        boxes.append(f"\nIn the SORA benchmark (`workflows/config/paper.yaml`): {text}.")
    return "\n".join([*lines, *boxes]) + "\n"


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.2g} {unit}"
    return f"{size} B"


def main(words: Sequence[str] | None = None) -> None:
    """Start a method, check one, or write the document on all."""
    parser = argparse.ArgumentParser(
        prog="python -m bench method", description="Start, check, tell of methods."
    )
    parser.add_argument("what", choices=("new", "check", "docs"))
    parser.add_argument("name", nargs="?", default="")
    args = parser.parse_args(words)
    if not args.name:
        sys.exit("which one? give NAME=my_method")
    try:
        if args.what == "check":
            sys.exit(check(args.name))
        if args.what == "docs":
            Path(args.name).write_text(docs(), encoding="utf-8")
            return
        print(f"{new(args.name)}: write step, then make check-method NAME={args.name}")
    except ValueError as error:
        sys.exit(str(error))
