"""The hours that a suite takes follow from counted operations and finished runs."""

import dataclasses
import importlib
import math
import subprocess
import sys

import made_up
import pytest

from bench.runs import catalogue
from bench.runs.catalogue import ROOT, names, pictures, published_width
from bench.runs.files import between_marks
from bench.runs.run import expand
from bench.runs.suite import StartFor, parse_suite, read_yaml
from bench.tools import estimate, memory
from bench.tools import plan as command
from bench.tools.plan import against_sources, has_batchnorm
from workflows.plan import PROCESS_BYTES, Plan, mem_mb

PAPER = parse_suite(read_yaml(ROOT / "workflows/config/paper.yaml"))


def run(**changes):
    cut = {"methods": ["fgsm_rs"], "datasets": ["cifar10"], "seeds": [0], "eps": [8]}
    (one,) = expand(PAPER.model_copy(update=cut | {"architectures": ["preact_resnet18"]}))
    return dataclasses.replace(one, **changes)


def test_a_single_step_run_is_five_forward_passes_an_image_and_epoch():
    forward = 2 * 555.42e6  # operations; multiply-adds of PreActResNet-18 at 32 pixels
    hours = 30 * 50_000 * 5 * forward / estimate.RATE / 3600
    assert estimate.train_hours(run()) == pytest.approx(hours, rel=1e-3)
    # Free-AT has 4 epochs of 8 updates, 3 passes each
    free = estimate.train_hours(run(method="free_at", settings={}))
    assert free == pytest.approx(hours * (4 * 24) / (30 * 5), rel=1e-3)
    assert estimate.train_hours(run(train_images=10_000)) == pytest.approx(hours / 5, rel=1e-3)


def test_autoattack_is_counted_for_the_images_left_standing():
    all_images = estimate.attack_hours(run(), None)
    assert estimate.attack_hours(run(), 1000) == pytest.approx(all_images / 10)
    assert estimate.attack_hours(run(dataset="tissuemnist"), None) > all_images  # 47,280 images


def test_runs_that_will_be_refused_cost_nothing():
    cut = {"datasets": ["imagenet100"], "architectures": ["resnet18"], "seeds": [0]}
    suite = PAPER.model_copy(update=cut)
    (cost,) = estimate.estimates(suite, expand(suite))
    assert cost.runs == 15  # all but ATAS


def test_seeds_of_a_configuration_share_one_count(monkeypatch):
    counted, count = [], estimate.stage_hours
    monkeypatch.setattr(
        estimate, "stage_hours", lambda run, n: counted.append(run.method) or count(run, n)
    )
    runs = [
        run(seed=seed, method=name, settings={}) for seed in range(3) for name in ("fgsm", "pgd2")
    ]
    hours = estimate.hours_of_runs(runs, 4)
    assert counted == ["fgsm", "pgd2"]
    assert hours == [count(one, 4) for one in runs]


def test_a_pair_without_runs_has_a_dash_in_the_table():
    cut = {"methods": ["atas"], "datasets": ["imagenet100", "cifar10"]}
    suite = PAPER.model_copy(update=cut | {"architectures": ["resnet18"], "seeds": [0]})
    costs = estimate.estimates(suite, expand(suite))
    lines = command.table(suite, costs).splitlines()
    assert lines[2].endswith(" | - |")
    assert lines[3].endswith(" MB |")  # of a pass of a batch


SMOKE = parse_suite(read_yaml(ROOT / "workflows/config/smoke.yaml") | {"seeds": [0, 1]})
HERE = made_up.ORIGIN.device


@pytest.fixture
def plan(tmp_path):
    return over(tmp_path)


def over(results, **changes):
    """Plan the smoke suite, changed."""
    suite = SMOKE.model_copy(update=changes)
    return Plan(suite, expand(suite), data_dir="x", results=results)


def finish(plan, stage, runs=slice(None), *, slower=1.0, device=HERE, **changes):
    """Write records of a stage that took so many times the estimated hours."""
    clock = {"train": "train_seconds", "autoattack": "attack_seconds"}[stage]
    for work in [work for work in plan.work if work.stage.name == stage][runs]:
        seconds = slower * 3600 * hours(plan)[work.config.folder][stage]
        record = made_up.wanted(plan, work, **{clock: seconds} | changes)
        if record.training:
            training = dataclasses.replace(record.training, probe_seconds=0.0)
            record = dataclasses.replace(record, training=training)
        origin = dataclasses.replace(record.origin, device=device)
        dataclasses.replace(record, origin=origin).write(plan.file(work).parent)


def hours(plan):
    return {name: estimate.stage_hours(run, 4) for name, run in plan.runs.items()}


def total(plan, stage):
    return sum(one[stage] for one in hours(plan).values())


def summary(plan, device=HERE):
    return command.summary(plan, device)


def takes(train, attack):
    train, attack = command.format_hours(train), command.format_hours(attack)
    return f"{train} of training and {attack} of AutoAttack"


def test_work_with_a_record_is_not_left(plan):
    assert summary(plan).startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")
    finish(plan, "train", slice(2))
    assert summary(plan).startswith("left: 4 of 4 runs (2 train, 4 autoattack, 2 cost)")
    finish(plan, "train")
    finish(plan, "autoattack")
    assert summary(plan).startswith(
        "left: 2 of 4 runs (2 cost), 0 min of training and 0 min of Auto"
    )


def test_failed_work_is_left_only_if_it_is_tried_again(plan):
    finish(plan, "train", status="failed", reason="x")
    finish(plan, "autoattack", status="skipped", reason="x")
    assert summary(plan).startswith("left: 2 of 4 runs (2 cost)")
    again = over(plan.results, retry_failed=True)
    assert summary(again).startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")


def test_hours_are_at_the_median_pace_of_this_machines_runs(plan):
    train, attack = (total(plan, stage) for stage in estimate.STAGES)
    for i, slower in enumerate((1e6, 9e6, 1e3)):
        finish(plan, "train", slice(i, i + 1), slower=slower)
    finish(plan, "train", slice(3, 4), slower=1e9, device="another")
    text = summary(plan)
    assert f"from nothing: {takes(1e6 * train, 1e6 * attack)}" in text
    assert f"at the pace of 3 finished runs on a {HERE}, as this machine's" in text
    assert "TFLOP/s" not in text
    finish(plan, "autoattack", slice(1), slower=2e6)
    rest = attack - next(iter(hours(plan).values()))["autoattack"]
    assert f"{takes(0.0, 2e6 * rest)}; from nothing: {takes(1e6 * train, 2e6 * attack)}" in summary(
        plan
    )


def test_published_runs_of_this_machine_set_its_pace_and_are_left(plan):
    finish(plan, "train", slice(1), slower=1e6)
    finish(plan, "autoattack", slice(1), slower=1e9, n=3)  # fewer than asked for
    (plan.results / "published").mkdir()
    (plan.results / "runs").rename(plan.results / "published/set")
    train, attack = (1e6 * total(plan, stage) for stage in estimate.STAGES)
    text = summary(plan)
    assert text.startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")
    assert takes(train, attack) in text
    assert f"at the pace of 1 finished run on a {HERE}, as this machine's" in text


def test_hours_of_a_gpu_are_named_as_such_on_another_machine(plan):
    finish(plan, "train", slice(1), device="another")
    assert "hours of a GPU at an assumed 20 TFLOP/s, not of this machine: it has none" in summary(
        plan
    )
    gpu = summary(plan, "NVIDIA H200")
    assert "on one GPU at an assumed 20 TFLOP/s; this machine has finished no run" in gpu


def test_finished_pairs_are_named(plan):
    two = over(plan.results, architectures=["small_cnn", "resnet18"])
    assert "finished:" not in summary(two)
    for work in plan.work:
        made_up.wanted(plan, work).write(plan.file(work).parent)
    assert summary(two).endswith("; finished: digits small_cnn")
    assert "left: 0 of 4 runs (nothing to do)" in summary(plan)
    assert "finished:" not in summary(plan)


def call(*words):
    file = ROOT / "workflows/config/smoke.yaml"
    command.main(["--suite", str(file), *words])


def test_config_words_are_laid_over_the_suite(tmp_path, capsys):
    call("--results", str(tmp_path), "--config", "seeds=[0,1,2]", "methods=sora")
    assert capsys.readouterr().out.startswith("left: 3 of 3 runs")


@pytest.mark.parametrize(
    ("given", "message"),
    [("seedz=[0]", "did you mean seeds?"), ("seeds", "seeds"), ("seeds=[", "flow node")],
)
def test_a_mistake_in_config_words_is_reported_without_a_traceback(given, message):
    with pytest.raises(SystemExit, match=message):
        call("--config", given)


def test_a_record_that_cannot_be_read_is_left(plan):
    finish(plan, "train")
    plan.file(plan.work[0]).write_text("{")
    assert "(1 train, 4 autoattack, 2 cost)" in summary(plan)


def test_a_plan_says_why_each_stage_is_left(plan):
    finish(plan, "train")
    finish(plan, "autoattack", batch=3)
    for work in (work for work in plan.work if work.stage.name == "cost"):
        made_up.wanted(plan, work, status="failed", reason="x").write(plan.file(work).parent)
    plan.file(plan.work[0]).write_text("{")
    work = plan.work[1]
    record = made_up.wanted(plan, work)
    origin = dataclasses.replace(record.origin, method_code="another")
    dataclasses.replace(record, origin=origin).write(plan.file(work).parent)
    again = over(plan.results, retry_failed=True, evaluations=["pgd50_10"])
    why = "why: 2 train (1 damaged, 1 stale code), 4 autoattack (4 stale options), "
    assert f"{why}4 pgd50_10 (4 new), 2 cost (2 failed before)\n" in summary(again)


def test_a_plan_ends_with_the_command_that_does_it(tmp_path, capsys):
    call("--results", str(tmp_path), "--config", "seeds=[0, 1]")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("left: 10 of 10 stages of suite smoke; fgsm seed 0, digits, train; ")
    assert "; and 7 more; to do it: snakemake --configfile " in last
    assert last.endswith("smoke.yaml --config 'seeds=[0, 1]'")


def told(**given):
    suite = parse_suite(given)
    return against_sources(suite, expand(suite)).splitlines()


def test_a_plan_says_what_methods_are_used_against_their_sources():
    common = {
        "datasets": ["digits"], "seeds": [0], "method_args": {}, "eps": [8], "train_images": None,
    }  # fmt: skip
    assert told(methods=["fgsm", "elle", "llr", "lap"], **common) == []
    lines = told(methods=["soar", "cure", "fgsm"], **common)
    assert [line.split()[1] for line in lines] == ["soar", "soar", "cure"]
    assert "start_for: {soar: {method: standard" in lines[0]
    assert "BatchNorm, which small_cnn has; choose resnet10_nobn, single_layer_cnn, vit" in lines[1]
    start = {"method": "standard", "protocol": "digits-60"}
    good = common | {"start_for": {"soar": start}, "architectures": ["resnet10_nobn"]}
    assert told(methods=["soar"], **good) == []
    lines = told(methods=["elle", "llr", "lap"], **(common | {"eps": [8, 16, 51]}))
    assert [line.partition(";")[0] for line in lines] == [
        "caution: elle's source has settings for radii up to 26/255, and none for 51/255",
        "caution: llr's source has settings for radii up to 8/255, and none for 16/255, 51/255",
        "caution: lap's source has settings for radii up to 32/255, and none for 51/255",
    ]


def test_batchnorm_is_found_in_networks_as_they_are_built():
    for name in catalogue.names("bench/models"):
        module = importlib.import_module(f"bench.models.{name}")
        body = module.build(shape=(3, 32, 32), classes=10, width=16)
        found = any("BatchNorm" in type(layer).__name__ for layer in body.modules())
        assert has_batchnorm(name) == found, name


def test_disk_is_one_byte_a_pixel():
    assert estimate.disk_bytes(["cifar10"]) == 60_000 * 3072
    assert estimate.disk_bytes(["imagenet100"]) > 130_000 * 3 * 256**2


def test_the_docs_say_what_the_paper_suite_costs():
    """If this fails: make readme."""
    text = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    runs = expand(PAPER)
    costs = estimate.estimates(PAPER, runs)
    assert f"{command.table(PAPER, costs)}\n\n{command.total(PAPER, runs, costs)}\n" in text


def test_what_is_prepared_is_not_to_download(tmp_path, capsys):
    words = ["--results", str(tmp_path), "--config", "datasets=[cifar10]", f"data_dir={tmp_path}",
             "train_images=null"]  # fmt: skip
    call(*words)
    assert "data: 170 MB to download" in capsys.readouterr().out
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/cifar10.safetensors").touch()
    call(*words)
    assert "data: nothing to download" in capsys.readouterr().out


def test_the_docs_say_what_methods_keep_in_memory():
    """If this fails: make readme."""
    text = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    body = command.keep(PAPER, expand(PAPER))
    assert f"{body}\n\n<!-- end of {command.MARK} -->" in text


def test_a_document_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the lines"):
        between_marks("nothing here", "costs", "body")


def large(**cut):
    given = {"datasets": ["imagenet100"], "architectures": ["resnet18"], "seeds": [0, 1]}
    return PAPER.model_copy(update=given | cut)


def test_runs_that_a_gpu_cannot_hold_are_named():
    suite = large(methods=["fgsm_rs", "elle", "atas"], gpu_memory_gb=80)
    said = "imagenet100 resnet18, 119.6 GB or more: elle\n"
    assert command.too_large(suite, expand(suite)) == f"too large for 80 GB of GPU memory: {said}"
    assert not command.too_large(suite.model_copy(update={"gpu_memory_gb": 141}), expand(suite))
    assert not command.too_large(suite.model_copy(update={"gpu_memory_gb": None}), expand(suite))


def test_what_one_pass_of_a_batch_overfills_is_not_counted_further(monkeypatch):
    suite = large(methods=["fgsm_rs", "elle"], architectures=["wide_resnet28_10"], gpu_memory_gb=80)
    monkeypatch.setattr(memory, "gpu_bytes", None)
    assert "175.6 GB or more: fgsm_rs, elle" in command.too_large(suite, expand(suite))


def test_memory_is_that_of_an_update_with_all_that_training_keeps():
    one = run()
    weights = 4 * 11_172_170
    assert memory.weights_bytes([one, run(seed=1)]) == pytest.approx(2 * weights, rel=2e-3)
    kept = memory.pass_bytes(one)
    assert memory.gpu_bytes(one) == pytest.approx(kept + 2 * weights, rel=0.05)
    # the running perturbations of 50,000 padded images
    assert memory.gpu_bytes(run(method="atas", settings={})) > kept + 4 * 50_000 * 3 * 40 * 40


@pytest.mark.parametrize("dataset", ["digits", *PAPER.datasets])
def test_a_job_asks_a_cluster_for_what_it_takes(dataset):
    """Counted with the network of most weights; methods keep what they keep whatever that is."""
    along = StartFor(method="fgsm_rs", protocol=PAPER.protocol, kept=3)
    suite = large(datasets=[dataset], architectures=["wide_resnet28_10"],
                  methods=names("methods"), start_for={"sub_at": along})  # fmt: skip
    for one in expand(suite):
        if estimate.refused(one):
            assert one.method != "sub_at"
            continue
        # a process; and a checkpoint copies what stays on the device, tensor by tensor and then
        # as the content of one file
        kept = sum(tensor.nbytes for tensor in memory._kept(memory._trainer(one)))
        needed = PROCESS_BYTES + 2 * kept + math.prod(pictures(dataset))
        assert needed < mem_mb(one, 1) * 10**6, one.method


def test_memory_that_is_asked_for_follows_the_cell_and_the_try():
    digits, large = run(dataset="digits"), run(dataset="imagenet100")
    assert [mem_mb(digits, attempt) for attempt in (1, 2, 3, 4, 11)] == [
        8e3,
        16e3,
        32e3,
        64e3,
        64e3,
    ]
    assert mem_mb(None, 1) == 8000
    assert mem_mb(large, 1) == 8000 + 130_000 * 3 * 256**2 // 10**6
    assert mem_mb(large, 2) == mem_mb(large, 1) + 8000  # pictures take no more the next time
    assert mem_mb(run(dataset="imagenet100", train_images=1000), 1) < 8200
    # two copies of the perturbations of 100,000 padded images
    atas = mem_mb(run(dataset="tiny_imagenet", method="atas"), 1)
    assert atas - mem_mb(run(dataset="tiny_imagenet"), 1) == pytest.approx(
        15360 + 1000 - 4000, abs=1
    )


@pytest.mark.parametrize(
    ("method", "architecture"), [("grad_align", "vit"), ("elle", "senet18"), ("atas", "resnet18")]
)
def test_passes_of_one_network_tell_the_memory_of_others(method, architecture):
    one = run(method=method, settings={}, architecture=architecture)
    one = dataclasses.replace(one, width=published_width(architecture))
    assert memory.gpu_bytes(one) == pytest.approx(memory._update(one)[1], rel=0.1)


@pytest.mark.parametrize(
    ("method", "count"), [("fgsm_rs", 1), ("pgd10", 1), ("trades", 2), ("grad_align", 3)]
)
def test_methods_keep_as_many_passes_as_their_loss_has(method, count):
    assert memory.passes(run(method=method, settings={})) == count


def test_the_names_of_memory_are_there_without_torch():
    code = "import sys, bench.tools.memory; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
