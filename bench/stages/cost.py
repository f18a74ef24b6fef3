"""Measure what a run's updates cost: python -m bench cost --config run.yaml --out DIR

It writes DIR/cost.json, and needs the device to itself. Updates of the method and of the reference,
FGSM-RS, are timed in turns, so that a machine that slows down slows both and their ratio holds.
"""

import dataclasses
import gc
import statistics
from typing import TYPE_CHECKING

from bench.runs import catalogue
from bench.runs.record import Data, Expense
from bench.stages import setup
from bench.stages.job import Job

if TYPE_CHECKING:
    from bench.data import Loaded
    from bench.trainer import Trainer

REFERENCE = "fgsm_rs"
SECONDS = 0.2  # least length of a repetition of the reference


def prepare(job: Job) -> "tuple[Loaded, Data]":
    """Load the data set."""
    return setup.data(job)


def work(job: Job, pictures: "tuple[Loaded, Data]") -> tuple[Data, Expense]:
    """Count passes and operations of an update, then measure its memory and its time."""
    import torch

    from bench.stages.train import make_trainer

    loaded, data = pictures
    settings = catalogue.default_settings(REFERENCE)
    other = job._replace(
        config=dataclasses.replace(job.config, method=REFERENCE, settings=settings)
    )
    forward, backward, flops = _counts(job, loaded)
    peaks = [_peak(one, loaded) for one in (job, other)]
    mine, reference = (make_trainer(one, loaded, quiet=True) for one in (job, other))
    updates, times = _times(mine, reference, job.options.repetitions)
    replays = mine.method.replays  # updates a step; so many fewer steps does a run have
    declared = mine.method.cost
    ratios = [a / b for a, b in zip(times["mine"], times["reference"], strict=True)]
    expense = Expense(
        forward=forward,
        backward=backward,
        declared_forward=declared.forward / replays,
        declared_backward=declared.backward / replays,
        flops_per_image=flops,
        update_seconds=statistics.median(times["mine"]),
        update_seconds_sd=statistics.stdev(times["mine"]),
        reference=REFERENCE,
        reference_seconds=statistics.median(times["reference"]),
        time_ratio=statistics.median(ratios),
        data_seconds=statistics.median(times["data"]),
        repetitions=job.options.repetitions,
        updates=updates,
        peak_bytes=peaks[0],
        reference_bytes=peaks[1],
        state_bytes=mine.outcome.state_bytes,
        engine=mine.engine,
    )
    job.say(f"{expense.time_ratio:.2f} times {REFERENCE} on {torch.get_num_threads()} threads")
    return data, expense


def _counts(job: Job, loaded: "Loaded") -> tuple[float, float, float]:
    """Count forward and backward passes and operations of an update, each per training image."""
    from bench.meter import Flops, Passes
    from bench.stages.train import make_trainer

    plain = make_trainer(job, loaded, quiet=True, engine="eager")  # a recorded step shows nothing
    with Passes(plain.net) as passes, Flops() as flops:
        plain.advance(1)
    batch = min(plain.batches.batch, len(plain.batches.y))
    images = batch * plain.method.replays
    return passes.forward / images, passes.backward / images, flops.total / images


def _peak(job: Job, loaded: "Loaded") -> int | None:
    """Measure the largest device memory of updates, in bytes; None without a GPU.

    Recording a step counts, because its buffers stay; compiling is done before.
    """
    from bench.engine import WARM_UP
    from bench.meter import Peak
    from bench.stages.train import make_trainer

    if job.device.type != "cuda":
        return None
    gc.collect()  # compiled networks hold themselves
    trainer = make_trainer(job, loaded, quiet=True)
    trainer.advance(WARM_UP - 1)
    peak = Peak(job.device)
    trainer.advance(2)  # the last step of the warm-up, after which one is recorded, and one more
    peak.note()
    return peak.bytes


def _times(
    mine: "Trainer", reference: "Trainer", repetitions: int
) -> tuple[int, dict[str, list[float]]]:
    """Time updates of two trainers in turns.

    Returns:
        Steps of a repetition, and under "mine", "reference" and "data" (waiting for batches) the
        seconds of an update in each repetition.
    """
    from bench.engine import WARM_UP
    from bench.meter import Clock

    def seconds(trainer: "Trainer", steps: int) -> float:
        clock = Clock(trainer.device)
        with clock.running():
            trainer.advance(steps)
        return clock.seconds / steps / trainer.method.replays

    for trainer in (mine, reference):
        trainer.advance(WARM_UP)
    steps = max(3, round(SECONDS / seconds(reference, WARM_UP)))
    times: dict[str, list[float]] = {"mine": [], "reference": [], "data": []}
    for _ in range(repetitions):
        waited = mine.clocks["data"].seconds
        times["mine"].append(seconds(mine, steps))
        waited = mine.clocks["data"].seconds - waited
        times["data"].append(waited / steps / mine.method.replays)
        times["reference"].append(seconds(reference, steps))
    return steps, times
