"""Hyperparameters: where their values come from, and the ones that are refused."""

import json
import shutil

import pytest
from made_up import digits_suite, done
from tables import collected, rows_of

from bench.runs import catalogue
from bench.runs.definitions import check_names
from bench.runs.record import ConfigError
from bench.runs.run import expand, parse_run
from bench.runs.settings import check_settings, check_variants, published_settings
from report.page import details


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write methods/mine.py into a folder that stands for the project's, and plan a suite of it."""

    def plan(source):
        (tmp_path / "methods").mkdir()
        (tmp_path / "methods/mine.py").write_text(source)
        chosen = digits_suite(methods=["fgsm"]).model_copy(update={"methods": ["mine"]})
        monkeypatch.setattr(catalogue, "ROOT", tmp_path)
        with pytest.raises(ConfigError) as caught:
            expand(chosen)
        return str(caught.value)

    return plan


FIELD = """from dataclasses import dataclass
from bench.method import Method
@dataclass(frozen=True, kw_only=True)
class Mine(Method):
    {}
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("alpha: list[int] = 3", "methods/mine.py: mine.alpha: list[int] is no type of a setting"),
        ("alpha: float = 'x'", "methods/mine.py: mine.alpha = 'x' is no float"),
        (
            "alpha: float = 2 / 255",
            "line 5: alpha = 2 / 255; a hyperparameter's default must be a plain number, string or",
        ),
        (
            "alpha = 1.25",
            (
                "methods/mine.py, line 5: alpha = 1.25 has no type, so no suite can set it; write "
                "alpha: float = 1.25 for a hyperparameter, or move a constant above the class"
            ),
        ),
        ("alpha = steps = 2", "line 5: steps = 2 has no type, so no suite can set it"),
        ("mode, k = 'a', 3", "line 5: mode = ('a', 3) has no type"),
        ("alpha: float", "line 5: alpha has no default; give it the published value: alpha: float"),
        ("eps: float = 0.5", "methods/mine.py, line 5: eps is set by the run; leave it out"),
        ("norm: str = 'L2'", "methods/mine.py, line 5: norm is set by the run; leave it out"),
        ("norms = NORMS", "line 5: norms = NORMS; it must name them, as ('Linf', 'L2'), because"),
        ("norms = 'L2'", "line 5: norms = 'L2'; it must name them"),
        ("graph: bool = False", "line 5: graph is a word of the contract, no hyperparameter"),
    ],
)
def test_a_methods_own_impossible_setting_is_told_before_anything_runs(write, source, message):
    assert message in write(FIELD.format(source))


def test_words_of_the_contract_and_class_variables_are_no_settings(tmp_path, monkeypatch):
    lines = ("cost = 1", "graph = False", "presets = {}", "K: ClassVar[int] = 3")
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/mine.py").write_text(FIELD.format("\n    ".join(lines)))
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    assert catalogue.default_settings("mine") == {}


OTHER = "\n\n@dataclass(frozen=True)\nclass Other({}):\n    pass\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\ndef f(:\n", "methods/mine.py, line 2: this is no Python: invalid syntax"),
        (
            "class PGD3(PGD10):\n    steps: int = 3\n",
            (
                "methods/mine.py must define a class derived from Method by that name, or settings "
                "and changes of another base would go unseen; its classes: class PGD3(PGD10) in "
                "line 1"
            ),
        ),
        ("X = 1\n", "would go unseen; its classes: none"),
        (
            FIELD.format("k: int = 1") + OTHER.format("Method"),
            (
                "methods/mine.py must define exactly one method, and defines class Mine(Method) in "
                "line 4 and class Other(Method) in line 9; give each a file of its own"
            ),
        ),
        (FIELD.format("k: int = 1") + OTHER.format("Mine"), "class Other(Mine) in line 9; give"),
        (
            FIELD.format("k: int = 1").replace("frozen=True, ", ""),
            (
                "methods/mine.py, line 4: Mine is no frozen dataclass, so that a step could change "
                "its settings; write @dataclass(frozen=True, kw_only=True) above the class"
            ),
        ),
        (
            "import torchattack\n" + FIELD.format("k: int = 1"),
            "methods/mine.py, line 1: there is no module 'torchattack' to import",
        ),
        (
            "from bench.ops import projekt\n" + FIELD.format("k: int = 1"),
            "methods/mine.py, line 1: unknown name of bench.ops 'projekt': did you mean project?",
        ),
        ("import bench.words\n" + FIELD.format("k: int = 1"), "line 1: there is no module 'bench."),
        (
            FIELD.format("cost = Cost(2, 2)"),
            (
                "methods/mine.py, line 5: 'Cost' is neither defined nor imported; write: from "
                "bench.method import Cost"
            ),
        ),
        (
            FIELD.format("def f(self):\n        return nought"),
            "line 6: 'nought' is neither defined",
        ),
    ],
)
def test_a_file_that_no_suite_could_use_is_refused_with_its_line(write, tmp_path, source, message):
    shutil.copytree(catalogue.ROOT / "bench", tmp_path / "bench")
    assert message in write(source)


def test_names_of_all_scopes_are_known(tmp_path, monkeypatch):
    source = """
import torch.nn.functional as F

def f(a, *rest, **more):
    global G
    G = [b for b in rest if (c := b)]
    try:
        import json
    except (ValueError, OSError) as error:
        print(error, json, c)
    match a:
        case {"k": v, **others}:
            return v, others
    return lambda x: (x, F, __file__, __name__, G, more, H)

class Mine:
    k = 1
    m = k
    def g(self):
        return __class__, self.__k
    @property
    def p(self): return 1
    @p.setter
    def p(self, value): pass

H = 1
"""
    path = tmp_path / "mine.py"
    path.write_text(source)
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    check_names(path)
    path.write_text(source + "print(k)\n")
    with pytest.raises(
        ValueError, match=r"mine.py, line \d+: 'k' is neither defined nor imported$"
    ):
        check_names(path)


def test_a_broken_file_is_told_once_whatever_the_suite_sets(write):
    write("def (")
    with pytest.raises(ValueError, match="no Python") as caught:
        check_variants("mine", {"alpha": 1, "beta": 2})
    assert str(caught.value).count("no Python") == 1


def test_a_setting_may_be_none(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "annotation", lambda *_: "int | None")
    monkeypatch.setattr(catalogue, "default_settings", lambda *_: {"n": None})
    assert check_settings("mine", {"n": None}) == {"n": None}
    assert check_settings("mine", {"n": "3"}) == {"n": 3}


def test_atas_has_the_sora_benchmarks_c_where_no_other_is_published():
    found = {data: published_settings("atas", data)["c"] for data in catalogue.names("bench/data")}
    assert (found.pop("pathmnist"), found.pop("tissuemnist")) == (0.07, 0.10)
    assert {*found.values()} == {0.01}  # the authors'


def test_presets_are_taken_by_suites_and_by_hand(monkeypatch):
    monkeypatch.setattr(catalogue, "presets", lambda *_: {"digits": {"tau": 0.5}})
    (run,) = expand(digits_suite(methods=["sora"]))
    assert run.settings["tau"] == 0.5
    assert parse_run(json.dumps(run.as_dict() | {"settings": {}})) == run
    (run,) = expand(digits_suite(methods=["sora"], method_args={"sora": {"tau": 0.1}}))
    assert run.settings["tau"] == 0.1


ADDED = """alpha: float = 1.0
    corner: bool = False
    steps: int = 3
    {} = ("corner", "steps")"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Plan a suite of methods/mine.py, whose class has these lines."""
    shutil.copytree(catalogue.ROOT / "bench", tmp_path / "bench")
    (tmp_path / "methods").mkdir()
    chosen = digits_suite(methods=["fgsm"])
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)

    def plan(lines, **settings):
        source = FIELD.replace("from bench", "from typing import ClassVar\nfrom bench")
        (tmp_path / "methods/mine.py").write_text(source.format(lines))
        given = {"mine": check_variants("mine", settings)}
        return expand(chosen.model_copy(update={"methods": ["mine"], "method_args": given}))

    return plan


@pytest.mark.parametrize("word", ["added", "added: ClassVar[tuple[str, ...]]"])
def test_a_setting_added_later_leaves_earlier_ids_alone(mine, word):
    (before,) = mine("alpha: float = 1.0")
    after, *others = mine(ADDED.format(word), corner=[False, True], steps=[3, 4])
    assert after == before
    assert after.run_id == before.run_id
    assert len({run.run_id for run in (after, *others)}) == 4
    assert others[-1].settings == {"alpha": 1.0, "corner": True, "steps": 4}
    for run in (after, *others):
        assert parse_run(json.dumps(run.as_dict())) == run
    by_hand = after.as_dict() | {"settings": {"corner": False, "alpha": 1.0}}
    assert parse_run(json.dumps(by_hand)) == before
    assert catalogue.full_settings("mine", after.settings) == {
        "alpha": 1.0, "corner": False, "steps": 3,
    }  # fmt: skip


def test_runs_of_before_and_after_an_added_setting_read_back_and_are_told_apart(mine, tmp_path):
    for run in mine(ADDED.format("added"), corner=[False, True]):
        done(tmp_path / "runs", run, aa=10.0)
    assert {*rows_of(tmp_path)} == {"mine (corner=False)", "mine (corner=True)"}
    shown = details(collected(tmp_path), tmp_path)["configs"]
    assert sorted(one["settings"]["corner"] for one in shown) == [False, True]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("alpha: float = 1.0\n    added = ('corner',)", "added names ['corner'], no hyperparam"),
        ("alpha: float = 1.0\n    added = A", "line 7: added must be written out, because"),
        (ADDED.format("added") + "\n    presets: ClassVar[dict] = {'digits': {'steps': 4}}",
         "its preset for digits sets steps, which it says was added later"),
    ],
)  # fmt: skip
def test_what_cannot_have_been_added_later_is_refused(mine, lines, message):
    with pytest.raises(ConfigError) as caught:
        mine(lines)
    assert message in str(caught.value)


def test_near_names_are_offered_and_otherwise_all():
    assert (
        catalogue.unknown("key", "sed", ["seeds", "eps"])
        == "unknown key 'sed': did you mean seeds?"
    )
    assert catalogue.unknown("key", "zzz", ["a", "b"]) == "unknown key 'zzz': choose from a, b"
