"""Start and check methods: python -m methods new my_method; python -m methods check my_method."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from methods import names
from workflows.grid import ROOT, unknown

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
    """Write methods/<name>.py, a method that keeps all laws, to be changed.

    Raises:
        ValueError: the name is taken, or no name for a file.
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
    """Try a method against the laws; returns pytest's exit code.

    Raises:
        ValueError: there is no such method.
    """
    if name not in names():
        raise ValueError(unknown("method", name, names()))
    command = [sys.executable, "-m", "pytest", "tests/test_methods.py", "--method", name]
    return subprocess.run([*command, "-k", f"{name}]"], cwd=ROOT, check=False).returncode


def main() -> None:
    """Start or check a method."""
    parser = argparse.ArgumentParser(prog="python -m methods", description="Start, check methods.")
    parser.add_argument("what", choices=("new", "check"))
    parser.add_argument("name", nargs="?", default="")
    args = parser.parse_args()
    if not args.name:
        sys.exit("which one? give NAME=my_method")
    try:
        if args.what == "check":
            sys.exit(check(args.name))
        print(f"{new(args.name)}: write step, then make check-method NAME={args.name}")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
