"""Hyperparameters: where their values come from, and the ones that are refused."""

import json

import pytest
from made_up import digits_suite

from bench.runs import catalogue
from bench.runs.record import ConfigError
from bench.runs.run import expand, parse_run
from bench.runs.settings import check_settings


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("alpha: list[int] = 3", "list[int] is no type of a setting: float, int, bool, str"),
        ("alpha: float = 2 / 255", "alpha"),
        ("alpha: float = 'x'", "mine.alpha = 'x' is no float"),
    ],
)
def test_a_methods_own_impossible_setting_is_told_before_anything_runs(
    tmp_path, monkeypatch, source, message
):
    (tmp_path / "methods").mkdir()
    stub = f"class Mine(Method):\n    {source}\n"
    (tmp_path / "methods/mine.py").write_text(stub)
    chosen = digits_suite(methods=["fgsm"]).model_copy(update={"methods": ["mine"]})
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ConfigError) as caught:
        expand(chosen)
    assert str(caught.value).startswith("methods/mine.py: ")
    assert message in str(caught.value)


def test_a_setting_may_be_none(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "annotation", lambda *_: "int | None")
    monkeypatch.setattr(catalogue, "default_settings", lambda method: {"n": None})
    assert check_settings("mine", {"n": None}) == {"n": None}
    assert check_settings("mine", {"n": "3"}) == {"n": 3}


def test_presets_are_taken_by_suites_and_by_hand(monkeypatch):
    monkeypatch.setattr(catalogue, "presets", lambda method: {"digits": {"tau": 0.5}})
    (run,) = expand(digits_suite(methods=["sora"]))
    assert run.settings["tau"] == 0.5
    assert parse_run(json.dumps(run.as_dict() | {"settings": {}})) == run
    (run,) = expand(digits_suite(methods=["sora"], method_args={"sora": {"tau": 0.1}}))
    assert run.settings["tau"] == 0.1


def test_a_default_that_is_no_literal_is_refused_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/odd.py").write_text("class Odd(Method):\n    k: float = 1 / 3\n")
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"methods/odd.py, line 2: k = 1 / 3; .* plain number"):
        catalogue.default_settings("odd")


def test_a_method_derived_from_another_is_refused_at_planning(tmp_path, monkeypatch):
    """Its settings, and changes of the other, would go unseen."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/pgd3.py").write_text("class PGD3(PGD10):\n    steps: int = 3\n")
    chosen = digits_suite(methods=["fgsm"]).model_copy(update={"methods": ["pgd3"]})
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"derived from Method by that .*: class PGD3\(PGD10\)"):
        expand(chosen)


def test_near_names_are_offered_and_otherwise_all():
    assert (
        catalogue.unknown("key", "sed", ["seeds", "eps"])
        == "unknown key 'sed': did you mean seeds?"
    )
    assert catalogue.unknown("key", "zzz", ["a", "b"]) == "unknown key 'zzz': choose from a, b"
