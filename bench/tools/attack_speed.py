"""Time AutoAttack on a trained run: the library called directly, exact mode and fast mode."""

import copy
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.record import AUTOATTACK, TRAIN, Record
from bench.runs.stage import AttackOptions, stage
from bench.stages import setup
from bench.stages.job import Job
from bench.stages.setup import Trained

if TYPE_CHECKING:
    import torch

    from evaluation.progress import Progress


def load_trained(
    run: Path, data_dir: Path, device: "torch.device", options: AttackOptions
) -> tuple[Job, Trained]:
    """Load the trained run that AutoAttack is timed on.

    Raises:
        ValueError: its record or its weights cannot be read, or its data are missing.
        Skipped: its training failed.
    """
    config = Record.read(run / f"{TRAIN}.json").config
    job = Job(stage(AUTOATTACK), config, options, run, data_dir, device, lambda line: None)
    return job, setup.trained(job)


def attack_times(job: Job, trained: Trained, repetitions: int) -> Iterator[dict[str, Any]]:
    """Time the library, exact mode and fast mode in turns, and compare their verdicts.

    Yields:
        A JSON-ready dict for each repetition and mode. Times are in seconds; ``ratio`` is the
        library's time over the mode's, ``differ`` counts images whose verdict differs from it.
    """
    from bench.stages import attack
    from evaluation.autoattack import autoattack, library
    from evaluation.progress import unpack

    device, batch, net = job.device, job.options.batch, trained.net
    x, y = setup.test_images(job, trained.loaded, job.options.images)
    classes = trained.loaded.info.classes
    for turn in range(repetitions):
        plain = copy.deepcopy(net).requires_grad_(requires_grad=True)  # as users call it
        direct_attack = library(plain, device, job.threat, classes=classes, seed=0)
        start = time.perf_counter()
        _, predicted = direct_attack.run_standard_evaluation(x, y, batch_size=batch)
        direct_seconds, verdicts = time.perf_counter() - start, (predicted == y).cpu()
        yield {"turn": turn, "mode": "library", "seconds": direct_seconds, "images": len(y)}
        for mode in ("exact", "fast"):
            start = time.perf_counter()
            fast = attack.fast_network(job, trained, x) if mode == "fast" else None
            ends: dict[str, float] = {}  # on the clock of ``start``, by attack
            result = autoattack(
                net, x, y, threat=job.threat, classes=classes, seed=0, batch=batch,
                fast=fast, keep=functools.partial(_note_end, ends),
            )  # fmt: skip
            seconds = time.perf_counter() - start
            robust = unpack(result.robust["square"], len(y))
            yield {
                "turn": turn, "mode": mode, "seconds": seconds, "images": len(y),
                "standing": int(robust.sum()), "by_attack": _durations(start, ends),
                "differ": int((robust != verdicts).sum()), "ratio": direct_seconds / seconds,
            }  # fmt: skip


def _note_end(ends: dict[str, float], progress: "Progress") -> None:
    """Note the time for the attack that is running, after each batch; its last note is its end."""
    from evaluation.autoattack import ATTACKS

    ends[ATTACKS[len(progress.robust) - 1]] = time.perf_counter()


def _durations(start: float, ends: dict[str, float]) -> dict[str, float]:
    """Turn the times at which attacks ended, in order, into the seconds that each took."""
    times = [start, *ends.values()]
    return {name: end - begin for name, begin, end in zip(ends, times, times[1:], strict=False)}
