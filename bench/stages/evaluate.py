"""Evaluate a trained run by a file of evaluation/attacks: python -m bench evaluate ... --out DIR

It reads DIR/train.json and the weights that training wrote, and writes DIR/NAME.json, where NAME is
the evaluation's file.
"""

import importlib
import time

from bench.runs.record import Data, Evaluation
from bench.runs.stage import weights_of
from bench.stages import setup
from bench.stages.attack import fast_network
from bench.stages.job import Job
from bench.stages.setup import Trained


def prepare(job: Job) -> Trained:
    """Load the data set and the trained network."""
    return setup.trained(job)


def work(job: Job, trained: Trained) -> tuple[Data, Evaluation]:
    """Evaluate the network on the first test images."""
    from evaluation.attacks import Task

    evaluation = importlib.import_module(f"evaluation.attacks.{job.stage.name}")
    x, y = setup.test_images(job, trained.loaded, job.options.images)
    fast = fast_network(job, trained, x) if job.options.mode == "fast" else None
    task = Task(
        job.eps, trained.loaded.info.classes, job.options.seed, job.say, job.options.batch, fast
    )
    start = time.perf_counter()
    scores, settings = evaluation.evaluate(trained.net, x, y, task)
    settings = {"seed": task.seed} | settings
    if job.options.weights != weights_of(job.stage.name):
        settings["weights"] = job.options.weights
    seconds = time.perf_counter() - start
    return trained.data, Evaluation(
        settings=settings, scores=scores, measure_seconds=seconds, digest=trained.digest
    )
