"""Start and check methods, attacks, diagnostics: python -m bench method new|check NAME"""

import argparse
import keyword
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs import catalogue
from bench.runs.catalogue import EVALUATIONS, ROOT, unknown
from bench.runs.ending import place_in, plural
from bench.runs.settings import published_settings

LAWS_BY = {"method": "name"}  # fixtures of the laws; the others are called as what they try
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


STUB_ATTACK = '''"""{title}: say in one line what is new about it."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box, ce, grad
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class {title}(Attack):
    """Say in one sentence what the attack does.

    Source: authors, venue and year, arXiv number, commit of the code.
    Cite: none
    Meaning: % right under one step of {{alpha}} eps from a random start

        d = U(ball of eps)
        d = P(d + alpha eps steepest(grad_x CE(f(x + d), y)))

    Shapes: x, d (B, C, H, W).
    Cost: 1 forward, 1 backward.
    Differs: what is not as in the source, and why.
    """

    norms = ("Linf", "L2")

    alpha: float = 1.0  # step, in units of eps

    cost = Cost(forward=1, backward=1)

    def perturb(self, net, x, y, threat, draw):
        d = box(draw(threat.uniform, x), x)
        g = grad(ce(net, y), at=x + d)
        return x + threat.project(d + self.alpha * threat.eps * threat.steepest(g), x)
'''

STUB_DIAGNOSTIC = '''"""{title}: say in one line what it tells."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import ce, grad
from evaluation.diagnostic import Diagnostic


@dataclass(frozen=True, kw_only=True)
class {title}(Diagnostic):
    """Say in one sentence what is measured.

    Source: authors, venue and year, arXiv number, commit of the code.
    Cite: none
    Meaning: mean L1 norm of the loss gradient at the image

        value = |grad_x CE(f(x), y)|_1

    Shapes: x (B, C, H, W); value (B,).
    Cost: 1 forward, 1 backward.
    Differs: what is not as in the source, and why.
    """

    values = {{"{name}": ("loss per pixel range", 0, None)}}  # unit, least, most

    cost = Cost(forward=1, backward=1)

    def measure(self, net, x, y, threat, draw):
        g = len(x) * grad(ce(net, y), at=x)  # of each image's own loss; ce is their mean
        return {{"{name}": g.flatten(1).norm(p=1, dim=1)}}
'''

TEST = '''"""{title} where its result is known."""

import torch
from torch import nn

from bench.threat import Threat
from evaluation.{kind}s.{name} import {title}
from evaluation.draw import Draw


class Affine(nn.Module):
    """Two classes whose margin is <w, x>, w = (3, -2, 1, -0.5)."""

    def forward(self, x):
        z = x.flatten(1) @ torch.tensor([3.0, -2.0, 1.0, -0.5])
        return torch.stack([z, -z], 1)


def test_on_an_affine_network():
    x, y = torch.full((8, 1, 2, 2), 0.5), torch.zeros(8, dtype=torch.int64)
    {call}
    raise AssertionError("write here what it must be")
'''
CALLS = {
    "attack": "at = {title}().perturb(Affine(), x, y, Threat('Linf', 0.1), Draw(0, 0, 8))\n"
    "    assert (at - x).abs().max() <= 0.1 + 1e-6",
    "diagnostic": "found = {title}().measure(Affine(), x, y, Threat('Linf', 0.1), Draw(0, 0, 8))\n"
    "    assert found['{name}'].shape == (8,)",
}


class Room(NamedTuple):
    """A folder of files that people add, with what starts one and what judges it."""

    folder: str
    stub: str
    laws: tuple[str, ...]  # files of tests/
    box: str  # the function that is to be written


ROOMS = {
    "method": Room("methods", STUB, ("test_methods", "test_architecture"), "step"),
    "attack": Room("evaluation/attacks", STUB_ATTACK, ("test_attacks",), "perturb"),
    "diagnostic": Room("evaluation/diagnostics", STUB_DIAGNOSTIC, ("test_diagnostics",), "measure"),
}


def new(name: str, kind: str = "method") -> Path:
    """Write a stub that passes all laws, for its author to change; of attacks with a test.

    Raises:
        ValueError: the name is taken, is not in lower snake case, or is a word of Python.
    """
    room = ROOMS[kind]
    path = ROOT / f"{room.folder}/{name}.py"
    if not re.fullmatch(r"[a-z][a-z0-9_]{,39}", name):
        raise ValueError(
            f"no {kind} can be named {name!r}; use lower snake case, 40 characters at most, as "
            f"my_{kind}"
        )
    title = "".join(part.capitalize() for part in name.split("_"))
    if words := {name, title} & {*keyword.kwlist, kind.capitalize()}:
        raise ValueError(
            f"no {kind} can be named {name!r}, because {words.pop()} is a word of Python or of the "
            f"contract; choose another, as my_{kind}"
        )
    # an attack and a diagnostic of one name would be one evaluation
    beside = EVALUATIONS.values() if kind in EVALUATIONS else ()
    for taken in (path, *(ROOT / f"{folder}/{name}.py" for folder in beside)):
        if taken.exists():
            raise ValueError(f"{taken} exists; choose another name")
    path.write_text(room.stub.format(title=title, name=name), encoding="utf-8")
    if kind in CALLS:
        call = CALLS[kind].format(title=title, name=name).replace("'", '"')
        text = TEST.format(title=title, name=name, kind=kind, call=call)
        (ROOT / f"tests/test_{kind}_{name}.py").write_text(text, encoding="utf-8")
    return path


def check(name: str, kind: str = "method") -> int:
    """Judge a method, attack or diagnostic: its file, its format, the laws; return 0 if sound.

    Raises:
        ValueError: the folder lacks a file of this name, or no suite could use it; says why.
    """
    room = ROOMS[kind]
    if name not in (known := catalogue.names(room.folder)):
        raise ValueError(unknown(kind, name, known))
    published_settings(name, "", room.folder)
    files = [f"{room.folder}/{name}.py"]
    laws = [f"tests/{tests}.py" for tests in room.laws]
    if (own := f"tests/test_{kind}_{name}.py") and (ROOT / own).is_file():
        files, laws = [*files, own], [*laws, own]
    lint = [_check_format(file) for file in files]
    return max(*lint, _check_laws(name, kind, laws))


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


def _check_laws(name: str, kind: str, laws: Sequence[str]) -> int:
    import pytest

    file = f"{ROOMS[kind].folder}/{name}.py"
    verdict = Verdict(ROOT / file, fixture=LAWS_BY.get(kind, kind))
    options = ["-p", "no:cacheprovider", "--tb=no", "--no-summary", f"--{kind}", name]
    paths = [str(ROOT / path) for path in laws]
    code = int(pytest.main(["--rootdir", str(ROOT), *options, *paths], [verdict]))
    if verdict.broken:
        print(f"{file} breaks {verdict.text()}")
    if code:
        print(f"with tracebacks: python -m pytest {' '.join(laws)} --{kind} {name}")
    return code


class Verdict:
    """Collects the laws that a method, attack or diagnostic breaks, as a plugin of pytest.

    A fault that breaks several laws is told once, with its last line in the method's file.
    """

    def __init__(self, path: Path, fixture: str = "name") -> None:
        self.path = path
        self.fixture = fixture  # that holds its name, in the tests that are laws
        self.broken: dict[str, list[str]] = {}  # laws, by what they say
        self.texts: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave the laws, which take the file's name, and its own tests; called by pytest."""
        own = f"{self.path.parent.name.rstrip('s')}_{self.path.stem}"
        items[:] = [
            item for item in items
            if self.fixture in item.fixturenames or item.path.stem == f"test_{own}"
        ]  # fmt: skip

    def pytest_collectreport(self, report: Any) -> None:
        """Note tests that cannot be read; called by pytest after each file."""
        if not report.failed:
            return
        lines = str(report.longrepr).splitlines()
        errors = [line[1:].strip() for line in lines if line.startswith("E ")]
        self.texts[report.nodeid] = f"{report.nodeid}: {errors[-1] if errors else lines[-1]}"
        self.broken[report.nodeid] = ["its tests can be read"]

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
        told = [f"{plural(sum(map(len, self.broken.values())), 'law')}:"]
        told += [f"- {_few(laws)}:\n  {self.texts[key]}" for key, laws in self.broken.items()]
        return "\n".join(told)


def _claim(test: str) -> str:
    """Write a test's name as the claim that it is."""
    return test.removeprefix("test_").replace("_", " ")


def _few(laws: Sequence[str]) -> str:
    rest = [f"and {len(laws) - 2} more"] if len(laws) > 3 else laws[2:]
    return "; ".join([*laws[:2], *rest])


def main(words: Sequence[str] | None = None) -> None:
    """Start a method, attack or diagnostic, or check one."""
    parser = argparse.ArgumentParser(
        prog="python -m bench method", description="Start or check a method, attack or diagnostic."
    )
    parser.add_argument("what", choices=("new", "check"))
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--kind", choices=ROOMS, default="method")
    args = parser.parse_args(words)
    if not args.name:
        sys.exit(f"which one? give NAME=my_{args.kind}")
    try:
        if args.what == "check":
            sys.exit(check(args.name, args.kind))
        box, then = ROOMS[args.kind].box, f"make check-{args.kind} NAME={args.name}"
        also = f" and tests/test_{args.kind}_{args.name}.py" if args.kind in CALLS else ""
        print(f"{new(args.name, args.kind)}: write {box}{also}, then {then}")
    except (ValueError, OSError) as error:
        sys.exit(str(error))
