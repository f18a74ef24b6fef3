"""The grid: from a suite to its runs, their ids, and the threads of their jobs."""

import pytest
from made_up import digits_suite

from bench.runs import catalogue
from bench.runs.record import ConfigError, Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from workflows import plan


def ids(**changes):
    return [run.run_id for run in expand(digits_suite(**changes))]


def test_the_grid_is_the_product_of_its_axes():
    runs = expand(digits_suite(methods=["fgsm", "sora"], seeds=[0, 1, 2], eps=[8, 16]))
    assert len(runs) == 2 * 3 * 2
    assert len({run.folder for run in runs}) == 12


def test_the_papers_grid_is_whole():
    paper = parse_suite(read_yaml(catalogue.ROOT / "workflows/config/paper.yaml"))
    assert len({run.folder for run in expand(paper)}) == 16 * 6 * 5 * 3


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
    runs = expand(digits_suite(datasets=["cifar10", "tissuemnist", "digits"], eps=None))
    usual = {(run.dataset, run.eps) for run in runs}
    assert usual == {("cifar10", "8/255"), ("tissuemnist", "3/255"), ("digits", "51/255")}


def test_each_norm_has_radii_of_its_own():
    runs = expand(digits_suite(methods=["sora"], seeds=[0], norms=["Linf", "L2"], eps_l2=[0.5, 1]))
    assert [(run.norm, run.eps) for run in runs] == [("Linf", "51/255"), ("L2", "0.5"), ("L2", "1")]
    assert len({run.run_id for run in runs}) == 3
    assert runs[0].run_id == ids(methods=["sora"], seeds=[0])[0]


def test_a_method_that_cannot_train_in_a_norm_is_refused_with_those_that_can():
    with pytest.raises(ConfigError) as caught:
        expand(digits_suite(methods=["fgsm", "atas", "elle"], norms=["Linf", "L2"]))
    said = str(caught.value)
    assert said.startswith("atas, elle cannot train in L2, only fgsm, fgsm_rs, n_fgsm, ")
    assert said.endswith("leave them out, or choose another norm")


def test_an_architectures_protocol_comes_before_a_data_sets():
    runs = expand(
        digits_suite(
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
    """Fields added to configurations and protocols leave the ids of finished runs as they are."""
    records = [
        Record.read(path) for path in (catalogue.ROOT / "results/published").rglob("train.json")
    ]
    assert records
    for record in records:
        assert record.config.run_id == record.run
    named = {run.as_dict()["seed"]: run.run_id for run in expand(digits_suite(methods=["fgsm"]))}
    assert named[0] in {record.run for record in records}


def test_both_rules_of_sora_have_runs_of_their_own():
    default = ids(methods=["sora"])
    assert ids(methods=["sora"], method_args={"sora": {"rule": "paper"}}) != default
    assert ids(methods=["sora"], method_args={"sora": {"rule": "code"}}) == default


def test_whole_numbers_and_floats_of_the_same_value_are_the_same_run():
    whole = {"method_args": {"sora": {"alpha_max": 2}}, "methods": ["sora"]}
    assert ids(**whole) == ids(methods=["sora"])
    assert ids(eps=[51.0]) == ids(eps=[51])


def test_a_slice_of_a_suite_keeps_the_settings_of_those_left():
    paper = read_yaml(catalogue.ROOT / "workflows/config/paper.yaml")
    for run in expand(parse_suite(paper | {"methods": ["elle"], "seeds": [0]})):
        assert run.settings["variant"] == "sora_bench"


def test_a_list_of_values_is_a_run_of_each():
    args = {"sora": {"tau": [0.01, 0.02], "rule": ["paper", "code"], "theta": 0.1}}
    runs = expand(digits_suite(methods=["fgsm", "sora"], seeds=[0, 1], method_args=args))
    assert len({run.run_id for run in runs}) == len(runs) == 2 * (1 + 2 * 2)
    found = [(run.settings["tau"], run.settings["rule"], run.settings["theta"])
             for run in runs if run.method == "sora" and run.seed == 0]  # fmt: skip
    assert found == [(0.01, "paper", 0.1), (0.01, "code", 0.1),
                     (0.02, "paper", 0.1), (0.02, "code", 0.1)]  # fmt: skip


def test_several_mappings_are_the_runs_of_each_and_those_in_two_are_one():
    args = {"sora": [{"tau": [0.01, 0.02]}, {"theta": [0.05, 0.1], "rule": "code"}]}
    runs = expand(digits_suite(methods=["sora"], method_args=args))
    found = [(run.settings["tau"], run.settings["theta"]) for run in runs]
    assert found == [(0.01, 0.05), (0.02, 0.05), (0.02, 0.1)]


def test_a_value_by_data_set_stands_there_and_the_published_one_elsewhere():
    two = {"datasets": ["digits", "mnist_5k"], "methods": ["sora"], "eps": [8]}
    args = {"sora": {"tau": {"digits": [0.01, 0.5], "svhn": 0.2}, "rule": "paper"}}
    runs = expand(digits_suite(**two, method_args=args))
    assert [(run.dataset, run.settings["tau"], run.settings["rule"]) for run in runs] == [
        ("digits", 0.01, "paper"), ("digits", 0.5, "paper"), ("mnist_5k", 0.02, "paper"),
    ]  # fmt: skip
    sliced = expand(digits_suite(**two | {"datasets": ["mnist_5k"]}, method_args=args))
    assert [run.run_id for run in sliced] == [runs[2].run_id]


def test_atas_has_the_c_of_each_data_set_in_the_sora_benchmark():
    paper = read_yaml(catalogue.ROOT / "workflows/config/paper.yaml")
    runs = expand(parse_suite(paper | {"methods": ["atas"], "seeds": [0]}))
    assert {run.settings["variant"] for run in runs} == {"sora_bench"}
    found = {run.dataset: run.settings["c"] for run in runs}
    found.pop("imagenet100")  # which ATAS refuses
    assert found == {"cifar10": 0.04, "cifar100": 0.04, "tiny_imagenet": 0.04,
                     "pathmnist": 0.07, "tissuemnist": 0.1}  # fmt: skip


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
    monkeypatch.setattr(plan, "visible_gpus", lambda environ: gpus)
    two = digits_suite(methods=["fgsm", "sora"], seeds=[0], threads=given)
    planned = plan.Plan(two, expand(two), data_dir=".data", cores=cores)
    assert (planned.threads, planned.alone) == (threads, alone)
