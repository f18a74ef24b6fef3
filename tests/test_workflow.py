"""Snakemake itself, on a copy of the project: whole runs, edits and failures."""

import os
import re
import shutil
import subprocess
import time
from collections import Counter

import pytest
from projects import FULL, SMOKE, SUITES, copy, edit, planned, record, snakemake, times, twin

from bench.runs.catalogue import ROOT
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from workflows.plan import Plan

# thousands of jobs, of which Snakemake makes its graph in 15 to 45 s
LARGE = {"seat", "soar", "gradalign", "fastat"}
STAGES = ("train", "autoattack", "pgd50_10", "eps_sweep", "cost")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The project before anything has run, to plan in."""
    return copy(tmp_path_factory.mktemp("fresh"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_suite_plans_all_of_its_runs(fresh, path):  # paper: 8 s on a quiet machine of 2 cores
    suite = parse_suite(read_yaml(path))
    runs = expand(suite)
    plan = Plan(suite, runs, data_dir="data", results=fresh / "results")
    counts = Counter(work.stage.name for work in plan.work)
    if path.stem not in LARGE:
        quiet = ("--dry-run", "--quiet", "rules", "host", "reason")
        said = snakemake(fresh, "--configfile", str(path), *quiet)
        rules = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
        assert rules["train"] + rules.get("source", 0) == counts["train"]
        assert rules["autoattack"] == counts["autoattack"]
        assert rules["cost"] == counts["cost"]
        assert rules["data"] == len(suite.datasets)
    started = {run.source.folder for run in runs if run.source}
    read = {one.config.folder for work in plan.work for one in plan.reads(work)}
    assert counts["train"] == len({run.folder for run in runs} | started | read)
    assert counts["autoattack"] == len(runs)
    assert counts["cost"] >= len(runs) / len(suite.seeds)


def test_smoke_runs_every_stage_and_ends_in_a_page(smoke):
    for method in ("fgsm", "sora"):
        assert record(smoke, method).training.epochs == 2
        assert record(smoke, method, "autoattack").attack.n == 4
        assert record(smoke, method, "cost").expense.forward == 2
        assert record(smoke, method, "pgd50_10").measure.scores["pgd50_10"].n == 4
        assert len(record(smoke, method, "eps_sweep").measure.scores) == 2 * (33 + 7)
        assert record(smoke, method).data.official
    for kind in ("html", "md", "csv"):
        assert "sora" in (smoke / f"results/leaderboard.{kind}").read_text().lower()
    assert list((smoke / "results/tables").glob("*.tex"))
    assert not list((smoke / "results/runs").rglob("state"))


def test_a_run_says_a_line_a_job_then_its_table_and_ends_with_what_is_done(smoke):
    lines = (smoke / "said").read_text().splitlines()
    assert lines[-1] == "done: 10 of 10 stages of suite smoke; the page: results/leaderboard.html"
    jobs, table = lines[: lines.index("")], lines[lines.index("") :]
    assert len(jobs) == 1 + 1 + 10, jobs  # the profile, the data, and the stages
    for job in jobs[2:]:
        assert re.match(
            r"(fgsm|sora) seed 0, digits, \w+: done, .*\d.*, \d+ s \(results/runs/", job
        )
    assert "results/leaderboard.html" in table


def test_the_last_line_says_so_where_nothing_is_left_to_do(project):
    said = snakemake(project, *FULL).splitlines()
    assert said[-1] == "done: 10 of 10 stages of suite smoke; the page: results/leaderboard.html"
    (project / "results/runs/digits/small_cnn").rename(project / "results/away")
    said = snakemake(project, *SMOKE, "--dry-run").splitlines()
    assert said[-1].startswith("left: 2 train (2 new), 2 autoattack (2 new), 2 cost (2 new); ")


def test_a_graph_is_drawn_without_our_words(project):
    assert snakemake(project, *SMOKE, "--dag").rstrip().endswith("}")


@pytest.mark.parametrize("goal", ["leaderboard", "report"])
def test_make_gathers_the_records_in_snakemake_alone(goal):
    words = ["make", "--no-print-directory", "--dry-run", "--old-file", ".venv/.ready", goal]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    (command,) = done.stdout.splitlines()
    assert command.startswith(".venv/bin/snakemake")
    assert "bench report" not in command


def test_pictures_and_weights_start_alike_for_every_method(smoke):
    one, two = (record(smoke, method) for method in ("fgsm", "sora"))
    assert one.data == two.data
    assert one.run != two.run


def test_what_is_done_stays_done(project):
    assert planned(project, *SMOKE) == {}


def test_rewording_a_method_reruns_nothing(project):
    edit(project / "methods/sora.py", "Single-step attack, shortened", "An attack, cut")
    assert planned(project, *SMOKE) == {}


def test_editing_a_method_reruns_that_method_only(project):
    path = project / "methods/sora.py"
    edit(path, "tau: float = 0.02", "tau: float = 0.03")
    assert {method for _, method in planned(project, *SMOKE)} == {"sora"}
    edit(path, "tau: float = 0.03", "tau: float = 0.02")
    edit(path, "clamp(-1, 1)", "clamp(-1, 2)")
    assert planned(project, *FULL) == {(stage, "sora"): 1 for stage in STAGES}


def test_words_are_all_ops_but_code_there_reruns_every_method(project):
    edit(project / "bench/threat.py", "return (x + d).clamp(0, 1) - x", "return d")
    assert {method for _, method in planned(project, *SMOKE)} == {"fgsm", "sora"}


def test_a_half_way_page_does_not_count_as_done(tmp_path):
    folder = copy(tmp_path)
    snakemake(folder, "report", *SMOKE)
    assert "not run" in (folder / "results/leaderboard.html").read_text()
    assert ("train", "sora") in planned(folder, *SMOKE)


def test_results_copied_without_their_times_are_recognised(project):
    """As by cp -r: trainings are younger than their attacks, and Snakemake knows of no run."""
    runs = project / "results/runs"
    records = {path: path.read_bytes() for path in runs.rglob("*.json")}
    shutil.rmtree(project / ".snakemake")
    for path in records:
        hours = 1 if path.name == "train.json" else 2
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    assert planned(project, *FULL)[("autoattack", "fgsm")] == 1  # so it is started again
    snakemake(project, *FULL)
    assert {path: path.read_bytes() for path in runs.rglob("*.json")} == records


def test_results_live_elsewhere_than_a_checkout_that_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # root may write everywhere
    checkout, elsewhere = copy(tmp_path / "checkout"), tmp_path / "else where"
    for path in checkout.rglob("*"):
        path.chmod(path.stat().st_mode & 0o555)
    before = times(checkout)
    (elsewhere / "bench").mkdir(parents=True)
    (elsewhere / "bench/__init__.py").write_text("raise ImportError('not the project')")
    words = (*SMOKE, "--directory", str(elsewhere), "--config", "methods=[fgsm]")
    snakemake(checkout, "--until", "train", *words)
    snakemake(checkout, "report", *words)
    assert record(elsewhere, "fgsm").status == "done"
    assert "digits, small_cnn" in (elsewhere / "results/leaderboard.md").read_text()
    assert times(checkout) == before


def test_moving_the_data_reruns_nothing(project):
    (project / ".data").rename(project / "elsewhere")
    assert planned(project, *SMOKE, "--config", "data_dir=elsewhere") == {}


BROKEN = '''"""Broken: fails while a file called fail lies about."""

import os
import signal
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
        if Path("die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        descend(ce(net, batch.y), at=batch.x)
'''


WITH_BROKEN = (*SMOKE, "--config", "methods=[fgsm,broken]")


@pytest.fixture(scope="module")
def failed(smoke, tmp_path_factory):
    """A project in which one of two methods has failed; to read, or to copy."""
    folder = twin(smoke, tmp_path_factory.mktemp("failed") / "project")
    (folder / "methods/broken.py").write_text(BROKEN)
    (folder / "fail").touch()
    (folder / "said").write_text(snakemake(folder, *WITH_BROKEN))
    return folder


def test_a_failure_is_recorded_and_stops_nobody(failed):
    one = record(failed, "broken")
    assert (one.status, one.attempt) == ("failed", 1)
    assert one.reason == "RuntimeError: it <b>broke</b>"
    assert record(failed, "broken", "autoattack").status == "skipped"
    assert record(failed, "broken", "cost").status == "failed"
    page = (failed / "results/leaderboard.html").read_text()
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page
    (log,) = (failed / "results/logs/digits/small_cnn/broken").glob("*/train.log")
    assert "Traceback" in log.read_text()
    assert planned(failed, *WITH_BROKEN) == {}


def test_the_last_line_names_what_failed_with_its_log_and_how_to_go_on(failed):
    line = (failed / "said").read_text().splitlines()[-1]
    assert line.startswith("failed: 3 done, 2 failed, 1 skipped of 6 stages of suite smoke; ")
    (log,) = (failed / "results/logs/digits/small_cnn/broken").glob("*/train.log")
    named = f"broken seed 0, digits, train: RuntimeError: it <b>broke</b> (log {log})"
    assert named.replace(f"{failed}/", "") in line
    assert line.endswith("the same command with --config retry_failed=true")


def test_a_job_that_was_killed_is_left_in_the_last_line(failed, tmp_path):
    project = twin(failed, tmp_path / "project")
    (project / "fail").rename(project / "die")
    words = ("--until", "train", *WITH_BROKEN, "retry_failed=true")
    line = snakemake(project, *words, ok=False).splitlines()[-1]
    assert line.startswith("failed: ")  # as before; the retry has left nothing
    for path in (project / "results/runs/digits/small_cnn/broken").glob("*/*.json"):
        path.unlink()
    line = snakemake(project, *words, ok=False).splitlines()[-1]
    assert line.startswith("left: 3 done, 3 left of 6 stages of suite smoke; broken seed 0, ")
    assert "/train.log)" in line
    assert line.endswith("; the same command goes on")


def test_under_strict_a_failure_is_an_error(failed, tmp_path):
    again = ("--until", "train", *WITH_BROKEN, "strict=true")
    assert "it <b>broke</b>" in snakemake(twin(failed, tmp_path / "project"), *again, ok=False)


def test_a_failure_is_retried_when_asked(failed, tmp_path):
    project = twin(failed, tmp_path / "project")
    (project / "fail").unlink()
    attacked = ("--until", "autoattack", *WITH_BROKEN)
    snakemake(project, *attacked, "retry_failed=true")
    assert record(project, "broken").status == "done"
    assert record(project, "broken", "autoattack").status == "done"
    assert planned(project, *attacked) == {}


def test_figures_are_drawn_after_the_runs_and_the_page_is_named(project):
    said = snakemake(project, "figures", *FULL, "figures=[eps_overfitting,trade_off]").splitlines()
    pages = "results/leaderboard.html, results/figures/smoke.html"
    assert said[-1] == f"done: 10 of 10 stages of suite smoke; the page: {pages}"
    drawn = {path.name for path in (project / "results/figures/smoke").glob("*.svg")}
    assert drawn == {"eps_overfitting.svg", "trade_off-pgd10.svg", "trade_off-autoattack.svg"}
    assert "figures/smoke.html" in (project / "results/leaderboard.html").read_text()


def test_one_failing_data_set_still_renders_the_page(project):
    words = ("--configfile", "workflows/config/smoke.yaml", "--config", "datasets=[cifar10,digits]")
    text = snakemake(project, *words, "data_dir=empty", ok=False)
    assert "there is no empty/cifar-10-python.tar.gz" in text
    assert "preact" not in text
    page = (project / "results/leaderboard.html").read_text()
    assert "cifar10" in page
    assert "not run" in page
