"""Evaluate a trained run by a file of evaluation/attacks: python -m bench evaluate ... --out DIR

It reads DIR/train.json and the weights that training wrote, and writes DIR/NAME.json, where NAME is
the evaluation's file.
"""

import importlib
import time

from bench.runs.record import SWEEP, Data, Evaluation
from bench.runs.stage import weights_of
from bench.stages import setup
from bench.stages.attack import fast_network
from bench.stages.job import Job
from bench.stages.setup import Trained


def prepare(job: Job) -> Trained:
    """Load the data set and the trained network, after a check of the radii."""
    _radii(job)
    return setup.trained(job)


def work(job: Job, trained: Trained) -> tuple[Data, Evaluation]:
    """Evaluate the network on the first test images."""
    from evaluation.attacks import Task

    evaluation = importlib.import_module(f"evaluation.attacks.{job.stage.name}")
    x, y = setup.test_images(job, trained.loaded, job.options.images)
    fast = fast_network(job, trained, x) if job.options.mode == "fast" else None
    task = Task(
        threat=job.threat,
        classes=trained.loaded.info.classes,
        seed=job.options.seed,
        say=job.say,
        radii=_radii(job),
        batch=job.options.batch,
        fast=fast,
    )
    start = time.perf_counter()
    scores, settings = evaluation.evaluate(trained.net, x, y, task)
    settings = {"seed": task.seed} | settings
    if job.options.weights != weights_of(job.stage.name):
        settings["weights"] = job.options.weights
    if job.options.radii:
        settings["radii"] = job.options.radii
    seconds = time.perf_counter() - start
    return trained.data, Evaluation(
        settings=settings, scores=scores, measure_seconds=seconds, digest=trained.digest
    )


def _radii(job: Job) -> tuple[int, ...]:
    """Read the radii that a sweep was given, in 1/255; none stands for its own.

    Raises:
        ValueError: the evaluation is no sweep, or the text is no list of radii.
    """
    text = job.options.radii
    if text is None:
        return ()
    if job.stage.name != SWEEP:
        raise ValueError(f"{job.stage.name} takes no radii, only {SWEEP} does; leave --radii out")
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 255 for word in words):
        raise ValueError(f"--radii {text!r} is no list of whole numbers from 0 to 254, as 0,8,16")
    return tuple(map(int, words))
