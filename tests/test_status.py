"""What `bench status` says of jobs that run, wait, failed or were killed; it changes nothing."""

import subprocess
import sys

import made_up
import pytest
from projects import times

from bench.runs import cache
from bench.runs.catalogue import ROOT
from bench.runs.locks import is_written, run_lock
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.tools import status
from bench.tools.plan import Again
from workflows.plan import Plan

FILE = ROOT / "workflows/config/smoke.yaml"


@pytest.fixture
def plan(tmp_path):
    suite = parse_suite(read_yaml(FILE) | {"methods": ["fgsm", "sora", "pgd2"]})
    return Plan(suite, expand(suite), data_dir="x", results=tmp_path)


def of(plan, stage, method):
    return next(work for work in plan.work
                if (work.stage.name, work.config.method) == (stage, method))  # fmt: skip


def leave(plan, stage, method, **changes):
    work = of(plan, stage, method)
    made_up.wanted(plan, work, **changes).write(plan.file(work).parent)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def said(plan):
    return list(status.report(plan, Again("GO ON", "RETRY")))


def test_a_running_job_is_told_from_a_killed_one_by_its_lock(plan):
    running, killed = of(plan, "train", "fgsm"), of(plan, "train", "sora")
    for work in (running, killed):
        write(plan.file(work, "state/update-000000001-0123456789abcdef.safetensors"), "x")
        write(plan.log(work), "12:00:00 epoch 1/2  0:09 left\n12:00:01 epoch 2/2  0:04 left\n")
    with run_lock(plan.file(killed).parent, "train"):
        pass  # it is dead, and its lock file is there
    with run_lock(plan.file(running).parent, "train"):
        lines = said(plan)
    assert lines[0].split(None, 1) == ["train", "1 running, 1 waiting to go on, 1 waiting"]
    assert "running: fgsm seed 0, digits, train: 12:00:01 epoch 2/2  0:04 left" in lines
    assert not any("sora" in line for line in lines if line.startswith("running"))
    assert lines[-1].endswith("; 1 running")
    assert said(plan)[-1].endswith("; GO ON")


def test_a_training_that_is_read_does_not_run(plan):
    leave(plan, "train", "fgsm")
    folder = plan.file(of(plan, "train", "fgsm")).parent
    with run_lock(folder, "autoattack", reads=["train"]):
        assert is_written(folder, "autoattack")
        assert not is_written(folder, "train")
        lines = said(plan)
    assert lines[0].split(None, 1) == ["train", "1 done, 2 waiting"]
    assert lines[1].split(None, 1) == ["autoattack", "1 running, 2 waiting"]


def test_what_failed_is_told_with_reason_and_log_and_what_follows_it_is_skipped(plan):
    leave(plan, "train", "fgsm", status="diverged", reason="loss is nan")
    leave(plan, "autoattack", "fgsm", status="skipped", reason="x")
    log = plan.log(of(plan, "train", "fgsm"))
    write(log, "x")
    lines = said(plan)
    assert f"failed: fgsm seed 0, digits, train: diverged: loss is nan (log {log})" in lines
    assert lines[0].split(None, 1) == ["train", "1 diverged, 2 waiting"]
    assert lines[1].split(None, 1) == ["autoattack", "1 skipped, 2 waiting"]
    assert lines[-1].startswith("failed: 1 failed, 1 skipped, 7 left of 9 stages of suite smoke")


def test_a_suite_that_asks_for_retries_is_shown_as_it_is(plan):
    leave(plan, "train", "fgsm", status="failed", reason="x")
    keys = {"retry_failed": True, "again": True}
    again = Plan(plan.suite.model_copy(update=keys), plan.runs.values(), data_dir="x",
                 results=plan.results)  # fmt: skip
    assert said(again) == said(plan)


def test_it_says_how_much_room_is_taken_and_left(plan):
    write(plan.results / "runs/x", "0" * 3_000_000)
    (disk,) = (line for line in said(plan) if line.startswith("disk"))
    assert disk.startswith("disk: 3 MB of results, ")
    assert disk.endswith("B free beside them")


def test_it_writes_nothing_but_the_cache_and_does_without_torch(plan):
    leave(plan, "train", "fgsm")
    before = times(plan.results)
    code = (
        "import sys; from bench.tools import status; status.main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'seconds for nothing'"
    )
    words = ["--suite", str(FILE), "--results", str(plan.results)]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split(None, 1) == ["train", "1 done, 1 waiting"]
    after = times(plan.results)
    after.pop(plan.results / cache.NAME, None)
    assert after == before


def test_no_results_at_all_are_no_error(tmp_path, capsys):
    status.main(["--suite", str(FILE), "--results", str(tmp_path / "none")])
    said = capsys.readouterr().out
    assert "left: 6 of 6 stages of suite smoke" in said
    assert said.rstrip().endswith(f"; to do it: snakemake --configfile {FILE}")
    assert not (tmp_path / "none").exists()


def test_a_method_is_fingerprinted_once_however_many_runs_it_has(plan, monkeypatch):
    from workflows import plan as module

    asked = []
    monkeypatch.setattr(module, "method_fingerprint", lambda name: asked.append(name) or name)
    suite = plan.suite.model_copy(update={"seeds": [0, 1, 2]})
    many = Plan(suite, expand(suite), data_dir="x", results=plan.results)
    assert len(many.runs) == 9
    assert sorted(asked) == sorted(many.code) == ["fgsm", "pgd2", "sora"]
