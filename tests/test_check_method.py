"""check-method judges one file, in sentences; planning refuses a broken one in one."""

import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bench.runs.catalogue import ROOT
from bench.tools.method import STUB, Verdict

ROOMS = ("bench", "evaluation", "methods", "report", "tests", "workflows", "pyproject.toml")
SOUND = STUB.format(title="Mine")
WITH_TORCH = ("\nfrom bench.method", "\nimport torch\n\nfrom bench.method")
STEP, DESCEND = "    def step(", "descend(loss, at=x + d, g=g)"
INIT = "    def init(self, run):\n        return State({})\n\n" + STEP
CANVAS = INIT.format("d=torch.zeros(run.canvas, device=run.device)")

# Each with the words of the stub that it changes.
MINE = {
    "sound": [],
    "colleague": [(STEP, "    def step(,")],
    "colleagues": [("import box", "import boxes, box")],
    "no_type": [("alpha: float = 1.0", "alpha = 1.25")],
    "not_frozen": [("frozen=True, ", "")],
    "canvas": [(STEP, CANVAS), ("Cost, Method", "Cost, Method, State"), WITH_TORCH],
    "nan": [(DESCEND, "descend(lambda z: loss(z) / 0, at=x + d, g=g)")],
    "far": [(DESCEND, "descend(loss, at=(x + (3 + x.mean()) * d).clamp(0, 1), g=g)")],
    "random": [
        ("from dataclasses", "import random\nfrom dataclasses"),
        ("self.alpha * self.eps", "random.random() * self.eps"),
    ],
    "cost": [("cost = Cost(forward=2, backward=2)", "cost = Cost(forward=1, backward=1)")],
    "raises": [(DESCEND, "x.nonsense()\n        " + DESCEND)],
    "numpy": [WITH_TORCH, ("import torch\n", "import numpy as np\n"), ("1.0  #", "1.0  # np")],
    "cite": [("Cite: none", "Cite: nobody2020"), ("Family: single-step", "Family: odd")],
    "words": [("    Cite: none\n    Family: single-step\n", "")],
    "unnamed": [("Mine: say", "Say")],
    "style": [
        ("x, loss = batch.x, ce(net, batch.y)", "x,  loss = batch.x, ce(net, batch.y); y = 1")
    ],
    "divides": [("@dataclass", "THIRD = 1 / 0\n\n\n@dataclass")],
}
ALL_FITS = "7 laws:\n- learns on colour and grey images; learns without batchnorm; and 5 more:\n"
PROGRAM = """
import json, runpy, sys
for name, command, *words in json.loads(sys.argv[1]):
    print(f"== {name} ==", flush=True)
    sys.argv = ["bench", command, *words]
    try:
        runpy.run_module("bench", run_name="__main__")
        print("exit 0", flush=True)
    except SystemExit as end:
        print(f"exit {end.code}", flush=True)
"""


def mine(name):
    source = SOUND
    for old, new in MINE[name]:
        assert old in source
        source = source.replace(old, new)
    return source


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What the programs say of methods with a fault each, by name; one process for all of them."""
    folder = tmp_path_factory.mktemp("project")
    for room in ROOMS:
        if (ROOT / room).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / room, folder / room, ignore=ignored)
        else:
            shutil.copy(ROOT / room, folder / room)
    for name in MINE:
        (folder / f"methods/{name}.py").write_text(mine(name))
    smoke = (folder / "workflows/config/smoke.yaml").read_text()
    calls = [[name, "method", "check", name] for name in MINE if "colleague" not in name]
    for name in ("colleague", "divides"):
        suite = folder / f"workflows/config/{name}.yaml"
        suite.write_text(smoke.replace("fgsm", name, 1))
        calls.append([f"plan {name}", "plan", "--suite", str(suite)])
        calls.append([f"campaign {name}", "campaign", "--minutes", "1", "--suite", str(suite)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(calls)], cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    parts = done.stdout.split("== ")[1:]
    assert len(parts) == len(calls), done.stdout
    return dict(part.split(" ==\n", 1) for part in parts)


def test_the_stub_of_a_new_method_keeps_all_laws_whatever_other_files_hold(said):
    assert "exit 0" in said["sound"]
    assert said["sound"].count("\n") <= 3


def test_laws_alone_are_counted(said):
    """Tests of the laws with a seeded fault have methods' words in their names, too."""
    files = ("tests/test_methods.py", "tests/test_architecture.py")
    source = "".join((ROOT / file).read_text() for file in files)
    law = r"^def test_\w+\((?:tiny, )?name(?:, monkeypatch)?\)"
    laws = len(re.findall(law, source, re.MULTILINE))
    assert f"{laws} passed" in said["sound"]
    assert f"1 failed, {laws - 1} passed" in said["canvas"]


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (
            "no_type",
            "methods/no_type.py, line 26: alpha = 1.25 has no type, so no suite can set it",
        ),
        ("not_frozen", "methods/not_frozen.py, line 10: Mine is no frozen dataclass"),
    ],
)
def test_a_file_that_no_suite_could_use_is_told_in_one_line(said, which, message):
    assert said[which].startswith(f"exit {message}")
    assert said[which].count("\n") == 1


@pytest.mark.parametrize(
    ("which", "laws", "texts"),
    [
        (
            "canvas",
            "1 law:\n- without a canvas it trains or refuses in init:\n",
            ["methods/canvas.py, line 33: TypeError: zeros() received", "ValueError in init"],
        ),
        (
            "nan",
            ALL_FITS,
            ["Diverged: loss is inf in epoch 1 of 2"],
        ),
        ("far", ALL_FITS, ["Mine gave descend images 3.", "declares reach = 1.0"]),
        (
            "random",
            "2 laws:\n- a step that is replayed is the step:\n",
            ["- same seed gives same bits:\n", "Draw by torch's functions alone"],
        ),
        (
            "cost",
            "1 law:\n- cost is counted:\n",
            ["declared (1, 1) forward, backward; counted (2.0, 2.0)", "Write in cost how many"],
        ),
        ("raises", "14 laws:\n", ["methods/raises.py, line 35: AttributeError: 'Tensor' object"]),
        ("numpy", "1 law:\n- imports torch and the contract alone:\n", ["it imports numpy"]),
        (
            "cite",
            "2 laws:\n- family is a known one:\n",
            [
                "Family: odd; choose from standard, s",
                "Cite: nobody2020; no such entry is in report/references.bib",
            ],
        ),
        (
            "words",
            "2 laws:\n- family is a known one:\n",
            ["Family: is missing;", "Cite: is missing;"],
        ),
        ("unnamed", "1 law:\n- first line begins with the name:\n", ["names nothing"]),
    ],
)
def test_a_broken_law_is_told_in_a_paragraph(said, which, laws, texts):
    assert f"methods/{which}.py breaks {laws}" in said[which]
    for text in texts:
        assert text in said[which]
    assert "exit 1" in said[which]
    assert said[which].count("\n") <= 13
    assert "Traceback" not in said[which]


def test_the_files_style_is_judged_too(said):
    assert "methods/style.py:31:45: E702 Multiple statements on one line" in said["style"]
    assert (
        "methods/style.py: not in the project's format; write: ruff format methods" in said["style"]
    )
    assert "exit 1" in said["style"]
    assert "breaks" not in said["style"]
    assert said["style"].count("\n") <= 8


@pytest.mark.parametrize("command", ["plan", "campaign"])
@pytest.mark.parametrize(
    ("which", "message"),
    [
        (
            "colleague",
            "methods/colleague.py, line 30: this is no Python: invalid syntax\n",
        ),
        ("divides", "methods/divides.py, line 9: ZeroDivisionError: division by zero\n"),
    ],
)
def test_planning_refuses_a_broken_method_in_a_sentence(said, command, which, message):
    assert said[f"{command} {which}"] == f"exit {message}"


def test_tests_that_cannot_be_read_are_named_with_the_cause():
    verdict = Verdict(ROOT / "evaluation/attacks/mine.py", fixture="attack")
    trace = "tests/test_attack_mine.py:7: in <module>\nE   ImportError: cannot import name 'Mine'"
    report = SimpleNamespace(failed=True, nodeid="tests/test_attack_mine.py", longrepr=trace)
    verdict.pytest_collectreport(report)
    said = "tests/test_attack_mine.py: ImportError: cannot import name 'Mine'"
    assert said in verdict.text()
    verdict.pytest_collectreport(SimpleNamespace(failed=False))
    assert verdict.text().startswith("1 law:")
