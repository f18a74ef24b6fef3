"""Start, check and document methods: python -m bench method new|check NAME, or docs FILE."""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.runs.catalogue import ROOT, default_settings, unknown
from methods import load, names

HEAD = """# Methods

Generated from the files in `methods/` by `make docs`; do not edit. Passes are images forward /
backward through the network per training image and batch. State is that of CIFAR-10 at batch 128.
Defaults are the authors' own settings (`variant = official`); the SORA benchmark's stand below each
box.

| method | source | passes | state | settings |
| --- | --- | --- | --- | --- |"""

STUB = '''"""{title}: say in one line what is new about it."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import box, ce, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class {title}(Method):
    """Say in one sentence what the attack or the loss does.

    Source: authors, venue, arXiv, commit of the code.

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
    """Run the laws of tests/test_methods.py on a method; return pytest's exit code.

    Raises:
        ValueError: methods/ lacks a file of this name.
    """
    if name not in names():
        raise ValueError(unknown("method", name, names()))
    command = [sys.executable, "-m", "pytest", "--tb=short", "--method", name]
    laws = [*command, "tests/test_methods.py", "-k", f"{name}]"]
    imports = [*command, "tests/test_architecture.py", "-k", "methods_import"]
    results = [subprocess.run(tests, cwd=ROOT, check=False).returncode for tests in (laws, imports)]
    return max(results)


def docs() -> str:
    """Describe all methods in Markdown, from their docstrings, fields and state."""
    import inspect

    import torch
    import yaml

    from bench.method import Run

    # the sizes of CIFAR-10 at batch 128; on the meta device, which gives shapes and no memory
    run = Run(torch.device("meta"), (128, 3, 32, 32), (50_000, 3, 40, 40), 30)
    lines = [HEAD]
    boxes = []
    paper = (ROOT / "workflows/config/paper.yaml").read_text(encoding="utf-8")
    of_benchmark = yaml.safe_load(paper)["method_args"]
    for name in names():
        kind = load(name)
        method, docstring = kind(), inspect.getdoc(kind) or ""
        source = re.search(r"^Source: (.+?)\n\n", docstring, re.DOTALL | re.MULTILINE)
        assert source, f"methods/{name}.py names no source"
        state = method.init(run)
        tensors = ", ".join(f"{k} {tuple(v.shape)}" for k, v in state.items())
        size = sum(v.nbytes for v in state.values())
        hyperparameters = ", ".join(f"{k} = {v}" for k, v in default_settings(name).items())
        cells = [
            f"[{name}](#{name})",
            " ".join(source[1].split()),
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
