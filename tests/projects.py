"""Copies of the project to run Snakemake and its programs in."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.runs import catalogue
from bench.runs.record import Record

SUITES = sorted((catalogue.ROOT / "workflows/config").glob("*.yaml"))
SUITES = [path for path in SUITES if path.stem != "schema"]
PROJECT = (
    "CITATION.cff",
    "Snakefile",
    "bench",
    "evaluation",
    "methods",
    "profiles",
    "report",
    "workflows",
)
SMOKE = ("--configfile", "workflows/config/smoke.yaml")
FULL = (*SMOKE, "--config", "evaluations=[pgd50_10,eps_sweep]")
LOUD = ("--quiet", "host")  # Snakemake says what it does
SLURM = ("--workflow-profile", "profiles/slurm")
HANGS = 3600.0  # seconds; what takes longer is not slow
SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", "2")


def copy(folder):
    folder.mkdir(exist_ok=True)
    for name in PROJECT:
        source = catalogue.ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def twin(folder, into):
    """Copy a project that has run, with the times of its files: Snakemake goes by them."""
    return shutil.copytree(folder, into, copy_function=shutil.copy2)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def edit(path, old, new):
    """Replace words of a file that has them."""
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r} any more"
    path.write_text(text.replace(old, new))


def environment():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def snakemake(folder, *words, ok=True):
    done = subprocess.run(
        [*SNAKEMAKE, *words], cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=HANGS,
    )  # fmt: skip
    assert (done.returncode == 0) == ok, done.stdout
    return done.stdout


def bench(folder, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=folder, env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert "Traceback" not in text
    return text


def jobs(said):
    """Stages that Snakemake says it does or plans, as [(run's folder, stage)]."""
    found, rule = [], ""
    for line in said.splitlines():
        if name := re.match(r"(?:local)?rule (\w+):", line):
            rule = {"source": "train"}.get(name[1], name[1])  # of a run that others read
        if rule != "stale" and (run := re.match(r"    wildcards: run=([^,]+)", line)):
            name = re.search(r"stage=([\w.-]+)", line)
            found.append((run[1], name[1] if name else rule))
    return found


def left(folder, *words):
    """Stages that a dry run plans."""
    return jobs(snakemake(folder, *words, "--dry-run", *LOUD))


def count(found):
    """Count stages, as {(stage, method): count}."""
    return Counter((stage, run.split("/")[2]) for run, stage in found)


def planned(folder, *words):
    """Count the stages that a dry run plans."""
    return count(left(folder, *words))


def record(folder, method, stage="train"):
    (path,) = (folder / "results/runs/digits/small_cnn" / method).glob(f"*/{stage}.json")
    return Record.read(path)
