"""Snakemake itself, on a copy of the project: whole runs, edits, failures, kills and mistakes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import made_up
import pytest

from bench.runs import catalogue
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.tools import campaign
from workflows.plan import Plan

SUITES = [
    p for p in sorted((catalogue.ROOT / "workflows/config").glob("*.yaml")) if p.stem != "schema"
]
PROJECT = ("Snakefile", "bench", "evaluation", "methods", "profiles", "report", "workflows")
SMOKE = ("--configfile", "workflows/config/smoke.yaml")
STAGES = ("train", "autoattack", "pgd50_10", "eps_sweep", "cost")
FULL = (*SMOKE, "--config", "evaluations=[pgd50_10,eps_sweep]")
SLURM = ("--workflow-profile", "profiles/slurm")
HANGS = 3600.0  # seconds; what takes longer is not slow
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", "2")


def copy(folder):
    for name in PROJECT:
        source = catalogue.ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def environment():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def snakemake(folder, *words, ok=True):
    done = subprocess.run(
        [*SNAKEMAKE, *words], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=HANGS,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text
    return text


def bench(folder, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=folder, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert "Traceback" not in text
    return text


def left(folder, *words):
    """Stages that a dry run plans, as [(run's folder, stage)]."""
    found, rule = [], ""
    for line in snakemake(folder, *words, "--dry-run").splitlines():
        if name := re.match(r"(?:local)?rule (\w+):", line):
            rule = name[1]
        if rule != "stale" and (run := re.match(r"    wildcards: run=([^,]+)", line)):
            name = re.search(r"stage=(\w+)", line)
            found.append((run[1], name[1] if name else rule))
    return found


def planned(folder, *words):
    """Count the stages of a dry run, as {(stage, method): count}."""
    return Counter((stage, run.split("/")[2]) for run, stage in left(folder, *words))


def record(folder, method, stage="train"):
    (path,) = (folder / "results/runs/digits/small_cnn" / method).glob(f"*/{stage}.json")
    return Record.read(path)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke suite, run from nothing."""
    folder = copy(tmp_path_factory.mktemp("smoke"))
    said = snakemake(folder, *FULL)
    assert "100%" in said
    return folder


@pytest.fixture
def project(smoke, tmp_path):
    """A finished smoke suite to change at will."""
    folder = tmp_path / "project"
    shutil.copytree(smoke, folder, copy_function=shutil.copy2)
    return folder


def test_a_broken_method_is_told_in_a_sentence_and_only_where_it_is_used(tmp_path):
    folder = copy(tmp_path)
    (folder / "methods/broken.py").write_text(BROKEN.replace("(Method)", "(Method"))
    said = snakemake(folder, *SMOKE, "--config", "methods=[broken]", "--dry-run", ok=False)
    assert "methods/broken.py, line 11: this is no Python: " in said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 5
    assert left(folder, *SMOKE)


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_every_suite_plans(suite, tmp_path):
    said = snakemake(copy(tmp_path), "--configfile", str(suite), "-n", "-q", "rules")
    assert re.search(r"^autoattack +\d+$", said, re.MULTILINE)


def test_smoke_runs_every_stage_and_ends_in_a_page(smoke):
    for method in ("fgsm", "sora"):
        assert record(smoke, method).training.epochs == 2
        assert record(smoke, method, "autoattack").attack.n == 4
        assert record(smoke, method, "cost").expense.forward == 2
        assert record(smoke, method, "pgd50_10").measure.scores["pgd50_10"].n == 4
        assert len(record(smoke, method, "eps_sweep").measure.scores) == 2 * (33 + 7)
        assert record(smoke, method).data.official
    for kind in ("html", "md", "csv"):
        assert "sora" in (smoke / f"results/leaderboard.{kind}").read_text()
    assert list((smoke / "results/tables").glob("*.tex"))
    assert not list((smoke / "results/runs").rglob("state"))


def test_an_update_of_free_at_costs_one_pass_each_way(project):
    config = record(project, "fgsm").config.as_dict() | {"method": "free_at", "settings": {}}
    bench(project, "cost", "--config", json.dumps(config), "--out", "free")
    expense = Record.read(project / "free/cost.json").expense
    assert (expense.forward, expense.backward) == (1, 1)
    assert (expense.declared_forward, expense.declared_backward) == (1, 1)
    assert expense.time_ratio < 1


def test_pictures_and_weights_start_alike_for_every_method(smoke):
    one, two = (record(smoke, method) for method in ("fgsm", "sora"))
    assert one.data == two.data
    assert one.run != two.run


def test_what_is_done_stays_done(project):
    assert planned(project, *SMOKE) == {}


def test_rewording_a_method_reruns_nothing(project):
    path = project / "methods/sora.py"
    path.write_text(path.read_text().replace("Single-step attack, shortened", "An attack, cut"))
    assert planned(project, *SMOKE) == {}


def test_the_whole_grid_of_the_paper_is_planned(project):  # in 8 s on a quiet machine of 2 cores
    paper = ("--configfile", "workflows/config/paper.yaml")
    text = snakemake(project, *paper, "--dry-run", "--quiet", "rules", "host", "reason")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    assert counts["train"] == counts["autoattack"] == str(16 * 6 * 5 * 3)
    assert counts["cost"] == str(16 * 6 * 5)
    assert counts["data"] == "6"


def test_editing_a_method_reruns_that_method_only(project):
    path = project / "methods/sora.py"
    path.write_text(path.read_text().replace("tau: float = 0.02", "tau: float = 0.03"))
    jobs = planned(project, *SMOKE)
    assert {method for _, method in jobs} == {"sora"}
    path.write_text(
        path.read_text().replace("0.03", "0.02").replace("clamp(-1, 1)", "clamp(-1, 2)")
    )
    jobs = planned(project, *FULL)
    assert jobs == {(stage, "sora"): 1 for stage in STAGES}


def test_words_are_all_ops_but_code_there_reruns_every_method(project):
    path = project / "bench/ops.py"
    path.write_text(path.read_text().replace("return (x + d).clamp(0, 1) - x", "return d"))
    assert {method for _, method in planned(project, *SMOKE)} == {"fgsm", "sora"}


def test_a_half_way_page_does_not_count_as_done(tmp_path):
    folder = copy(tmp_path)
    snakemake(folder, "report", *SMOKE)
    assert "not run" in (folder / "results/leaderboard.html").read_text()
    assert ("train", "sora") in planned(folder, *SMOKE)


def test_moving_the_data_reruns_nothing(project):
    (project / ".data").rename(project / "elsewhere")
    assert planned(project, *SMOKE, "--config", "data_dir=elsewhere") == {}


# What is left, to Snakemake, a plan and a campaign alike: each run with one record changed.

CHANGES = [
    ("train", {}, []),
    ("train", {"origin": made_up.ORIGIN}, ["train", "autoattack", "pgd50_10"]),  # another code
    ("train", {"clean": made_up.Score(accuracy=50.0, n=49)}, ["train", "autoattack", "pgd50_10"]),
    ("train", {"probe_images": 8}, ["train", "autoattack", "pgd50_10"]),
    ("train", {"status": "failed", "reason": "x"}, []),
    ("train", {"status": "failed", "reason": "x", "options": {"probe_images": 8}},
     ["train", "autoattack", "pgd50_10"]),
    ("train", None, ["train", "autoattack", "pgd50_10"]),  # missing
    ("autoattack", {"origin": made_up.ORIGIN}, ["autoattack"]),
    ("autoattack", {"n": 3}, ["autoattack"]),
    ("autoattack", {"n": 5}, ["autoattack"]),
    ("autoattack", {"batch": 2}, ["autoattack"]),
    ("autoattack", {"mode": "fast"}, ["autoattack"]),
    ("autoattack", {"seed": 1}, ["autoattack"]),
    ("autoattack", {"weights": "best"}, ["autoattack"]),
    ("autoattack", {"status": "oom", "reason": "x"}, []),
    ("autoattack", {"status": "skipped", "reason": "x"}, ["autoattack"]),  # its training is there
    ("autoattack", None, ["autoattack"]),
    ("pgd50_10", {"origin": made_up.ORIGIN}, ["pgd50_10"]),
    ("pgd50_10", {"settings": {"seed": 1}}, ["pgd50_10"]),
    ("pgd50_10", {"settings": {"weights": "best"}}, ["pgd50_10"]),
    ("pgd50_10", {"scores": {"pgd50_10": made_up.Score(accuracy=50.0, n=5)}}, ["pgd50_10"]),
    ("pgd50_10", None, ["pgd50_10"]),
]  # fmt: skip
RETRIED = [("train", ["train", "autoattack", "pgd50_10"]), ("autoattack", ["autoattack"])]


def changed(project):
    """Write the records of a suite with as many runs as there are changes, and return its plan."""
    seeds = f"seeds={list(range(len(CHANGES)))}"
    over = {"methods": ["fgsm"], "seeds": list(range(len(CHANGES))), "evaluations": ["pgd50_10"]}
    suite = parse_suite(read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml") | over)
    plan = Plan(suite, expand(suite), data_dir=".data", results=project / "results")
    shutil.rmtree(plan.results / "runs")
    for work in plan.work:  # in this order, as jobs do: a source is no younger than what reads it
        name, change, _ = CHANGES[work.config.seed]
        if name != work.stage.name:
            change = {}
        if work.stage.name == "cost":
            change = {"repetitions": 4}
        if change is not None:
            made_up.wanted(plan, work, **change).write(plan.file(work).parent)
    words = [*SMOKE, "--config", "methods=[fgsm]", seeds, "evaluations=[pgd50_10]"]
    return plan, words


def seeds_of(works):
    return sorted((work.config.seed, work.stage.name) for work in works)


def test_everybody_has_the_same_left_to_do(project):
    plan, words = changed(project)
    expected = [(i, name) for i, (_, _, names) in enumerate(CHANGES) for name in names]
    expected.append((0, "cost"))
    assert seeds_of(plan.left) == sorted(expected)
    assert seeds_of(one.work for one in campaign.left(campaign.order([plan]))) == sorted(expected)
    by_name = sorted((work.config.folder, work.stage.name) for work in plan.left)
    assert sorted(left(project, *words)) == by_name
    shutil.rmtree(project / ".snakemake")  # as where results came by rsync, or in an archive
    assert sorted(left(project, *words)) == by_name


def test_everybody_tries_the_same_failures_again(project):
    plan, words = changed(project)
    suite = plan.suite.model_copy(update={"retry_failed": True})
    again = Plan(suite, plan.runs.values(), data_dir=".data", results=plan.results)
    more = sorted({*seeds_of(again.left)} - {*seeds_of(plan.left)})
    failures = [i for i, (_, change, names) in enumerate(CHANGES) if change and not names]
    assert more == [(i, name) for i, (_, names) in zip(failures, RETRIED, strict=True)
                    for name in sorted(names)]  # fmt: skip
    by_name = sorted((work.config.folder, work.stage.name) for work in again.left)
    pieces = campaign.left(campaign.order([again]))
    assert sorted((one.work.config.folder, one.stage) for one in pieces) == by_name
    assert sorted(left(project, *words, "retry_failed=true")) == by_name


BROKEN = '''"""Broken: fails while a file called fail lies about."""

from dataclasses import dataclass
from pathlib import Path

from bench.method import Cost, Method
from bench.ops import ce


@dataclass(frozen=True, kw_only=True)
class Broken(Method):
    """Source: none. Shapes: none. Cost: none. Differs: none."""

    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        if Path("fail").exists():
            raise RuntimeError("it <b>broke</b>")
        descend(ce(net, batch.y), at=batch.x)
'''


def test_a_failure_is_recorded_stops_nobody_and_is_retried_when_asked(project):
    (project / "methods/broken.py").write_text(BROKEN)
    (project / "fail").touch()
    words = (*SMOKE, "--config", "methods=[fgsm,broken]")
    snakemake(project, *words)
    failed = record(project, "broken")
    assert (failed.status, failed.attempt) == ("failed", 1)
    assert failed.reason == "RuntimeError: it <b>broke</b>"
    assert record(project, "broken", "autoattack").status == "skipped"
    page = (project / "results/leaderboard.html").read_text()
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page
    (log,) = (project / "results/logs/digits/small_cnn/broken").glob("*/train.log")
    assert "Traceback" in log.read_text()

    assert planned(project, *words) == {}
    text = snakemake(project, *words, "strict=true", ok=False)
    assert "it <b>broke</b>" in text

    (project / "fail").unlink()
    snakemake(project, *words, "retry_failed=true")
    assert record(project, "broken").status == "done"
    assert record(project, "broken", "autoattack").status == "done"
    assert planned(project, *words) == {}


# Kills. The method waits in its second step while a file called hold lies about, so that there is
# a middle to be killed in.

SLOW = '''"""Slow: FGSM from a random start that can be held."""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.method import Cost, Method
from bench.ops import ce, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class Slow(Method):
    """Source: none. Shapes: none. Cost: none. Differs: none."""

    cost = Cost(forward=2, backward=2)

    def step(self, net, batch, state, descend):
        eta = uniform(batch.x, self.eps)
        g = grad(ce(net, batch.y), at=(batch.x + eta).clamp(0, 1))
        d = project(eta + self.eps * g.sign(), batch.x, self.eps)
        descend(ce(net, batch.y), at=batch.x + d, g=g)
        with open("steps", "a") as file:
            file.write("x")
        while Path("hold").exists() and Path("steps").stat().st_size == 2:
            time.sleep(0.02)
'''
UPDATES = 4  # 2 epochs of 2 batches
ONE = (*SMOKE, "--config", "methods=[slow]")


def started(folder, *words):
    return subprocess.Popen(
        [*SNAKEMAKE, *words], cwd=folder, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def steps(folder):
    path = folder / "steps"
    return path.stat().st_size if path.exists() else 0


def log_of(folder):
    paths = list((folder / "results/logs/digits/small_cnn/slow").glob("*/train.log"))
    return paths[0].read_text() if paths else ""


def until(claim):
    end = time.monotonic() + HANGS
    while not claim():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def jobs_of(folder):
    """Process ids of the training jobs that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            here = (path / "cwd").resolve() == folder.resolve()
        except OSError:
            continue
        if (
            here
            and b"bench" in words
            and b"train" in words
            and b"python" in Path(words[0].decode()).name.encode()
        ):
            found.append(int(path.name))
    return found


def numbers(folder):
    training = record(folder, "slow").training
    attack = record(folder, "slow", "autoattack").attack
    return training.curves, training.clean, training.fgsm, training.pgd10, attack.robust


@pytest.fixture(scope="module")
def undisturbed(smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow") / "project"
    shutil.copytree(smoke, folder, copy_function=shutil.copy2)
    (folder / "methods/slow.py").write_text(SLOW)
    snakemake(folder, *ONE)
    return numbers(folder)


def held_run(project, *words):
    """Start Snakemake and wait until training holds in the middle."""
    (project / "methods/slow.py").write_text(SLOW)
    (project / "hold").touch()
    snakemake = started(project, *ONE, *words)
    until(lambda: steps(project) == 2)
    return snakemake


def test_killed_snakemake_leaves_one_writer_and_the_same_command_goes_on(project, undisturbed):
    first = held_run(project)
    first.kill()
    first.wait()
    (orphan,) = jobs_of(project)
    second = started(project, *ONE)
    until(lambda: "belongs to another running job" in log_of(project))
    assert steps(project) == 2, "two jobs trained the same run"
    (project / "hold").unlink()
    assert second.wait(HANGS) == 0
    assert "is done already" in log_of(project)
    assert not Path(f"/proc/{orphan}").exists()
    assert numbers(project) == undisturbed
    assert planned(project, *ONE) == {}


def test_a_killed_job_is_done_again_by_the_same_command(project, undisturbed):
    first = held_run(project)
    for pid in jobs_of(project):
        os.kill(pid, signal.SIGKILL)
    (project / "hold").unlink()  # the measurement of costs, which comes next, waits for it, too
    assert first.wait(HANGS) == 1
    snakemake(project, *ONE)
    assert numbers(project) == undisturbed


def test_a_job_that_a_cluster_cuts_off_goes_on_from_its_checkpoint(project, undisturbed):
    """The cluster's profile, with jobs run here: SLURM ends a job at its time limit by signals."""
    path = project / "bench/runs/stage.py"
    code = path.read_text()
    assert "option(30.0" in code
    path.write_text(code.replace("option(30.0", "option(0.0"))  # a checkpoint after every batch
    first = held_run(project, *SLURM, "--executor", "local")
    for pid in jobs_of(project):
        os.kill(pid, signal.SIGTERM)
    assert first.wait(HANGS) == 0
    assert "resumed at update 1 of 4" in log_of(project)
    assert record(project, "slow").training.resumed == 1
    assert numbers(project) == undisturbed


def test_a_killed_job_resumes_from_its_checkpoint_bit_for_bit(project, undisturbed):
    (project / "methods/slow.py").write_text(SLOW)
    snakemake(project, *ONE)
    (whole,) = (project / "results/runs/digits/small_cnn/slow").iterdir()
    config = json.dumps(record(project, "slow").config.as_dict())
    command = [
        sys.executable, "-m", "bench", "train", "--config", config, "--out", "resumed",
        "--checkpoint-seconds", "0", "--test-images", "64", "--probe-images", "16",
        "--log", "resumed.log",
    ]  # fmt: skip
    (project / "steps").unlink()
    (project / "hold").touch()
    job = subprocess.Popen(command, cwd=project, env=environment())
    until(lambda: steps(project) == 2)
    job.kill()
    job.wait()
    assert not (project / "resumed/train.json").exists()
    (project / "hold").unlink()
    subprocess.run(command, cwd=project, env=environment(), check=True)
    assert "resumed at update 1 of 4" in (project / "resumed.log").read_text()
    weights = [folder / "model.safetensors" for folder in (whole, project / "resumed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    again = Record.read(project / "resumed/train.json").training
    assert (again.resumed, again.curves) == (1, record(project, "slow").training.curves)
    assert steps(project) == UPDATES + 1  # the step that the kill cut off, once more


# Mistakes, as a user meets them: one paragraph each, and no traceback.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("methods=[soar]",), "unknown method 'soar': did you mean sora?"),
        (("datasets=[cifar]",), "unknown data set 'cifar': did you mean cifar10 or cifar100?"),
        (("architectures=[small]",), "unknown architecture 'small': did you mean small_cnn?"),
        (("epz=3",), "unknown key 'epz': did you mean eps?"),
        (("eps=[0]",), "eps.0: Input should be greater than 0, given '0'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_paragraph(smoke, words, said):
    text = snakemake(smoke, *SMOKE, "-n", "--config", *words, ok=False)
    assert said in text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) < 12, text


def stage(folder, module, *words, config=None):
    text = json.dumps(config or record(folder, "fgsm").config.as_dict())
    return bench(folder, module, "--config", text, *words, code=1)


def test_missing_data_are_named_with_the_command_that_makes_them(smoke):
    said = stage(smoke, "train", "--out", "x/a", "--data-dir", "nowhere")
    assert (
        "nowhere/prepared/digits.safetensors is missing; run: python -m bench data digits" in said
    )
    assert not (smoke / "x/a/train.json").exists()


def test_a_results_folder_that_cannot_be_written_is_named(smoke):
    (smoke / "plain-file").touch()
    said = stage(smoke, "train", "--out", "plain-file/run")
    assert "cannot write to plain-file/run" in said
    assert "make it writable" in said


def test_attacking_what_was_not_trained_says_so(smoke):
    said = stage(smoke, "attack", "--out", "x/b")
    assert "x/b/train.json is missing; train the run first" in said


def test_damaged_weights_are_named(project):
    (run,) = (project / "results/runs/digits/small_cnn/fgsm").iterdir()
    (run / "autoattack.json").unlink()
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    said = stage(project, "attack", "--out", str(run), "--images", "4", "--batch", "4")
    assert "model.safetensors cannot be read as this run's weights" in said
    assert "train the run again" in said


def test_a_method_edited_after_planning_is_not_run_under_the_old_name(project):
    said = stage(project, "train", "--out", "x/c", "--code", "0123456789ab")
    assert "methods/fgsm.py was edited after this run was planned" in said


def test_a_radius_of_nonsense_by_hand_is_refused(smoke):
    config = record(smoke, "fgsm").config.as_dict()
    for eps in ("0/255", "-8/255", "eight"):
        said = stage(smoke, "train", "--out", "x/d", config=config | {"eps": eps})
        assert "eps" in said
        assert "8/255" in said


def test_one_failing_data_set_still_renders_the_page(project):
    words = ("--configfile", "workflows/config/smoke.yaml", "--config", "datasets=[cifar10,digits]")
    text = snakemake(project, *words, "data_dir=empty", ok=False)
    assert "there is no empty/cifar-10-python.tar.gz" in text
    assert "preact" not in text
    page = (project / "results/leaderboard.html").read_text()
    assert "cifar10" in page
    assert "not run" in page


# A newcomer, with CONTRIBUTING alone.


def test_the_tutorials_method_keeps_the_laws_and_appears_on_the_page(project):
    for name in ("tests", "pyproject.toml"):
        source = catalogue.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, project / name)
    tutorial = (catalogue.ROOT / "CONTRIBUTING.md").read_text()
    code = re.findall(r"```python\n(.*?)```", tutorial, re.DOTALL)[0]
    bench(project, "method", "new", "fgsm_random")
    (project / "methods/fgsm_random.py").write_text(code)
    assert " passed" in bench(project, "method", "check", "fgsm_random")
    snakemake(project, *SMOKE, "--config", "methods=[fgsm,fgsm_random]")
    assert "fgsm_random" in (project / "results/leaderboard.html").read_text()


NOISE = '''"""Noise: one draw of it."""

from torch import Generator, rand

from bench.runs.record import Score
from evaluation.attacks import Found
from evaluation.clean import correct

TITLE = "uniform noise"
MEANING = "% right under one draw of uniform noise"
WEIGHTS = "last"


def evaluate(net, x, y, task):
    """Move every pixel by up to eps."""
    draw = rand(x.shape, generator=Generator().manual_seed(task.seed)).to(x.device)
    right = correct(net, (x + task.eps * (2 * draw - 1)).clamp(0, 1), y)
    return Found({"noise": Score(accuracy=100.0 * right.float().mean().item(), n=len(y))}, {})
'''


def test_an_evaluation_is_one_file(project):
    (project / "evaluation/attacks/noise.py").write_text(NOISE)
    words = (*SMOKE, "--config", "methods=[fgsm]", "evaluations=[noise]")
    assert planned(project, *words) == {("noise", "fgsm"): 1}  # its rule; nothing else is stale
    snakemake(project, *words)
    (path,) = (project / "results/runs/digits/small_cnn/fgsm").glob("*/noise.json")
    assert json.loads(path.read_text())["measure"]["scores"]["noise"]["n"] == 4
    page = (project / "results/leaderboard.html").read_text()
    assert "uniform noise" in page  # its column
    assert "--evaluation noise" in page  # the command that repeats it
    assert "noise" in bench(project, "evaluate", "--help")  # its flag
    bench(project, "schema")
    for schema in ("workflows/config/schema.yaml", "results/schema.json"):
        assert re.search(r"\bnoise\b", (project / schema).read_text())


def test_a_data_set_and_a_network_are_one_file_each(project):
    digits = (project / "bench/data/digits.py").read_text()
    (project / "bench/data/numerals.py").write_text(digits.replace("eps=51", "eps=40"))
    net = (project / "bench/models/small_cnn.py").read_text()
    (project / "bench/models/little.py").write_text(net.replace("WIDTH = 32", "WIDTH = 8"))
    words = (*SMOKE, "--config", "methods=[fgsm]", "datasets=[numerals]", "architectures=[little]")
    snakemake(project, *words, "eps=null", "width=null")
    (path,) = (project / "results/runs/numerals/little/fgsm").glob("*/train.json")
    made = Record.read(path)
    assert made.status == "done"
    assert (made.config.eps, made.config.width) == ("40/255", 8)
    page = (project / "results/leaderboard.html").read_text()
    assert "numerals" in page
    assert "little" in page


def test_the_stub_is_no_file_twice_and_takes_no_odd_name(project):
    for name, said in (("fgsm", "exists; choose another"), ("My-Method", "lower snake case")):
        assert said in bench(project, "method", "new", name, code=1)


# Clusters.


def test_slurm_profile_plans_one_gpu_a_job(smoke):
    text = snakemake(smoke, *SMOKE, *SLURM, "-n", "--forceall")
    assert re.search(r"resources: .*gpu=1", text)


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 240), (3, 720), (11, 1440)])
def test_slurm_gives_a_job_that_was_cut_off_more_time_up_to_a_day(smoke, attempt, minutes):
    words = ("-n", "--forceall", "--attempt", str(attempt))
    text = snakemake(smoke, *SMOKE, *SLURM, *words)
    assert set(re.findall(r"runtime=(\d+)", text)) == {str(minutes)}


def test_slurm_turns_gpu_into_one_gpu_a_job():
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    class Resources(dict):
        __getattr__ = dict.get

    class Job(NamedTuple):
        resources: Any = Resources(gpu=1)

    assert set_gres_string(Job()).split() == ["--gpus=1"]
