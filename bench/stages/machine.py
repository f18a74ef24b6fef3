"""The device that a job uses, and the machine and code that its record names."""

import ctypes
import datetime
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.runs import fingerprints
from bench.runs.git import commit, git
from bench.runs.record import COST, TRAIN, Config, Origin
from bench.runs.stage import Options, Stage
from bench.stages.job import Job

if TYPE_CHECKING:
    import torch

SLOW_BF16 = (
    "this CPU has no units for bf16, and emulates it 3 to 11 times slower than it computes in "
    "fp32; precision: fp32 and attack_mode: exact, or a GPU, are faster"
)
# Numbers of malloc.h, and limits in bytes: blocks of up to 32 MiB, the most that older versions
# allow, come from one heap, which keeps up to 1 GiB of what is freed.
MALLOC = {"M_MMAP_THRESHOLD": (-3, 2**25), "M_TRIM_THRESHOLD": (-1, 2**30)}
DeviceKind = Literal["auto", "cpu", "cuda"]  # auto: a GPU where there is one


def device(kind: DeviceKind, threads: int) -> "torch.device":
    """Choose the device, and set the CPU threads and deterministic kernels of torch.

    A job imports torch here first, because torch reads the number of threads when it loads.

    Raises:
        ValueError: as ``chosen``.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch's libraries when they load
    keep_freed()
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    return chosen(kind)


def chosen(kind: DeviceKind) -> "torch.device":
    """Choose the device.

    Raises:
        ValueError: kind is "cuda" and torch finds no GPU.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if kind == "cuda" and not has_gpu:
        raise ValueError("--device cuda, but torch finds no GPU; use --device auto or cpu")
    return torch.device("cuda" if has_gpu and kind != "cpu" else "cpu")


def keep_freed() -> None:
    """Have the C library keep freed memory for the next tensors; a fifth of a small run's time.

    Otherwise it gives every tensor of some megabytes back to the kernel, and gets it again page by
    page, zeroed. No number depends on it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # it is glibc
        for number, value in MALLOC.values():
            libc.mallopt(number, value)


def origin(job: Job, started: datetime.datetime, seconds: float) -> Origin:
    """Describe the code and the machine that did a job.

    Args:
        started: UTC.
        seconds: that the job took.
    """
    import torch

    bf16 = uses_bf16(job.stage, job.config, job.options)
    return Origin(
        commit=commit(),
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
        bf16_units=has_bf16_units() if job.device.type == "cpu" and bf16 else None,
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
    )


def dirty() -> bool | None:
    """Say whether git sees changed or new files of code that makes numbers; None without git."""
    changes = git("status", "--porcelain", "--", "bench", "methods", "evaluation")
    return None if changes is None else bool(changes)


def device_name(device: "torch.device") -> str:
    """Return the model of a GPU or CPU, as the driver or the kernel gives it."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    lines = _cpu().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0]}" if names else f"CPU {platform.machine()}"


def has_bf16_units() -> bool:
    """Tell whether the CPU computes in bf16; one that does not emulates it by fp32."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(_cpu().split())


def uses_bf16(stage: Stage, config: Config, options: Options) -> bool:
    """Tell whether a stage computes in bf16: training and its cost, or AutoAttack's fast mode."""
    trains = stage.name in (TRAIN, COST) and config.precision == "bf16"
    return trains or getattr(options, "mode", None) == "fast"


def _cpu() -> str:
    """Read what the kernel tells of the CPUs; nothing where it does not."""
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""


def answers(device: "torch.device") -> bool:
    """Tell whether a device still computes and draws numbers in this process."""
    import torch

    if device.type != "cuda":
        return True
    try:
        torch.rand(8, device=device).sum().item()
    except RuntimeError:
        return False
    return True
