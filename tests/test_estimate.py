"""What a suite is said to take follows from counted operations."""

import dataclasses
import sys

import made_up
import pytest

from bench.runs import fingerprints
from bench.runs import suite as config
from bench.runs.catalogue import ROOT
from bench.runs.files import between_marks
from bench.runs.record import Record
from bench.tools import estimate

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
RUNS = config.runs(SMOKE)
HERE = made_up.ORIGIN.device


def finish(results, run, stage, *, slower=1.0, images=4, **origin):
    """Write a record of a stage that took so many times the estimated hours."""
    seconds = slower * 3600 * estimate.stage_hours(run, 4)[stage]
    body = {
        "train": {
            "training": dataclasses.replace(
                made_up.training(), train_seconds=0.75 * seconds, probe_seconds=0.25 * seconds
            )
        },
        "autoattack": {
            "attack": dataclasses.replace(made_up.attack(50.0, images), attack_seconds=seconds)
        },
    }[stage]
    made = {"method_code": fingerprints.method_fingerprint(run.method)} | origin
    Record(
        stage=stage, run=run.run_id, config=run, status="done", data=made_up.DATA,
        origin=dataclasses.replace(made_up.ORIGIN, **made), **body,
    ).write(results / "runs" / run.folder)  # fmt: skip


def planned(results, suite=SMOKE):
    return estimate.plan(suite, estimate.works(suite, config.runs(suite), results), HERE)


def takes(train, attack):
    return f"{estimate._h(train)} of training and {estimate._h(attack)} of AutoAttack"


def test_what_has_its_records_is_not_left(tmp_path):
    assert planned(tmp_path).startswith("left: 4 of 4 runs")
    for run in RUNS[:2]:
        finish(tmp_path, run, "train")
    assert planned(tmp_path).startswith("left: 4 of 4 runs")
    finish(tmp_path, RUNS[0], "autoattack")
    assert planned(tmp_path).startswith("left: 3 of 4 runs")
    for run in RUNS:
        finish(tmp_path, run, "train")
        finish(tmp_path, run, "autoattack")
    assert planned(tmp_path).startswith("left: 0 of 4 runs, 0 min of training and 0 min of Auto")


@pytest.mark.parametrize("other", [{"images": 3}, {"method_code": "of another day"}])
def test_a_record_of_other_images_or_code_does_not_count(tmp_path, other):
    finish(tmp_path, RUNS[0], "train")
    finish(tmp_path, RUNS[0], "autoattack", **other)
    assert planned(tmp_path).startswith("left: 4 of 4 runs")


def test_what_failed_is_left_only_if_it_is_tried_again(tmp_path):
    for stage in ("train", "autoattack"):
        folder = tmp_path / "runs" / RUNS[0].folder
        Record(stage=stage, run="", config=RUNS[0], status="failed", reason="x").write(folder)
    assert planned(tmp_path).startswith("left: 3 of 4 runs")
    again = SMOKE.model_copy(update={"retry_failed": True})
    assert planned(tmp_path, again).startswith("left: 4 of 4 runs")


def test_hours_are_at_the_median_pace_of_this_machines_runs(tmp_path):
    hours = [estimate.stage_hours(run, 4) for run in RUNS]
    train, attack = (sum(one[stage] for one in hours) for stage in estimate.STAGES)
    for run, slower in zip(RUNS[:3], (1e6, 9e6, 1e3), strict=True):
        finish(tmp_path, run, "train", slower=slower)
    finish(tmp_path, RUNS[3], "train", slower=1e9, device="another")
    said = planned(tmp_path)
    assert f"from nothing: {takes(1e6 * train, 1e6 * attack)}" in said
    assert f"at the pace of 3 finished runs on this machine's {HERE}" in said
    assert "TFLOP/s" not in said
    finish(tmp_path, RUNS[0], "autoattack", slower=2e6)
    said = planned(tmp_path)
    rest = takes(0.0, 2e6 * (attack - hours[0]["autoattack"]))
    assert f"left: 3 of 4 runs, {rest}; from nothing: {takes(1e6 * train, 2e6 * attack)}" in said


def test_published_runs_of_this_machine_tell_its_pace_and_are_left_all_the_same(tmp_path):
    finish(tmp_path, RUNS[0], "train", slower=1e6)
    finish(tmp_path, RUNS[0], "autoattack", slower=1e9, images=3)  # fewer than asked for
    (tmp_path / "published").mkdir()
    (tmp_path / "runs").rename(tmp_path / "published/set")
    hours = [estimate.stage_hours(run, 4) for run in RUNS]
    train, attack = (1e6 * sum(one[stage] for one in hours) for stage in estimate.STAGES)
    said = planned(tmp_path)
    assert said.startswith(f"left: 4 of 4 runs, {takes(train, attack)}")
    assert f"at the pace of 1 finished run on this machine's {HERE}" in said


def test_a_gpus_hours_are_not_said_to_be_this_machines(tmp_path):
    finish(tmp_path, RUNS[0], "train", device="another")
    said = planned(tmp_path)
    assert "hours of a GPU at an assumed 20 TFLOP/s, not of this machine: it has none" in said
    gpu = estimate.plan(SMOKE, estimate.works(SMOKE, RUNS, tmp_path), "NVIDIA H200")
    assert "on one GPU at an assumed 20 TFLOP/s; this machine has finished no run" in gpu


def test_finished_cells_are_named(tmp_path):
    two = SMOKE.model_copy(update={"architectures": ["small_cnn", "resnet18"]})
    assert "finished:" not in planned(tmp_path, two)
    for run in RUNS:
        finish(tmp_path, run, "train")
        finish(tmp_path, run, "autoattack")
    assert planned(tmp_path, two).endswith("decoded; finished: digits small_cnn")
    assert "finished:" not in planned(tmp_path)


def command(monkeypatch, *words):
    file = ROOT / "workflows/config/smoke.yaml"
    monkeypatch.setattr(sys, "argv", ["estimate", "--plan", "--configfile", str(file), *words])
    estimate.main()


def test_a_plan_takes_what_is_laid_over_its_suite(tmp_path, monkeypatch, capsys):
    command(monkeypatch, "--results", str(tmp_path), "--config", "seeds=[0,1,2]", "methods=sora")
    assert capsys.readouterr().out.startswith("left: 3 of 3 runs")


@pytest.mark.parametrize(
    ("given", "said"),
    [("seedz=[0]", "did you mean seeds?"), ("seeds", "seeds"), ("seeds=[", "flow node")],
)
def test_a_mistake_in_what_is_laid_over_is_said_without_a_traceback(monkeypatch, given, said):
    with pytest.raises(SystemExit, match=said):
        command(monkeypatch, "--config", given)


def test_a_record_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "runs" / RUNS[0].folder / "train.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(SystemExit, match=r"train\.json is no JSON"):
        command(monkeypatch, "--results", str(tmp_path))


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
