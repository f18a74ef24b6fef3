"""Clusters: what jobs ask SLURM for, without one; tests/test_slurm.py has the real thing."""

import os
import re
import subprocess
import sys

import pytest
from projects import HANGS, SLURM, SMOKE, edit, environment, snakemake

# Notes what it is asked for, and fails.
PROGRAM = """#!/bin/sh
echo "$@" >> "$0.asked"
exit 1
"""


@pytest.mark.parametrize(
    ("attempt", "minutes", "megabytes"),
    [(1, 240, 8000), (3, 720, 32000), (4, 960, 64000), (11, 1440, 64000)],
)
def test_each_try_asks_for_more_time_and_memory(project, attempt, minutes, megabytes):
    # whoever names a partition replaces all default resources
    words = ("-n", "--forceall", "--attempt", str(attempt), "--default-resources", "disk_mb=1")
    text = snakemake(project, *SMOKE, *SLURM, *words)
    asked = [set(line.split(", ")) for line in re.findall(r"resources: (.*gpu=1.*)", text)]
    assert asked
    assert all({f"runtime={minutes}", f"mem_mb={megabytes}"} < each for each in asked)


@pytest.mark.parametrize("cores", [(), ("--cores", "64")])
def test_no_job_asks_for_the_cores_of_the_machine_that_plans(project, tmp_path, monkeypatch, cores):
    for name in ("sbatch", "sacct"):  # the plug-in looks for an account whatever it is told
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    edit(project / "workflows/config/smoke.yaml", "threads: 1 ", "threads: null ")
    for stage in ("train", "cost"):
        next(project.glob(f"results/runs/digits/small_cnn/fgsm/*/{stage}.json")).unlink()
    mine = ("--slurm-no-account", "--default-resources", "slurm_partition=main")
    words = (*SLURM, *cores, *SMOKE, *mine, "--retries", "0")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=project, env=environment(),
        capture_output=True, text=True, timeout=HANGS,
    )  # fmt: skip
    assert "SLURM sbatch failed" in done.stdout + done.stderr
    asked = (tmp_path / "sbatch.asked").read_text().splitlines()
    assert len(asked) == 2
    for line in asked:
        assert "--cpus-per-task=1 " in line
        assert "-t 240 --mem 8000 " in line
        assert "--gpus=1 " in line
