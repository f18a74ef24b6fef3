"""The machine and the code that a record says it was made by."""

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.runs import catalogue, fingerprints
from bench.runs.record import Origin
from bench.stages.job import Job

if TYPE_CHECKING:
    import torch

Kind = Literal["auto", "cpu", "cuda"]  # of device to use; auto: a GPU where there is one


def device(kind: Kind, threads: int) -> "torch.device":
    """Choose the device and set how torch uses it; the first import of torch in a job.

    Raises:
        ValueError: a GPU is asked for, and there is none.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch's libraries when they load
    import torch

    torch.set_num_threads(threads)
    there = torch.cuda.is_available()
    if kind == "cuda" and not there:
        raise ValueError("--device cuda, but torch finds no GPU; use --device auto or cpu")
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if there and kind != "cpu" else "cpu")


def origin(job: Job, started: datetime.datetime, seconds: float) -> Origin:
    """Say which code and which machine did a job."""
    import torch

    commit = git("rev-parse", "HEAD")
    return Origin(
        commit=commit,
        dirty=dirty(),
        method_code=fingerprints.method_fingerprint(job.config.method),
        bench_code=fingerprints.bench_fingerprint(
            job.stage.name, job.config.dataset, job.config.architecture
        ),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if job.device.type == "cuda" else None,
        device=device_name(job.device),
        threads=torch.get_num_threads(),
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
    )


def git(*words: str) -> str | None:
    """Ask git about the project; None where there is no git, or an archive instead of a clone."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=catalogue.ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def dirty() -> bool | None:
    """Has the code that makes numbers uncommitted changes, new files included; None without git."""
    changes = git("status", "--porcelain", "--", "bench", "methods", "evaluation")
    return None if changes is None else bool(changes)


def device_name(device: "torch.device") -> str:
    """Name a device as the driver or the kernel does."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0]}" if names else f"CPU {platform.machine()}"
