"""Suites: their keys, and the mistakes that people make in them."""

import json
import math

import pytest
import yaml
from projects import SUITES

from bench.runs import catalogue
from bench.runs.record import ConfigError
from bench.runs.run import expand
from bench.runs.suite import Suite, parse_suite, read_yaml
from bench.tools import schema

DEFAULT = read_yaml(catalogue.ROOT / "workflows/config/default.yaml")


def suite(**changes):
    return parse_suite(DEFAULT | changes)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_is_sound_whole_and_commented(path):
    raw = read_yaml(path)
    expand(parse_suite(raw))
    assert raw["suite"] == path.stem
    needed = {name for name, field in Suite.model_fields.items() if field.is_required()}
    assert needed <= raw.keys()
    assert path.read_text().startswith("# ")


def test_one_name_is_a_list_of_one():
    assert suite(methods="sora").methods == ["sora"]


def test_without_a_suite_the_default_is_meant():
    assert parse_suite({"methods": ["sora"]}).suite == "default"
    assert parse_suite({}).datasets == ["mnist_5k"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["zerogrd"]}, "unknown method 'zerogrd': did you mean zerograd?"),
        ({"datasets": ["cifar"]}, "unknown data set 'cifar': did you mean cifar10 or cifar100?"),
        ({"architectures": ["zzz"]}, "unknown architecture 'zzz': choose from preact_resnet18"),
        ({"protocol": "sora_paper"}, "unknown protocol 'sora_paper': did you mean sora-paper?"),
        ({"epz": 3}, "unknown key 'epz': did you mean eps?"),
        (
            {"protocol_for": {"vitt": "sora-vit", "vit": "sora"}},
            "unknown protocol 'sora': did you mean",
        ),
        (
            {"protocol_for": {"vitt": "sora-vit"}},
            "unknown method, architecture or data set 'vitt': did you mean vit?",
        ),
        ({"eps": [0.031]}, "counts in 1/255, and 0.031 is less than half of that; meant 7.9?"),
        ({"eps": [0]}, "eps.0: Input should be greater than 0, given 0"),
        ({"eps": [-8]}, "eps.0: Input should be greater than 0, given -8"),
        ({"eps": ["abc"]}, "eps.0: Input should be a valid number"),
        ({"norms": ["L1"]}, "norms.0: Input should be 'Linf' or 'L2', given 'L1'"),
        ({"eps_l2": [128]}, "counts in ranges of a pixel, and 128 is too far; meant 0.502?"),
        ({"eps_l2": [0]}, "eps_l2.0: Input should be greater than 0, given 0"),
        ({"seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0"),
        ({"seeds": [1, 1]}, "names something twice"),
        ({"methods": []}, "methods: Value should have at least 1 item"),
        ({"width": 0}, "width: Input should be greater than 0"),
        ({"gpus": 2}, "a run uses one GPU, not 2; leave the key out"),
        ({"method_args": {"sora": {"taw": 1}}}, "unknown setting of sora 'taw': did you mean tau?"),
        ({"method_args": {"sora": {"tau": "x"}}}, "sora.tau = 'x' is no float"),
        ({"method_args": {"sora": {"rule": "cod"}}}, "Input should be 'code' or 'paper'"),
        ({"method_args": {"sora": {"tau": [0.1, "x"]}}}, "sora.tau = 'x' is no float"),
        ({"method_args": {"sora": {"tau": [0.1, 0.1]}}}, "names something twice"),
        ({"method_args": {"sora": {"tau": []}}}, "sora.tau is an empty list"),
        ({"method_args": {"sora": [{"tau": 1}, {"taw": 1}]}}, "'taw': did you mean tau?"),
        ({"method_args": {"sora": []}}, "sora has an empty list; give a mapping, or leave it out"),
        ({"method_args": {"sora": {"tau": math.inf}}}, "sora.tau = inf is no float"),
        ({"method_args": {"pgd10": {"steps": -1}}}, "pgd10.steps = -1 is no int"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(change, message):
    with pytest.raises(ConfigError) as caught:
        suite(**change)
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        suite(methods=["zerogrd"], eps=[0], epz=1, method_args={"sora": {"taw": 1}})
    text = str(caught.value)
    assert "4 mistake(s)" in text
    assert all(word in text for word in ("zerogrd", "eps.0", "epz", "taw"))


def test_a_missing_key_of_a_suite_is_named():
    with pytest.raises(ConfigError, match="key 'eps' is missing"):
        parse_suite({key: value for key, value in DEFAULT.items() if key != "eps"})


def test_schema_files_are_those_of_the_types():
    """If this fails: make schema."""
    written = yaml.safe_load((catalogue.ROOT / "workflows/config/schema.yaml").read_text())
    assert written == schema.suite_schema()
    written = json.loads((catalogue.ROOT / "results/schema.json").read_text())
    assert written == schema.record_schema()
