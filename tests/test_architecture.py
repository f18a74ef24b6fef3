"""Who may import whom (design: arrows point one way), read off the syntax trees."""

import ast
import sys

import pytest

from workflows.grid import ROOT

METHOD = {"torch", "bench.method", "bench.ops", "dataclasses", "typing", "math"}
# the only place where a method meets the bench
PROGRAMS = {"train", "attack", "evaluate", "cost", "estimate", "measure", "campaign", "reproduce",
            "job"}  # fmt: skip
ALLOWED = {
    "workflows/grid.py": {"bench.record", "bench.locks"},
    "bench/record.py": set(),
    "bench/locks.py": set(),
    "bench/protocol.py": set(),
    "bench/config.py": {"pydantic", "yaml", "bench.record", "bench.protocol", "workflows.grid"},
    "evaluation": {"torch", "bench", "evaluation", "pyautoattack", "workflows.grid"},
    "report": {"bench.record", "workflows.grid", "evaluation.binomial", "evaluation.masking",
               "report", "jinja2", "markupsafe", "pandas", "numpy", "vl_convert"},
}  # fmt: skip
# heavy, and needed only inside the function that reads or downloads
INSIDE_ONLY = {"torchvision", "sklearn", "medmnist", "timm", "pyautoattack"}


def imports(path, *, top_only=False):
    """Every module that a file imports, outside the standard library."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            if node.module in ("bench", "report", "workflows"):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
                found.discard(node.module)
    return {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}


def within(names, allowed):
    return {n for n in names if not any(n == a or n.startswith(a + ".") for a in allowed)}


def files(room):
    path = ROOT / room
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("room", ALLOWED)
def test_imports_point_one_way(room):
    for path in files(room):
        assert not within(imports(path), ALLOWED[room]), f"{path.name} imports too much"


def test_methods_import_torch_and_the_contract_alone():
    for path in (ROOT / "methods").glob("[!_]*.py"):
        assert not within(imports(path), METHOD), f"{path.name} imports too much"


def test_the_bench_knows_no_method_and_no_evaluation():
    programs = {ROOT / f"bench/{name}.py" for name in PROGRAMS}
    for path in set(files("bench")) - programs:
        wrong = {n for n in imports(path) if n.partition(".")[0] in ("methods", "evaluation")}
        assert not wrong, f"{path.name} imports {wrong}"


def test_heavy_libraries_are_imported_where_they_are_used():
    for path in (*files("bench"), *files("evaluation"), *files("methods")):
        top = {name.partition(".")[0] for name in imports(path, top_only=True)}
        assert not top & INSIDE_ONLY, f"{path.name} imports {top & INSIDE_ONLY} at the top"


def test_what_snakemake_parses_imports_no_torch():
    import subprocess

    code = "import sys; from bench import config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_training_jobs_import_no_library_they_do_not_need():
    """torchvision alone would add a second to every job."""
    import subprocess

    heavy = ("torchvision", "sklearn", "pandas", "vl_convert", "snakemake", "pyautoattack")
    code = (
        "import sys, bench.train, bench.trainer, bench.batches, bench.data, evaluation.pgd; "
        f"assert not {heavy!r} & sys.modules.keys()"
    ).replace(f"{heavy!r} &", f"set({heavy!r}) &")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("import pandas", {"pandas"}),
        ("from methods.fgsm import FGSM", {"methods.fgsm"}),
        ("def f():\n    from evaluation import pgd", {"evaluation"}),
        ("from bench.trainer import Trainer", {"bench.trainer"}),
        ("from bench import trainer", {"bench.trainer"}),
        ("import torch.nn.functional as F", set()),
    ],
)
def test_the_guard_sees_what_a_method_may_not(tmp_path, source, wrong):
    path = tmp_path / "method.py"
    path.write_text(source)
    assert within(imports(path), METHOD) == wrong
