"""Names, settings, run ids, fingerprints, suites; and the mistakes people make in them."""

import dataclasses
import json
import math

import pytest
import yaml

from bench.runs import catalogue
from bench.runs import suite as config
from bench.runs.files import write_bytes, write_json
from bench.runs.record import Config, Record, build, radius
from bench.runs.suite import ConfigError
from bench.tools import schema
from workflows import plan

MINE = {"name": "mine", "epochs": 2, "batch": 8, "lr_start": 0.0, "lr_peak": 0.1}
DEFAULT = config.load(catalogue.ROOT / "workflows/config/default.yaml")
SUITES = sorted((catalogue.ROOT / "workflows/config").glob("*.yaml"))
SUITES = [path for path in SUITES if path.stem != "schema"]


def suite(**changes):
    return config.suite(DEFAULT | changes)


def ids(**changes):
    return [run.run_id for run in config.runs(suite(**changes))]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_is_sound_whole_and_commented(path):
    raw = config.load(path)
    config.runs(config.suite(raw))
    assert raw["suite"] == path.stem
    needed = {name for name, field in config.Suite.model_fields.items() if field.is_required()}
    assert needed <= raw.keys()
    assert path.read_text().startswith("# ")


def test_the_grid_is_the_product_of_its_axes():
    runs = config.runs(suite(methods=["fgsm", "sora"], seeds=[0, 1, 2], eps=[8, 16]))
    assert len(runs) == 2 * 3 * 2
    assert len({run.folder for run in runs}) == 12


def test_a_run_id_is_the_configuration_and_nothing_else():
    base = ids()
    assert ids(attack_images=7, threads=2, data_dir="/elsewhere", strict=True) == base
    for change in (
        {"eps": [8]},
        {"seeds": [1]},
        {"precision": "bf16"},
        {"width": 8},
        {"train_images": 100},
        {"protocol": "smoke"},
    ):
        assert not set(ids(**change)) & set(base), change


def test_without_radii_every_data_set_has_its_own():
    runs = config.runs(suite(datasets=["cifar10", "tissuemnist", "digits"], eps=None))
    usual = {(run.dataset, run.eps) for run in runs}
    assert usual == {("cifar10", "8/255"), ("tissuemnist", "3/255"), ("digits", "51/255")}


def test_an_architectures_protocol_comes_before_a_data_sets():
    runs = config.runs(
        suite(
            datasets=["cifar10", "tiny_imagenet"],
            architectures=["small_cnn", "vit"],
            methods=["fgsm"],
            protocol_for={"vit": "sora-vit", "tiny_imagenet": "sora-cosine"},
        )
    )
    names = {(run.dataset, run.architecture): run.protocol["name"] for run in runs}
    assert names == {
        ("cifar10", "small_cnn"): "digits-60",
        ("cifar10", "vit"): "sora-vit",
        ("tiny_imagenet", "small_cnn"): "sora-cosine",
        ("tiny_imagenet", "vit"): "sora-vit",
    }


def test_published_records_keep_their_run_ids():
    """Whatever is added to configurations and protocols, a finished run stays the same run."""
    records = [
        Record.read(path) for path in (catalogue.ROOT / "results/published").rglob("train.json")
    ]
    assert records
    for record in records:
        assert record.config.run_id == record.run
    named = {run.as_dict()["seed"]: run.run_id for run in config.runs(suite(methods=["fgsm"]))}
    assert named[0] in {record.run for record in records}


def test_both_rules_of_sora_have_runs_of_their_own():
    one = ids(methods=["sora"])
    assert ids(methods=["sora"], method_args={"sora": {"rule": "paper"}}) != one
    assert ids(methods=["sora"], method_args={"sora": {"rule": "code"}}) == one


def test_whole_numbers_and_floats_of_the_same_value_are_the_same_run():
    two = {"method_args": {"sora": {"alpha_max": 2}}, "methods": ["sora"]}
    assert ids(**two) == ids(methods=["sora"])
    assert ids(eps=[51.0]) == ids(eps=[51])


def test_a_slice_of_a_suite_keeps_the_settings_of_those_left():
    paper = config.load(catalogue.ROOT / "workflows/config/paper.yaml")
    for run in config.runs(config.suite(paper | {"methods": ["elle"], "seeds": [0]})):
        assert run.settings["variant"] == "sora_bench"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": config.PROTOCOLS["digits-60"].as_dict() | {"epochs": 2}},
         "protocol 'digits-60' has epochs 60, not 2; give what is changed a name of its own"),
        ({"eps": 0.031}, "eps counts in 1/255"),
        ({"width": 0}, "width is 0; give 1 or more"),
        ({"seed": -1, "train_images": 0}, "seed is -1; give 0 or more; train_images is 0; give 1"),
        ({"protocol": MINE | {"epochs": 0}}, r"protocol\.epochs is 0; give 1 or more"),
        ({"protocol": MINE | {"batch": -3}}, r"protocol\.batch is -3; give 1 or more"),
        ({"protocol": MINE | {"lr_peak": -0.1}}, r"lr_peak is -0\.1; give 0 or more"),
        ({"protocol": MINE | {"lr_peak": math.inf}}, "lr_peak is inf"),
        ({"protocol": MINE | {"validation": -5}}, "validation is -5"),
        ({"protocol": MINE | {"nesterov": True}}, "no optimiser here has it"),
        ({"settings": {"tau": math.nan}}, "sora.tau = nan is no float"),
        ({"architecture": "resnet", "width": None}, "unknown architecture 'resnet': did you mean"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_run_by_hand_is_told_with_its_remedy(change, said):
    run = config.runs(suite(methods=["sora"]))[0].as_dict() | change
    with pytest.raises(ConfigError, match=said):
        config.run(json.dumps(run))


def test_a_protocol_by_hand_is_completed_with_its_defaults():
    run = config.runs(suite(methods=["sora"]))[0].as_dict() | {"protocol": MINE}
    assert config.run(json.dumps(run)).protocol["momentum_start"] == 0.9


def test_a_list_of_values_is_a_run_of_each():
    args = {"sora": {"tau": [0.01, 0.02], "rule": ["paper", "code"], "theta": 0.1}}
    runs = config.runs(suite(methods=["fgsm", "sora"], seeds=[0, 1], method_args=args))
    assert len({run.run_id for run in runs}) == len(runs) == 2 * (1 + 2 * 2)
    found = [(run.settings["tau"], run.settings["rule"], run.settings["theta"])
             for run in runs if run.method == "sora" and run.seed == 0]  # fmt: skip
    assert found == [(0.01, "paper", 0.1), (0.01, "code", 0.1),
                     (0.02, "paper", 0.1), (0.02, "code", 0.1)]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("alpha: list[int] = 3", "list[int] is no type of a setting: float, int, bool, str"),
        ("alpha: float = 2 / 255", "alpha"),
        ("alpha: float = 'x'", "mine.alpha = 'x' is no float"),
    ],
)
def test_a_methods_own_impossible_setting_is_told_before_anything_runs(
    tmp_path, monkeypatch, source, said
):
    (tmp_path / "methods").mkdir()
    stub = f"class Mine(Method):\n    {source}\n"
    (tmp_path / "methods/mine.py").write_text(stub)
    chosen = suite(methods=["fgsm"]).model_copy(update={"methods": ["mine"]})
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ConfigError) as caught:
        config.runs(chosen)
    assert str(caught.value).startswith("methods/mine.py: ")
    assert said in str(caught.value)


def test_a_setting_may_be_none(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "annotation", lambda *_: "int | None")
    monkeypatch.setattr(catalogue, "settings", lambda method: {"n": None})
    assert config.settings("mine", {"n": None}) == {"n": None}
    assert config.settings("mine", {"n": "3"}) == {"n": 3}


def test_presets_are_taken_by_suites_and_by_hand(monkeypatch):
    monkeypatch.setattr(catalogue, "presets", lambda method: {"digits": {"tau": 0.5}})
    (run,) = config.runs(suite(methods=["sora"]))
    assert run.settings["tau"] == 0.5
    assert config.run(json.dumps(run.as_dict() | {"settings": {}})) == run
    (run,) = config.runs(suite(methods=["sora"], method_args={"sora": {"tau": 0.1}}))
    assert run.settings["tau"] == 0.1


def test_one_name_is_a_list_of_one():
    assert suite(methods="sora").methods == ["sora"]


def test_without_a_suite_the_default_is_meant():
    assert config.suite({"methods": ["sora"]}).suite == "default"
    assert config.suite({}).datasets == ["digits"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ["soar"]}, "unknown method 'soar': did you mean sora?"),
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
            "unknown architecture or data set 'vitt': did you mean vit?",
        ),
        ({"eps": [0.031]}, "counts in 1/255, and 0.031 is less than half of that; meant 7.9?"),
        ({"eps": [0]}, "eps.0: Input should be greater than 0, given 0"),
        ({"eps": [-8]}, "eps.0: Input should be greater than 0, given -8"),
        ({"eps": ["abc"]}, "eps.0: Input should be a valid number"),
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
        ({"method_args": {"sora": {"tau": math.inf}}}, "sora.tau = inf is no float"),
        ({"method_args": {"pgd10": {"steps": -1}}}, "pgd10.steps = -1 is no int"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(change, said):
    with pytest.raises(ConfigError) as caught:
        suite(**change)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        suite(methods=["soar"], eps=[0], epz=1, method_args={"sora": {"taw": 1}})
    text = str(caught.value)
    assert "4 mistake(s)" in text
    assert all(word in text for word in ("soar", "eps.0", "epz", "taw"))


def test_a_missing_key_of_a_suite_is_named():
    with pytest.raises(ConfigError, match="key 'eps' is missing"):
        config.suite({key: value for key, value in DEFAULT.items() if key != "eps"})


def test_a_configuration_by_hand_is_completed_and_checked():
    run = config.runs(suite(methods=["sora"]))[0]
    short = run.as_dict() | {"settings": {}}
    assert config.run(json.dumps(short)) == run
    with pytest.raises(ConfigError, match="unknown setting of sora 'taw': did you mean tau"):
        config.run(json.dumps(short | {"settings": {"taw": 1}}))
    with pytest.raises(ConfigError, match="unknown method 'sorra': did you mean sora"):
        config.run(json.dumps(short | {"method": "sorra"}))
    with pytest.raises(ConfigError, match=r"lacks \['dataset'\]"):
        config.run(json.dumps({key: value for key, value in short.items() if key != "dataset"}))
    for usual in ({}, {"eps": None}):
        given = {key: value for key, value in short.items() if key != "eps"} | usual
        assert config.run(json.dumps(given)).eps == "51/255"
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.yaml"):
        config.run("nowhere.yaml")


def test_schema_files_are_those_of_the_types():
    """If this fails: make schema."""
    written = yaml.safe_load((catalogue.ROOT / "workflows/config/schema.yaml").read_text())
    assert written == schema.of_suites()
    written = json.loads((catalogue.ROOT / "results/schema.json").read_text())
    assert written == schema.of_records()


def test_a_default_that_is_no_literal_is_refused_with_its_line(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/odd.py").write_text("class Odd(Method):\n    k: float = 1 / 3\n")
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"methods/odd.py, line 2: k = 1 / 3; .* plain number"):
        catalogue.settings("odd")


def test_a_method_derived_from_another_is_refused_at_planning(tmp_path, monkeypatch):
    """Its settings, and changes of the other, would go unseen."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/pgd3.py").write_text("class PGD3(PGD10):\n    steps: int = 3\n")
    chosen = suite(methods=["fgsm"]).model_copy(update={"methods": ["pgd3"]})
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"derived from Method by that .*: class PGD3\(PGD10\)"):
        config.runs(chosen)


# Records.


def a_record(**changes):
    run = config.runs(suite(methods=["fgsm"]))[0]
    head = {"stage": "train", "run": run.run_id, "config": run, "status": "done"}
    return Record(**(head | changes))


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = a_record(status="failed", reason='a <b> & "c" é')
    assert Record.read(record.write(tmp_path)) == record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "fine"}, "record.status is 'fine', not one of"),
        ({"attempt": "1"}, "record.attempt is '1', not int"),
        ({"colour": 1}, "unknown ['colour']"),
        ({"schema": 99}, "has schema 99, this version reads schema 1"),
        ({"config": {}}, "record.config lacks"),
    ],
)
def test_a_record_that_departs_from_the_schema_is_refused(tmp_path, change, said):
    path = a_record().write(tmp_path)
    write_json(path, json.loads(path.read_text()) | change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Record.read(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_half_record_is_refused(tmp_path):
    path = a_record().write(tmp_path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"is no JSON .*remove it and run again"):
        Record.read(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_radius_is_on_the_unit_scale():
    assert radius("8/255") == 8 / 255
    assert radius("63.75/255") == 0.25


def test_near_names_are_offered_and_otherwise_all():
    assert (
        catalogue.unknown("key", "sed", ["seeds", "eps"])
        == "unknown key 'sed': did you mean seeds?"
    )
    assert catalogue.unknown("key", "zzz", ["a", "b"]) == "unknown key 'zzz': choose from a, b"


def test_build_checks_depth_first():
    @dataclasses.dataclass
    class Inner:
        x: int

    @dataclasses.dataclass
    class Outer:
        items: list[Inner]
        maybe: float | None = None

    assert build(Outer, {"items": [{"x": 1}], "maybe": 2}) == Outer([Inner(1)], 2.0)
    with pytest.raises(ValueError, match=r"record.items\[1\].x is '2', not int"):
        build(Outer, {"items": [{"x": 1}, {"x": "2"}]})
    assert build(Config, a_record().config.as_dict()) == a_record().config


@pytest.mark.parametrize(
    ("cores", "given", "gpus", "threads", "alone"),
    [
        (2, None, [], 1, 2),  # two runs on two cores: one each
        (16, None, [], 8, 16),
        (1, None, [], 1, 1),
        (None, None, [], 1, 1),
        (16, 3, [], 3, 16),
        (2, 4, [], 4, 4),
        (16, None, ["0"], 1, 1),  # a GPU works, and its lease keeps others away
    ],
)
def test_cores_are_shared_out_and_none_is_promised_twice(
    monkeypatch, cores, given, gpus, threads, alone
):
    monkeypatch.setattr(plan, "visible", lambda environ: gpus)
    two = suite(methods=["fgsm", "sora"], seeds=[0], threads=given)
    made = plan.Plan(two, config.runs(two), data_dir=".data", cores=cores)
    assert (made.threads, made.alone) == (threads, alone)
