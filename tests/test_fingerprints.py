"""Fingerprints follow definitions: what makes a number older, and what does not."""

import json
import shutil
import tomllib
from collections import defaultdict

import pytest

from bench.runs import catalogue, definitions, fingerprints
from bench.runs.record import AUTOATTACK, COST, TRAIN

SOURCE = '''"""Words."""

import math
X = 1  # a comment


def f(a):
    """Say."""
    from math import pi
    return a + X
'''
CLIMBING = {"pgd10", "pgd2", "trades"}  # methods that use `pgd`
BOXED = {"fgsm_rs", "n_fgsm", "sora"}  # some that reach `box`, which the standard method does not
# Records that stay older: the curve of pert_align was made by another `cosine`, whose floor under
# gradients was 1e-8, and no run from then has been reproduced.
OLDER = {("train", "39fd0c908fd3"), ("train", "b19d0132a6d9")}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the code, in which files are edited: ``tree(path, old, new)``."""
    for room in ("bench", "evaluation", "methods"):
        shutil.copytree(
            catalogue.ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__")
        )
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    fingerprints.bench_fingerprint.cache_clear()

    def edit(path, old="", new="\nEDITED = True\n"):
        source = (tmp_path / path).read_text()
        assert old in source
        (tmp_path / path).write_text(source.replace(old, new) if old else source + new)
        fingerprints.bench_fingerprint.cache_clear()

    yield edit
    fingerprints.bench_fingerprint.cache_clear()


def codes():
    """The fingerprint of every method, by name."""
    return {name: fingerprints.method_fingerprint(name) for name in catalogue.names("methods")}


def stage(name="train", dataset="cifar10", architecture="preact_resnet18"):
    return fingerprints.bench_fingerprint(name, dataset, architecture)


def stages():
    return [stage(name) for name in ("train", "autoattack", "cost", "pgd50_10")]


def fingerprint(tmp_path, source):
    path = tmp_path / "m.py"
    path.write_text(source)
    return fingerprints.fingerprint(path)


# Tokens.


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Words", "Other words"),
        ("Say.", "Say\n    more."),
        ('    """Say."""\n', ""),
        ("# a comment", "# another"),
        ("a + X", "a  +  X"),
        ("\n\n\ndef", "\n\n\n\n\ndef"),
        ("    return", "  return"),
        ("import math\n", "import cmath  # another\n"),
        ("    from math import pi\n", ""),
    ],
)
def test_words_imports_and_layout_do_not_make_a_run_stale(tmp_path, old, new):
    assert old in SOURCE
    changed = SOURCE.replace(old, new)
    if old == "    return":
        changed = changed.replace('    """Say', '  """Say').replace("    from", "  from")
    assert fingerprint(tmp_path, changed) == fingerprint(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a + X", "a - X"), ("X = 1", "X = 2"), ("f(a)", "f(a, b=0)"), ("X = 1", "X = '1'"),
        ("import math\n", "import math; Y = 1\n"),
    ],
)  # fmt: skip
def test_code_makes_a_run_stale(tmp_path, old, new):
    assert old in SOURCE
    assert fingerprint(tmp_path, SOURCE.replace(old, new)) != fingerprint(tmp_path, SOURCE)


# Methods.


def test_a_new_word_in_ops_changes_no_method(tree):
    before = codes()
    tree("bench/ops.py", new="\n\ndef double(x):\n    return 2 * x\n")
    assert codes() == before


@pytest.mark.parametrize(
    ("path", "old", "new", "changed"),
    [
        (fingerprints.WORDS, "range(steps - 1)", "range(steps)", CLIMBING),
        (fingerprints.THREAT, "clamp(0, 1) - x", "clamp(0, 1) - x + 0", CLIMBING | BOXED),
        (fingerprints.THREAT, "clamp(min=1e-12)", "clamp(min=1e-11)", CLIMBING | BOXED),
        (fingerprints.THREAT, '    """Cut d so', '    """Take d so', set()),
    ],
)
def test_a_word_changes_the_methods_that_reach_it(tree, path, old, new, changed):
    before = codes()
    tree(path, old, new)
    now = codes()
    examples = CLIMBING | BOXED | {"standard"}  # not all: a new method is to touch no list
    assert {name for name in examples if now[name] != before[name]} == changed


def test_all_of_a_methods_own_file_counts(tree):
    before = codes()
    tree("methods/fgsm.py", new="\nif EDITED := True:\n    print()\n")
    assert {name for name, code in codes().items() if code != before[name]} == {"fgsm"}


def test_the_contract_of_methods_is_not_theirs_but_training_s(tree):
    before, trained = codes(), stage()
    tree("bench/method.py", "class Method(", "class Method(object, ")
    assert codes() == before
    assert stage() != trained


def test_a_method_that_cannot_be_parsed_is_a_syntax_error(tree):
    tree("methods/fgsm.py", new="\ndef\n")
    with pytest.raises(SyntaxError):
        fingerprints.method_fingerprint("fgsm")


# Stages.


@pytest.mark.parametrize(
    "path",
    [
        "bench/trainer.py", "bench/data/cifar10.py", "bench/data/digits.py", "bench/models/vit.py",
        "bench/data/_imagenet.py", "bench/tools/campaign.py", "bench/runs/record.py",
        "bench/runs/locks.py", "bench/stages/job.py", "methods/fgsm.py",
    ],
)  # fmt: skip
def test_what_a_run_does_not_reach_makes_it_no_older(tree, path):
    before = stages()
    tree(path, new="\n\ndef unused():\n    return 1\n")
    assert stages() == before


@pytest.mark.parametrize("kind", ["data", "models"])
def test_a_new_data_set_or_network_makes_no_run_older(tree, kind):
    before = stages()
    source = (catalogue.ROOT / f"bench/{kind}/__init__.py").read_text()
    (catalogue.ROOT / f"bench/{kind}/another.py").write_text(source)
    fingerprints.bench_fingerprint.cache_clear()
    assert stages() == before


def test_handling_of_arguments_records_and_locks_makes_no_run_older(tree):
    before = stages()
    tree("bench/stages/running.py", "\ndef main(", "\ndef program(")
    tree("bench/runs/record.py", "def radius", "def radius_of_run")
    tree("bench/runs/locks.py", "def run_lock", "def lock")
    assert stages() == before


@pytest.mark.parametrize(
    ("path", "old", "new", "older"),
    [
        ("bench/steplog.py", "self.row += 1", "self.row += 2", {"train", "cost"}),
        ("bench/runs/protocol.py", "max(int(peak_at", "max(1 + int(peak_at", {"train", "cost"}),
        ("bench/meter.py", "class Flops", "class Flops2", {"cost"}),
        ("evaluation/autoattack.py", "TARGETS = ", "TARGETS = 1 + ", {"autoattack"}),
        (
            "evaluation/clean.py", "@torch.no_grad()\n", "",
            {"train", "autoattack", "cost", "eps_sweep"},
        ),
        ("evaluation/overfitting.py", "FALL = 0.5", "FALL = 0.4", {"train"}),
        ("evaluation/sweep.py", "1.25 *", "1.5 *", {"eps_sweep"}),
        (
            "bench/models/preact_resnet18.py", "WIDTH = 64", "WIDTH = 65",
            {"train", "autoattack", "cost", "eps_sweep"},
        ),
        (
            "bench/data/cifar10.py", "mean=(0.4914", "mean=(0.4915",
            {"train", "autoattack", "cost", "eps_sweep"},
        ),
    ],
)  # fmt: skip
def test_what_a_stage_reaches_makes_it_older(tree, path, old, new, older):
    names = ("train", "autoattack", "cost", "eps_sweep")
    before = {name: stage(name) for name in names}
    tree(path, old, new)
    assert {name for name in names if stage(name) != before[name]} == older


@pytest.mark.parametrize("function", ["prepare", "work"])
def test_a_stage_without_its_two_functions_is_refused(tree, function):
    tree("bench/stages/train.py", f"def {function}(", "def other(")
    with pytest.raises(AssertionError, match="must define both prepare and work"):
        stage()


@pytest.mark.parametrize("dataset", ["digits", "gone"])
def test_a_data_set_that_is_gone_is_no_error(tree, dataset):
    assert stage(dataset=dataset, architecture="gone")
    assert stage(dataset="digits") != stage(dataset="gone")


def test_a_moved_definition_is_the_same_code(tree):
    before = stages()
    clean = catalogue.ROOT / "evaluation/clean.py"
    words, score = clean.read_text().split("def score")
    clean.write_text(words + "\nfrom evaluation.scores import score\n")
    head = "from torch import Tensor\nfrom bench.runs.record import Score\n\n\ndef score"
    (catalogue.ROOT / "evaluation/scores.py").write_text(head + score)
    fingerprints.bench_fingerprint.cache_clear()
    assert stages() == before
    tree("evaluation/scores.py", "100 *", "10 *")
    assert stages()[0] != before[0]


def test_a_renamed_file_is_the_same_code(tree):
    before = stages()
    (catalogue.ROOT / "evaluation/overfitting.py").rename(catalogue.ROOT / "evaluation/co.py")
    tree("bench/stages/train.py", "evaluation.overfitting", "evaluation.co")
    assert stages() == before
    tree("evaluation/co.py", "FALL = 0.5", "FALL = 0.4")
    assert stages()[0] != before[0]


# Names.


@pytest.fixture
def reached(tmp_path, monkeypatch):
    """Names that ``root`` of a file reaches in it and in bench/b.py."""
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/__init__.py").touch()
    (tmp_path / "bench/b.py").write_text("one = 1\ntwo = 2\n\ndef three():\n    return one\n")

    def names(source):
        path = tmp_path / "bench/a.py"
        path.write_text(source)
        found = definitions.follow([(path, "root")], [tmp_path / "bench"])
        return {name for _, name in found} - {"", "root"}

    return names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from bench.b import three\nroot = three", {"three", "one"}),
        ("from bench import b\ndef root(): return b.two", {"two"}),
        ("import bench.b\nroot = bench.b.two", {"two"}),
        ("import bench.b as c\nroot = c.two", {"two"}),
        ("def root():\n    from bench.b import two as t\n    return t", {"two"}),
        ("from bench import b\nroot = list(b)", {"one", "two", "three"}),
        ("k = 1\nroot: k = 2", {"k"}),
        ("k = 1\n@k\ndef root(): pass", {"k"}),
        ("k = 1\ndef root(k): return k", set()),
        ("k = 1\ndef root(k=k): return k", {"k"}),
        ("k = 1\nroot = [k for k in range(2)]", set()),
        ("k = 1\ndef f():\n    k = 2\n    return k\nroot = f", {"f"}),
        ("k = 1\nclass root:\n    def f(self, k): return k\n    def g(self): return k", {"k"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    two = 1\nroot = two", set()),
    ],
)
def test_names_are_followed_as_python_does(reached, source, names):
    assert reached(source) == names


def test_statements_that_run_at_import_count(tree):
    before = stage()
    tree("evaluation/clean.py", new="\ntorch.set_flush_denormal(True)\n")
    assert stage() != before


# Checkpoints.


def test_a_checkpoint_is_of_whole_files(tree):
    def now():
        return fingerprints.checkpoint_fingerprint("train", "fgsm", "cifar10", "preact_resnet18")

    before = now()
    tree("bench/models/vit.py")
    assert now() == before
    for path in ("bench/trainer.py", "bench/ops.py", "bench/checkpoint.py", "methods/fgsm.py"):
        tree(path, new="\n\ndef unused():\n    return 1\n")
        assert now() != before, path
        before = now()


# Former codes.


def test_former_codes_are_followed_forwards(monkeypatch):
    table = {"a": {"b"}, "b": {"c", "d"}, "x": {"y"}, "y": {"x"}}
    monkeypatch.setattr(fingerprints, "former_codes", lambda: table)
    assert fingerprints.equivalent("z", "z")
    assert fingerprints.equivalent("a", "b")
    assert fingerprints.equivalent("a", "d")
    assert not fingerprints.equivalent("b", "a")
    assert not fingerprints.equivalent("c", "a")
    assert not fingerprints.equivalent("a", "z")
    assert fingerprints.equivalent("x", "y")
    assert not fingerprints.equivalent("x", "z")  # and comes to an end


def test_published_records_are_of_the_code_of_now():
    """If this fails and the numbers are the same: paste what it prints, by former_codes.toml."""
    table = tomllib.loads(fingerprints.FORMER.read_text())
    lacking = defaultdict(set)
    for path in sorted((catalogue.ROOT / "results/published").rglob("*.json")):
        record = json.loads(path.read_text())
        if "origin" not in record:
            continue
        run, origin, step = record["config"], record["origin"], record["stage"]
        room = step if step in (TRAIN, AUTOATTACK, COST) else "evaluation"
        made = {
            "method": (origin["method_code"], fingerprints.method_fingerprint(run["method"])),
            room: (origin["bench_code"], stage(step, run["dataset"], run["architecture"])),
        }
        for section, (old, now) in made.items():
            if (section, old) not in OLDER and not fingerprints.equivalent(old, now):
                known = table.get(section, {})
                while old in known:  # the newest code that is known to give these numbers
                    old = known[old]
                lacking[section].add(f'{old} = "{now}"')
    lines = [line for name in lacking for line in (f"[{name}]", *sorted(lacking[name]), "")]
    assert not lines, "\n".join(["records are of other code; former_codes.toml lacks:", *lines])
