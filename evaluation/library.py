"""Optional evaluations by AutoAttack's library: all of it, or one of its attacks alone."""

from collections.abc import Sequence

from bench.runs.record import Score
from evaluation.attack import Found, Task
from evaluation.autoattack import ATTACKS, autoattack


def attacked(task: Task, attacks: Sequence[str] = ATTACKS) -> Found:
    """Attack in AutoAttack's own batches, and count what is left.

    One attack alone meets all images that are right without it. After others, as in the stage
    `autoattack`, it meets only those that they left.
    """
    assert task.batch, "an evaluation by AutoAttack without its batch"
    attack = autoattack(
        task.net, task.x, task.y, threat=task.threat, classes=task.classes, seed=task.seed,
        batch=task.batch, attacks=attacks, fast=task.fast, before=task.before, keep=task.keep,
        say=task.say,
    )  # fmt: skip
    score = Score(accuracy=attack.accuracy, n=attack.n)
    return Found(scores={task.name: score}, settings={"batch": attack.batch, "mode": attack.mode})
