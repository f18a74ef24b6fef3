"""Kills: nothing is lost or done by two, and the same command ends in the same numbers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from held import ONE, SLOW, UPDATES, ended, log_of, numbers, started, steps, until
from projects import (
    HANGS,
    SLURM,
    environment,
    planned,
    record,
    snakemake,
)

from bench.runs.protocol import PROTOCOLS
from bench.runs.record import Record


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


@pytest.fixture(scope="module")
def undisturbed(smoke, tmp_path_factory):
    return ended(smoke, tmp_path_factory.mktemp("slow") / "project")


@pytest.fixture(autouse=True)
def _let_go(tmp_path):
    """Leave no job that waits behind a test that failed."""
    yield
    (tmp_path / "project/hold").unlink(missing_ok=True)


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
    assert numbers(project) == numbers(undisturbed)
    assert planned(project, *ONE) == {}


def test_a_killed_job_is_done_again_by_the_same_command(project, undisturbed):
    first = held_run(project)
    for pid in jobs_of(project):
        os.kill(pid, signal.SIGKILL)
    (project / "hold").unlink()
    assert first.wait(HANGS) == 1
    snakemake(project, *ONE)
    assert numbers(project) == numbers(undisturbed)


def test_a_job_that_a_cluster_cuts_off_goes_on_from_its_checkpoint(project, undisturbed):
    """The cluster's profile, with jobs run here: SLURM ends a job at its time limit by signals."""
    first = held_run(project, *SLURM, "--executor", "local")
    for pid in jobs_of(project):
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.1)  # a signal that a job does not hold back ends it in the step
    (project / "hold").unlink()
    assert first.wait(HANGS) == 0
    assert "resumed at update 2 of 4" in log_of(project)
    assert record(project, "slow").training.resumed == 1
    assert numbers(project) == numbers(undisturbed)


def test_a_killed_job_resumes_from_its_checkpoint_bit_for_bit(project, undisturbed):
    (project / "methods/slow.py").write_text(SLOW)
    (whole,) = (undisturbed / "results/runs/digits/small_cnn/slow").iterdir()
    config = json.dumps(record(undisturbed, "slow").config.as_dict())
    command = [
        sys.executable, "-m", "bench", "train", "--config", config, "--out", "resumed",
        "--checkpoint-seconds", "0", "--test-images", "64", "--probe-images", "16",
        "--log", "resumed.log",
    ]  # fmt: skip
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
    assert (again.resumed, again.curves) == (1, record(undisturbed, "slow").training.curves)
    assert steps(project) == UPDATES + 1  # the step that the kill cut off, once more


@pytest.mark.parametrize(("sent", "codes"), [("SIGINT", {130}), ("SIGTERM", {143, -15})])
def test_a_job_that_is_interrupted_keeps_its_checkpoint_and_says_so(project, sent, codes):
    (project / "methods/slow.py").write_text(SLOW)
    (project / "hold").touch()
    run = record(project, "fgsm").config.as_dict() | {"method": "slow", "settings": {}}
    command = [sys.executable, "-m", "bench", "train", "--config", json.dumps(run), "--out", "cut"]
    rest = {"cwd": project, "env": environment(), "stderr": subprocess.PIPE, "text": True}
    number = getattr(signal, sent)

    def start():
        # behind a & a shell has SIGINT ignored, which a child would inherit
        default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen([*command, "--log", "log"], preexec_fn=default, **rest)

    job = start()
    until(lambda: steps(project) == 2 or job.poll() is not None)
    job.send_signal(number)
    time.sleep(0.1)
    (project / "hold").unlink()
    _, said = job.communicate(timeout=HANGS)
    assert job.returncode in codes
    assert "Traceback" not in said
    assert f"{sent}: kept update 2 of {UPDATES}" in (project / "log").read_text()
    assert [path.name[:16] for path in (project / "cut/state").iterdir()] == ["update-000000002"]

    (project / "steps").unlink()
    (project / "hold").touch()
    job = start()
    until(lambda: steps(project) == 2 or job.poll() is not None)
    job.send_signal(number)
    job.send_signal(number)
    time.sleep(0.1)
    job.send_signal(number)  # two that come at once may count as one
    job.communicate(timeout=HANGS)
    assert job.returncode in codes, "a second signal waits for the update"
    assert not (project / "cut/train.json").exists()


KILLS = 20


@pytest.mark.slow
def test_twenty_kills_at_any_moment_change_no_bit(project):
    (project / "methods/slow.py").write_text(SLOW)
    run = {
        "dataset": "digits", "architecture": "small_cnn", "width": 4, "seed": 0,
        "method": "slow", "train_images": 1024,
        "protocol": PROTOCOLS["smoke"].as_dict() | {"name": "kills", "epochs": 8},
    }  # fmt: skip
    words = ["--test-images", "64", "--probe-images", "16", "--checkpoint-seconds", "0"]
    command = [sys.executable, "-m", "bench", "train", "--config", json.dumps(run), *words, "--out"]
    rest = {"cwd": project, "env": environment(), "stderr": subprocess.DEVNULL}
    subprocess.run([*command, "whole"], **rest, check=True)
    (project / "steps").unlink()

    draw, killed = random.Random(0), Counter()
    while killed.total() < KILLS:
        before, sent = steps(project), draw.choice(("SIGINT", "SIGTERM", "SIGKILL"))
        # behind a & a shell has SIGINT ignored, which a child would inherit
        job = subprocess.Popen(
            [*command, "cut"],
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **rest,
        )
        until(lambda job=job, before=before: steps(project) > before or job.poll() is not None)
        time.sleep(draw.uniform(0, 0.03))
        assert job.poll() is None, "it ended before it was killed"
        job.send_signal(getattr(signal, sent))
        assert job.wait(HANGS) != 0
        assert not (project / "cut/train.json").exists()
        killed[sent] += 1
    assert len(killed) == 3
    subprocess.run([*command, "cut"], **rest, check=True)
    whole, cut = (Record.read(project / name / "train.json").training for name in ("whole", "cut"))
    assert (cut.curves, cut.clean, cut.fgsm, cut.pgd10) == (
        whole.curves, whole.clean, whole.fgsm, whole.pgd10,
    )  # fmt: skip
    assert cut.weights == whole.weights
    assert len(cut.segments) == cut.resumed + 1 > KILLS // 2
