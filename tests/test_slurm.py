"""SLURM, for real: a cluster of one made-up node, with accounting and without (make test-slurm)."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cluster
import pytest
from held import ONE, SLOW, ended, log_of, numbers, steps, until
from projects import HANGS, SLURM, SMOKE, copy, edit, environment, planned, record

pytestmark = pytest.mark.slurm

BROKEN = '''"""Broken: a method that cannot be trained."""

from dataclasses import dataclass

from bench.method import Cost, Method


@dataclass(frozen=True, kw_only=True)
class Broken(Method):
    """Source: none. Shapes: none. Cost: none. Differs: none."""

    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        raise ZeroDivisionError("broken on purpose")
'''
STARTER = """
import cluster, os, subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
with cluster.running(folder, accounting=False) as os.environ["SLURM_CONF"]:
    job = f"setsid sleep 3600 & touch {folder}/sleeps; sleep 3600"
    subprocess.run(["sbatch", "--output=/dev/null", "--wrap", job], check=True)
    time.sleep(3600)
"""


@pytest.fixture(scope="module", autouse=True, params=["accounting", "no-accounting"])
def _cluster(request, tmp_path_factory):
    """A cluster, which sbatch and others find by SLURM_CONF."""
    if lacks := cluster.lacking():
        pytest.exit(lacks, returncode=1)
    folder = tmp_path_factory.mktemp("slurm")
    accounting = request.param == "accounting"
    with (
        pytest.MonkeyPatch.context() as patch,
        cluster.running(folder, accounting=accounting) as conf,
    ):
        patch.setenv("SLURM_CONF", conf)
        yield


@pytest.fixture(scope="session")
def undisturbed(smoke, tmp_path_factory):
    return ended(smoke, tmp_path_factory.mktemp("slow") / "project")


def submitting(folder, *words):
    """Start the README's line, with questions after SLURM's jobs every 5 s instead of 40."""
    often = ("--slurm-init-seconds-before-status-checks", "5")
    with (folder / "said").open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *SLURM, *words, *often], cwd=folder,
            env=environment(), stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def ends(job, folder, code=0):
    assert job.wait(HANGS) == code, said(folder)


def said(folder):
    return (folder / "said").read_text()


def slurm(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def held_job(project, *words):
    """Start Snakemake, wait until training holds in the middle; returns it and SLURM's job."""
    (project / "methods/slow.py").write_text(SLOW)
    # a checkpoint after every batch
    edit(project / "bench/runs/stage.py", "option(30.0", "option(0.0")
    (project / "hold").touch()
    running = submitting(project, *ONE, *words)
    until(lambda: steps(project) == 2 or running.poll() is not None)
    assert running.poll() is None, said(project)
    (job,) = slurm("squeue", "--noheader", "--format=%i", "--states=RUNNING")
    return running, job


def went_on(project, undisturbed):
    assert "resumed at update 1 of 4" in log_of(project)
    assert record(project, "slow").training.resumed == 1
    assert numbers(project) == numbers(undisturbed)


def test_the_smoke_suite_ends_in_the_numbers_of_a_local_run(smoke, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    copy(project)
    ends(submitting(project, *SMOKE), project)
    assert planned(project, *SMOKE) == {}
    for method in ("fgsm", "sora"):
        there, here = record(project, method).training, record(smoke, method).training
        assert there.weights == here.weights
        assert there.curves == here.curves
        assert (there.clean, there.fgsm, there.pgd10) == (here.clean, here.fgsm, here.pgd10)
        there, here = (record(folder, method, "autoattack") for folder in (project, smoke))
        assert (there.attack.after, there.attack.robust) == (here.attack.after, here.attack.robust)
        assert there.attack.digest == here.attack.digest
        # seconds are the machine's
        there, here = (record(folder, method, "cost") for folder in (project, smoke))
        assert (there.status, there.expense.forward, there.expense.backward) == (
            here.status, here.expense.forward, here.expense.backward,
        )  # fmt: skip
    assert (project / "results/leaderboard.html").exists()


def test_a_job_past_its_time_limit_goes_on_in_another(project, undisturbed):
    running, _ = held_job(project, "--set-resources", "train:runtime=1")
    ends(running, project)
    assert "SLURM status is: 'TIMEOUT'" in said(project)
    went_on(project, undisturbed)


def test_a_cancelled_job_goes_on_in_another(project, undisturbed):
    running, job = held_job(project)
    slurm("scancel", job)
    ends(running, project)
    assert "SLURM status is: 'CANCELLED'" in said(project)
    went_on(project, undisturbed)


def test_a_failing_job_is_tried_again_and_stops_no_other(project, smoke):
    (project / "methods/broken.py").write_text(BROKEN)
    again = ("--config", "methods=[broken,fgsm]", "again=true", "strict=true")
    ends(submitting(project, "--until", "train", *SMOKE, *again, "--retries", "1"), project, code=1)
    assert len(set(re.findall(r"SLURM-job '(\d+)' failed", said(project)))) == 2
    (log,) = project.glob("results/logs/digits/small_cnn/broken/*/train.log")
    assert "broken on purpose" in log.read_text()
    assert record(project, "fgsm").origin.started > record(smoke, "fgsm").origin.started


def test_snakemake_killed_and_started_again_ends_in_the_same_numbers(project, undisturbed):
    first, _ = held_job(project)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = submitting(project, *ONE)
    until(lambda: "belongs to another running job" in log_of(project))
    assert steps(project) == 2, "two jobs trained the same run"
    (project / "hold").unlink()
    ends(second, project)
    assert "is done already" in log_of(project)
    assert numbers(project) == numbers(undisturbed)


def test_a_cluster_dies_with_the_process_that_started_it(tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path], cwd=Path(cluster.__file__).parent
    )
    until(lambda: (tmp_path / "sleeps").exists() or starter.poll() is not None)
    assert len(cluster.processes(tmp_path)) > 2
    starter.kill()
    starter.wait()
    until(lambda: not cluster.processes(tmp_path))
