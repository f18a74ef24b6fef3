"""Evaluate a trained run by a file of evaluation/attacks: python -m bench evaluate ... --out DIR

Reads DIR/train.json and the weights that training left, writes DIR/NAME.json.
"""

import importlib
import time

from bench.runs.record import Data, Measure
from bench.runs.stage import weights_of
from bench.stages import setup
from bench.stages.job import Job
from bench.stages.setup import Trained


def prepare(job: Job) -> Trained:
    """Load data and trained network."""
    return setup.trained(job)


def work(job: Job, ready: Trained) -> tuple[Data, Measure]:
    """Evaluate on the first test images."""
    from evaluation.attacks import Task

    evaluation = importlib.import_module(f"evaluation.attacks.{job.stage.name}")
    x, y = setup.test_images(job, ready.loaded, job.options.images)
    task = Task(job.eps, ready.loaded.info.classes, job.options.seed, job.say)
    start = time.perf_counter()
    scores, settings = evaluation.evaluate(ready.net, x, y, task)
    said = {"seed": task.seed} | settings
    if job.options.weights != weights_of(job.stage.name):
        said["weights"] = job.options.weights
    seconds = time.perf_counter() - start
    return ready.data, Measure(settings=said, scores=scores, measure_seconds=seconds)
