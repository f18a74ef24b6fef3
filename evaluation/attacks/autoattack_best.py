"""AutoAttack of the epoch that was best on the images held out from training."""

from torch import Tensor, nn

from bench.runs.record import Score
from evaluation.attacks import Found, Task
from evaluation.autoattack import autoattack

TITLE = "best AutoAttack"
MEANING = "% right under AutoAttack standard of the epoch that was best on validation images"
WEIGHTS = "best"

AUTOATTACK = True


def evaluate(net: nn.Module, x: Tensor, y: Tensor, task: Task) -> Found:
    """Attack with AutoAttack standard."""
    assert task.batch, "an evaluation by AutoAttack without its batch"
    attack = autoattack(
        net, x, y, threat=task.threat, classes=task.classes, seed=task.seed, batch=task.batch,
        fast=task.fast, say=task.say,
    )  # fmt: skip
    score = Score(accuracy=attack.accuracy, n=attack.n)
    return Found({"autoattack_best": score}, {"batch": attack.batch, "mode": attack.mode})
