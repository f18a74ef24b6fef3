"""What a suite is said to take follows from counted operations."""

import dataclasses

import made_up
import pytest

from bench.runs import suite as config
from bench.runs.catalogue import ROOT
from bench.runs.files import between_marks
from bench.tools import estimate
from workflows.plan import Plan

PAPER = config.suite(config.load(ROOT / "workflows/config/paper.yaml"))


def run(**changes):
    cut = {"methods": ["fgsm_rs"], "datasets": ["cifar10"], "seeds": [0], "eps": [8]}
    (one,) = config.runs(PAPER.model_copy(update=cut | {"architectures": ["preact_resnet18"]}))
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


def test_what_will_be_refused_costs_nothing():
    cut = {"datasets": ["imagenet100"], "architectures": ["resnet18"], "seeds": [0]}
    suite = PAPER.model_copy(update=cut)
    (cell,) = estimate.cells(suite, config.runs(suite))
    assert cell.runs == 15  # all but ATAS


def test_a_cell_without_runs_has_a_dash_in_the_table():
    cut = {"methods": ["atas"], "datasets": ["imagenet100", "cifar10"]}
    suite = PAPER.model_copy(update=cut | {"architectures": ["resnet18"], "seeds": [0]})
    lines = estimate.table(suite, estimate.cells(suite, config.runs(suite))).splitlines()
    assert lines[2].endswith(" | - |")
    assert lines[3].endswith(" min |")


SMOKE = config.suite(config.load(ROOT / "workflows/config/smoke.yaml") | {"seeds": [0, 1]})
HERE = made_up.ORIGIN.device


@pytest.fixture
def plan(tmp_path):
    return over(tmp_path)


def over(results, **changes):
    """Plan the smoke suite, changed."""
    suite = SMOKE.model_copy(update=changes)
    return Plan(suite, config.runs(suite), data_dir="x", results=results)


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


def told(plan, device=HERE):
    return estimate.told(plan, device)


def takes(train, attack):
    return f"{estimate._h(train)} of training and {estimate._h(attack)} of AutoAttack"


def test_what_has_its_records_is_not_left(plan):
    assert told(plan).startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")
    finish(plan, "train", slice(2))
    assert told(plan).startswith("left: 4 of 4 runs (2 train, 4 autoattack, 2 cost)")
    finish(plan, "train")
    finish(plan, "autoattack")
    assert told(plan).startswith("left: 2 of 4 runs (2 cost), 0 min of training and 0 min of Auto")


def test_what_failed_is_left_only_if_it_is_tried_again(plan):
    finish(plan, "train", status="failed", reason="x")
    finish(plan, "autoattack", status="skipped", reason="x")
    assert told(plan).startswith("left: 2 of 4 runs (2 cost)")
    again = over(plan.results, retry_failed=True)
    assert told(again).startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")


def test_hours_are_at_the_median_pace_of_this_machines_runs(plan):
    train, attack = (total(plan, stage) for stage in estimate.STAGES)
    for i, slower in enumerate((1e6, 9e6, 1e3)):
        finish(plan, "train", slice(i, i + 1), slower=slower)
    finish(plan, "train", slice(3, 4), slower=1e9, device="another")
    said = told(plan)
    assert f"from nothing: {takes(1e6 * train, 1e6 * attack)}" in said
    assert f"at the pace of 3 finished runs on this machine's {HERE}" in said
    assert "TFLOP/s" not in said
    finish(plan, "autoattack", slice(1), slower=2e6)
    rest = attack - next(iter(hours(plan).values()))["autoattack"]
    assert f"{takes(0.0, 2e6 * rest)}; from nothing: {takes(1e6 * train, 2e6 * attack)}" in told(
        plan
    )


def test_published_runs_of_this_machine_tell_its_pace_and_are_left_all_the_same(plan):
    finish(plan, "train", slice(1), slower=1e6)
    finish(plan, "autoattack", slice(1), slower=1e9, n=3)  # fewer than asked for
    (plan.results / "published").mkdir()
    (plan.results / "runs").rename(plan.results / "published/set")
    train, attack = (1e6 * total(plan, stage) for stage in estimate.STAGES)
    said = told(plan)
    assert said.startswith("left: 4 of 4 runs (4 train, 4 autoattack, 2 cost)")
    assert takes(train, attack) in said
    assert f"at the pace of 1 finished run on this machine's {HERE}" in said


def test_a_gpus_hours_are_not_said_to_be_this_machines(plan):
    finish(plan, "train", slice(1), device="another")
    assert "hours of a GPU at an assumed 20 TFLOP/s, not of this machine: it has none" in told(plan)
    gpu = told(plan, "NVIDIA H200")
    assert "on one GPU at an assumed 20 TFLOP/s; this machine has finished no run" in gpu


def test_finished_cells_are_named(plan):
    two = over(plan.results, architectures=["small_cnn", "resnet18"])
    assert "finished:" not in told(two)
    for work in plan.work:
        made_up.wanted(plan, work).write(plan.file(work).parent)
    assert told(two).endswith("decoded; finished: digits small_cnn")
    assert "left: 0 of 4 runs (nothing to do)" in told(plan)
    assert "finished:" not in told(plan)


def command(*words):
    file = ROOT / "workflows/config/smoke.yaml"
    estimate.main(["--configfile", str(file), *words])


def test_a_plan_takes_what_is_laid_over_its_suite(tmp_path, capsys):
    command("--results", str(tmp_path), "--config", "seeds=[0,1,2]", "methods=sora")
    assert capsys.readouterr().out.startswith("left: 3 of 3 runs")


@pytest.mark.parametrize(
    ("given", "said"),
    [("seedz=[0]", "did you mean seeds?"), ("seeds", "seeds"), ("seeds=[", "flow node")],
)
def test_a_mistake_in_what_is_laid_over_is_said_without_a_traceback(given, said):
    with pytest.raises(SystemExit, match=said):
        command("--config", given)


def test_a_record_that_cannot_be_read_is_left(plan):
    finish(plan, "train")
    plan.file(plan.work[0]).write_text("{")
    assert "(1 train, 4 autoattack, 2 cost)" in told(plan)


def test_disk_is_one_byte_a_pixel():
    assert estimate.disk(["cifar10"]) == 60_000 * 3072
    assert estimate.disk(["imagenet100"]) > 130_000 * 3 * 256**2


def test_the_readme_says_what_the_paper_suite_costs():
    """If this fails: make readme."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = estimate.readme(PAPER, estimate.cells(PAPER, config.runs(PAPER)))
    assert between_marks(text, estimate.MARK, body) == text


def test_a_document_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the lines"):
        between_marks("nothing here", "costs", "body")
