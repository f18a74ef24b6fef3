"""Who may import whom (design: arrows point one way), read off the syntax trees."""

import ast
import sys

import pytest

from bench.runs.catalogue import ROOT

METHOD = {"torch", "bench.method", "bench.ops"}
# Rooms, each with those that it may import from. A file belongs to the longest name that fits.
ROOMS = {
    "bench.runs": (),
    "bench": ("bench.runs",),
    "methods": ("bench",),
    "evaluation": ("bench", "bench.runs"),
    "workflows": ("bench.runs",),
    "bench.stages": ("bench", "bench.runs", "methods", "evaluation"),
    "bench.tools": ("bench", "bench.runs", "methods", "evaluation", "bench.stages", "workflows"),
    "report": ("bench.runs", "evaluation"),
}
OURS = {room.partition(".")[0] for room in ROOMS}
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
            source = "." * node.level + (node.module or "")
            found.add(source)
            if source.partition(".")[0] in OURS:  # a name may be a module
                found |= {f"{source}.{alias.name}" for alias in node.names}
                found.discard(source)
    return {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}


def within(names, allowed):
    return {n for n in names if not any(n == a or n.startswith(a + ".") for a in allowed)}


def room_of(name):
    """The room that a module is in; None for libraries."""
    fitting = [room for room in ROOMS if f"{name}.".startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


def files(room):
    """Files of a room, without those of rooms inside it."""
    inside = sorted((ROOT / room.replace(".", "/")).rglob("*.py"))
    return [path for path in inside if room_of(module(path)) == room]


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    assert files(room)
    for path in files(room):
        reached = {room_of(name) for name in imports(path)} - {None, room}
        assert reached <= {*ROOMS[room]}, f"{module(path)} imports from {reached}"


def test_imports_torch_and_the_contract_alone(name):
    """A method may import torch, bench.method, bench.ops and Python's own library."""
    other = within(imports(ROOT / f"methods/{name}.py"), METHOD)
    assert not other, f"it imports {', '.join(sorted(other))}"


def test_heavy_libraries_are_imported_where_they_are_used():
    for path in (path for room in ROOMS for path in files(room)):
        top = {name.partition(".")[0] for name in imports(path, top_only=True)}
        assert not top & INSIDE_ONLY, f"{path.name} imports {top & INSIDE_ONLY} at the top"


def test_what_snakemake_parses_imports_no_torch():
    import subprocess

    parsed = [module(path) for room in ("bench.runs", "workflows") for path in files(room)]
    code = f"import sys, {', '.join(parsed)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("stage", ["train", "attack", "evaluate", "cost"])
def test_a_job_sets_its_threads_and_takes_its_gpu_before_it_imports_torch(stage):
    """Nor does one whose record is there already pay two seconds for it."""
    import subprocess

    code = (
        f"import sys, bench.stages.{stage}, bench.stages.running; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_training_jobs_import_no_library_they_do_not_need():
    """torchvision alone would add a second to every job."""
    import subprocess

    heavy = ("torchvision", "sklearn", "pandas", "vl_convert", "snakemake", "pyautoattack")
    code = (
        "import sys, bench.stages.train, bench.trainer, bench.batches, bench.data, evaluation.pgd; "
        f"assert not {heavy!r} & sys.modules.keys()"
    ).replace(f"{heavy!r} &", f"set({heavy!r}) &")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("import pandas", {"pandas"}),
        ("from methods.fgsm import FGSM", {"methods.fgsm.FGSM"}),
        ("def f():\n    from evaluation import pgd", {"evaluation.pgd"}),
        ("from bench.trainer import Trainer", {"bench.trainer.Trainer"}),
        ("from bench import trainer", {"bench.trainer"}),
        ("from . import fgsm", {"."}),
        ("import torch.nn.functional as F", set()),
    ],
)
def test_the_guard_sees_what_a_method_may_not(tmp_path, source, wrong):
    path = tmp_path / "method.py"
    path.write_text(source)
    assert within(imports(path), METHOD) == wrong
