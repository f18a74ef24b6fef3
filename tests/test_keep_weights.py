"""Weights of collapsed runs go where a suite says so, and not before it is through with them."""

import dataclasses
import hashlib
import json
import os

import made_up
import pytest
from projects import SMOKE, bench, snakemake

import bench as onestep
from bench.runs import dropped
from bench.runs.catalogue import ROOT
from bench.runs.record import AUTOATTACK, TRAIN, Record, Verdict
from bench.runs.run import expand
from bench.runs.suite import ConfigError, parse_suite, read_yaml
from bench.tools import memory
from report import render, weights
from workflows.plan import Plan, drop_collapsed

COLLAPSED = Verdict(collapsed=True, onset_epoch=0)
CONTENT = b"trained"


def plan_of(tmp_path, **changes):
    given = {"methods": ["fgsm", "sora"], "evaluations": ["pgd50_10"], "keep_weights": "robust"}
    suite = parse_suite(read_yaml(ROOT / SMOKE[1]) | given | changes)
    return Plan(suite, expand(suite), data_dir="x", results=tmp_path)


def do(plan, *stages):
    """Leave records of some stages, and the files of weights; FGSM has collapsed."""
    for work in plan.work:
        if work.stage.name not in (stages or {one.stage.name for one in plan.work}):
            continue
        changes = {}
        if work.stage.name == TRAIN:
            named = {"full": hashlib.sha256(CONTENT).hexdigest()}
            changes = {"weights": dict.fromkeys(("last", "best", "average"), named)}
            if work.config.method == "fgsm":
                changes["verdict"] = COLLAPSED
            for name in ("model", "best", "average"):
                path = plan.file(work, f"{name}.safetensors")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(CONTENT)
        made_up.wanted(plan, work, **changes).write(plan.file(work).parent)


def there(plan):
    """Names of the files of weights, by method."""
    return {
        config.method: sorted(path.stem for path in plan.results.glob(f"runs/{folder}/*.saf*"))
        for folder, config in plan.runs.items()
    }


ALL = ["average", "best", "model"]


def test_weights_of_collapsed_runs_go_but_those_that_a_rule_chose(tmp_path):
    plan = plan_of(tmp_path)
    do(plan)
    assert drop_collapsed([plan]) == 2 * len(CONTENT)
    assert there(plan) == {"fgsm": ["best"], "sora": ALL}
    assert drop_collapsed([plan]) == 0
    assert plan.left == [], "to drop weights makes nothing stale"


@pytest.mark.parametrize("keep", ["full", "half"])
def test_they_stay_where_the_suite_does_not_say_robust(tmp_path, keep):
    plan = plan_of(tmp_path, keep_weights=keep)
    do(plan)
    assert drop_collapsed([plan]) == 0
    assert there(plan)["fgsm"] == ALL


@pytest.mark.parametrize("lacking", [AUTOATTACK, "pgd50_10"])
def test_they_stay_while_a_stage_is_left_that_reads_them(tmp_path, lacking):
    plan = plan_of(tmp_path)
    do(plan, *{one.stage.name for one in plan.work} - {lacking})
    assert drop_collapsed([plan]) == 0
    do(plan, lacking)
    for work in plan.work:
        if work.stage.name == lacking:  # by want of memory, so somebody may try again
            made_up.wanted(plan, work, status="oom", reason="x").write(plan.file(work).parent)
    assert drop_collapsed([plan]) == 0
    assert there(plan)["fgsm"] == ALL


def test_they_stay_while_another_suite_reads_them(tmp_path):
    one, other = plan_of(tmp_path), plan_of(tmp_path, evaluations=["pgd20"], keep_weights="full")
    do(one)
    assert drop_collapsed([one, other]) == 0
    do(other, "pgd20")
    assert drop_collapsed([one, other]) == 2 * len(CONTENT)


def test_another_suite_that_keeps_all_keeps_its_own(tmp_path):
    one, other = plan_of(tmp_path), plan_of(tmp_path, seeds=[1], keep_weights="full")
    do(one)
    do(other)
    assert drop_collapsed([one, other]) == 2 * len(CONTENT)
    assert there(other)["fgsm"] == ALL


def test_they_stay_while_another_run_begins_with_them(tmp_path):
    start = {"sora": {"method": "fgsm", "protocol": "smoke"}}
    plan = plan_of(tmp_path, start_for=start)
    for work in plan.work:
        if work.config.method == "fgsm":
            do_one = {"verdict": COLLAPSED} if work.stage.name == TRAIN else {}
            made_up.wanted(plan, work, **do_one).write(plan.file(work).parent)
            plan.file(work, "model.safetensors").write_bytes(CONTENT)
    assert drop_collapsed([plan]) == 0


def test_again_and_retry_do_not_keep_them(tmp_path):
    plan = plan_of(tmp_path, again=True, retry_failed=True)
    do(plan.plain())
    assert drop_collapsed([plan]) == 2 * len(CONTENT)


@pytest.fixture
def without(tmp_path):
    plan = plan_of(tmp_path)
    do(plan)
    drop_collapsed([plan])
    (work,) = (w for w in plan.work if (w.config.method, w.stage.name) == ("fgsm", TRAIN))
    return plan, plan.file(work).parent


def test_load_and_the_page_say_that_they_were_dropped(without, tmp_path):
    _, folder = without
    said = "model.safetensors was dropped: the run collapsed in epoch 1 of 1, and keep_weights is"
    with pytest.raises(ValueError, match=said):
        onestep.load(folder)
    _, records = render.gather(tmp_path)
    (folder / "best.safetensors").unlink()
    _, records = render.gather(tmp_path)
    assert {run.config.method: run.weights for run in records.runs} == {
        "fgsm": weights.DROPPED, "sora": weights.SOUND,
    }  # fmt: skip
    dropped.forget(folder)
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        onestep.load(folder)


def test_a_suite_says_full_half_or_robust():
    with pytest.raises(ConfigError, match="keep_weights: Input should be 'full', 'half' or 'rob"):
        made_up.digits_suite(keep_weights="quarter")


@pytest.mark.parametrize(("keep", "share"), [("full", 1), ("half", 2), ("robust", 2)])
def test_disk_is_counted_as_it_will_be_taken(tmp_path, keep, share):
    runs = plan_of(tmp_path).runs.values()
    assert memory.weights_bytes(runs, keep) == memory.weights_bytes(runs) // share


def test_a_suite_keeps_half_drops_what_collapsed_and_refuses_what_needs_it(project):
    """As users meet it: the finished smoke suite, of which FGSM is made to have collapsed."""
    (run,) = (project / "results/runs/digits/small_cnn/fgsm").iterdir()
    record = Record.read(run / "train.json")
    training = dataclasses.replace(record.training, verdict=COLLAPSED)
    before = (run / "train.json").stat()
    dataclasses.replace(record, training=training).write(run)
    os.utime(run / "train.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    said = snakemake(project, *SMOKE, "--config", "keep_weights=robust")
    assert "MB: weights of collapsed runs" in said
    assert not (run / "model.safetensors").exists()
    words = ("--config", json.dumps(record.config.as_dict()), "--out", run, "--device", "cpu")
    said = bench(project, "evaluate", *map(str, words), "--evaluation", "pgd20", "--images", "4")
    assert "refused: model.safetensors was dropped: the run collapsed in epoch 1 of 2" in said
    refused = Record.read(run / "pgd20.json")
    assert refused.status == "refused"
    assert f"python -m bench reproduce {run} --into DIR" in refused.reason
    said = bench(project, "train", *map(str, words), "--keep-weights", "half", "--again",
                 "--test-images", "64", "--probe-images", "16")  # fmt: skip
    again = Record.read(run / "train.json")
    digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    assert (
        digest == again.training.weights["last"]["half"] == record.training.weights["last"]["half"]
    )
    assert again.options["keep_weights"] == "half"
    assert not (run / dropped.NOTE).exists()
