"""Suites: their keys, and the mistakes that people make in them."""

import json
import math

import pytest
import yaml
from projects import SUITES

from bench.runs import catalogue
from bench.runs.record import ConfigError
from bench.runs.run import expand
from bench.runs.suite import Suite, parse_suite, read_suite, read_yaml
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


def test_commas_make_a_list():
    given = suite(seeds="0,1, 2", methods="sora,fgsm", keep_at="0,3")
    assert (given.seeds, given.methods, given.keep_at) == ([0, 1, 2], ["sora", "fgsm"], [0, 3])


@pytest.mark.parametrize("given", [8, 8.0, "8", "8/255", "8.0 / 255", ["8/255"], [8]])
def test_a_radius_counts_in_levels_however_it_is_written(given):
    assert suite(eps=given).eps == [8]


def test_radii_over_255_are_a_list_as_others_are():
    assert suite(eps=["8/255", "16/255"]).eps == suite(eps="8/255,16").eps == [8, 16]


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
        ({"method_args": {"sora": {"tau": []}}}, "sora.tau is empty; give a value, or leave it"),
        ({"method_args": {"sora": {"tau": {}}}}, "sora.tau is empty; give a value, or leave it"),
        ({"method_args": {"sora": {"tau": {"digits": []}}}}, "sora.tau is empty; give a value"),
        ({"method_args": {"sora": {"tau": {"digits": {"svhn": 1}}}}}, "sora.tau = {'svhn': 1} is"),
        (
            {"method_args": {"sora": {"tau": {"svhn": 1, "digit": 2}}}},
            "sora.tau: unknown data set 'digit': did you mean digits?",
        ),
        ({"method_args": {"sora": {"taw": {"digit": 2}}}}, "'taw': did you mean tau?"),
        ({"method_args": {"sora": {"tau": {3: 2}}}}, "sora.tau: unknown data set '3'"),
        ({"method_args": {"sora": [{"tau": 1}, {"taw": 1}]}}, "'taw': did you mean tau?"),
        ({"method_args": {"sora": []}}, "sora has an empty list; give a mapping, or leave it out"),
        ({"method_args": {"sora": {"tau": math.inf}}}, "sora.tau = inf is no float"),
        ({"method_args": {"pgd10": {"steps": -1}}}, "pgd10.steps = -1 is no int"),
        ({"method_args": {"pgd10": {"steps": True}}}, "pgd10.steps = True is no int"),
        ({"method_args": {"sora": {"tau": True}}}, "sora.tau = True is no float"),
        ({"seeds": [True]}, "seeds.0: true is no number"),
        ({"eps": True}, "eps.0: true is no number"),
        ({"eps_l2": [True]}, "eps_l2.0: true is no number"),
        ({"width": True}, "width: true is no number"),
        ({"probe_images": True}, "probe_images: true is no number"),
        ({"keep_at": [False]}, "keep_at.0: false is no number"),
        ({"sweep_radii": [0, True]}, "sweep_radii.1: true is no number"),
        ({"gpu_memory_gb": True}, "gpu_memory_gb: true is no number"),
        ({"eps": ["8/256"]}, "eps.0: counts in 1/255, and '8/256' does not; write 8 or 8/255"),
        ({"eps": ["-8/255"]}, "eps.0: counts in 1/255, and '-8/255' does not"),
        ({"width": 2**31}, "width: Input should be less than 2147483648"),
        ({"method_args": {"pgd10": {"steps": 2**31}}}, "is no int: Input should be less than 2"),
        ({"method_args": {"pgd10": {"alpha": 10**400}}}, "000 ... is no float: Input should be a"),
        ({"evaluations": [1]}, "evaluations.0: Input should be a valid string, given 1"),
        ({"data_dir": "a\nb"}, "data_dir: 'a\\nb' has '\\n', which Snakemake takes for its own"),
        ({"data_dir": "/a/{x}"}, "data_dir: '/a/{x}' has '{', '}', which Snakemake takes for its"),
        ({"eps": "0.031"}, "counts in 1/255, and 0.031 is less than half of that; meant 7.9?"),
        ({"eps": "0/255"}, "eps.0: Input should be greater than 0, given 0"),
        ({"eps": ["255/255"]}, "eps.0: Input should be less than 255"),
        ({"eps": [254.99999999]}, "eps.0: Input should be less than 255"),
        ({"eps": [10**400]}, "eps.0: "),
        ({"eps": [51, 51.0000001]}, "[51.0, 51.0] names something twice"),
        ({"eps": ["8/255", 8]}, "[8.0, 8.0] names something twice"),
        ({"eps_l2": [0.5, 0.50000001]}, "[0.5, 0.5] names something twice"),
        ({"seeds": "0,1,1"}, "[0, 1, 1] names something twice"),
        ({"seeds": "0,,1"}, "seeds.1: Input should be a valid integer"),
        ({"seeds": "0-4"}, "seeds: 0-4 is no list; write 0,1,2,3,4"),
        ({"methods": "FGSM-RS"}, "unknown method 'FGSM-RS': did you mean fgsm_rs?"),
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
    assert text.startswith("suite 'default' has 4 mistakes:\n")
    assert all(word in text for word in ("zerogrd", "eps.0", "epz", "taw"))


def test_mistakes_name_the_suite_they_are_of(tmp_path):
    with pytest.raises(ConfigError, match=r"^the default suite, as changed here, has 1 mistake:"):
        parse_suite({"epss": 8})
    with pytest.raises(ConfigError, match="is a folder; give a suite's name, or its"):
        read_suite(tmp_path)


def test_a_missing_key_of_a_suite_is_named():
    with pytest.raises(ConfigError, match="key 'eps' is missing"):
        parse_suite({key: value for key, value in DEFAULT.items() if key != "eps"})


LEVELS = "\n".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]" for i in range(1, 12))
MERGED = "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no mapping of keys to values"),
        ("[1, 2]", "holds no mapping of keys to values"),
        ("a: 1\nb: {c: 1,\n  c: 2}", "line 3: this is no YAML: the key 'c' stands twice; leave"),
        ("a: 010", "line 1: this is no YAML: 010 is octal, for 8; leave out zeros in front"),
        ("a: [1", "line 1: this is no YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("a: 1\n\tb: 2", "line 2: this is no YAML: while scanning for the next token, found"),
        ("a: 1\n---\nb: 2", "line 2: this is no YAML: expected a single document in the stream"),
        ("a: *b", "line 1: this is no YAML: found undefined alias 'b'"),
        ("a: !!python/object:os.system {}", "could not determine a constructor for the tag"),
        ("a: \x01", "this is no YAML: unacceptable character #x0001"),
        ("a: 2020-13-45", "this is no YAML: month must be in 1..12"),
        (f"a: {'1' * 5000}", "this is no YAML: Exceeds the limit"),
        ("? [a]\n: b", "this is no YAML: while constructing a mapping, found unhashable key"),
        ("a: " + "[" * 40_000, "is nested too deep to be read"),
        ("a: " + "x" * 200_000, "has more than 100,000 characters, which nobody writes by hand"),
        ("a: " + "[" * 60 + "]" * 60, "is nested too deep to be read"),
        ("a: &a [*a]", "is nested too deep to be read"),
        (f"k0: &k0 [1]\n{LEVELS}", "holds more than 100,000 values, which nobody writes by hand"),
        (f"m0: &m0 {{a: 1}}\n{MERGED}", "line 2: this is no YAML: << is not read; write its keys"),
        ("a: \xff".encode("latin-1"), "is no text in UTF-8"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_is_no_persons_is_refused_in_a_sentence(tmp_path, text, message):
    path = tmp_path / "suite.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert message in said
    assert "\n" not in said
    assert len(said) < 400


def test_a_suite_of_snakemakes_own_reading_is_bounded_as_well():
    seeds = [0]
    for _ in range(12):
        seeds = [seeds] * 9
    with pytest.raises(ConfigError, match="the suite holds more than 100,000 values"):
        suite(seeds=seeds)


def test_schema_files_are_those_of_the_types():
    """If this fails: make schema."""
    written = yaml.safe_load((catalogue.ROOT / "workflows/config/schema.yaml").read_text())
    assert written == schema.suite_schema()
    written = json.loads((catalogue.ROOT / "results/schema.json").read_text())
    assert written == schema.record_schema()
