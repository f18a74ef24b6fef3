"""Epsilon overfitting: accuracy under FGSM and PGD-10 at radii other than the trained one.

Source: the SORA benchmark's epsilon sweep. A network that overfitted to its training attack shows
FGSM accuracy that rises again near the training radius while PGD's falls to 0.
"""

from dataclasses import replace

from torch import Tensor, nn

from evaluation.attacks import Found, Task
from evaluation.pgd import STEP, fgsm, pgd

TITLE = "epsilon sweep"
MEANING = "% right under FGSM and PGD-10 over the radius of the attack"
WEIGHTS = "last"

BATCH = 512  # images; verdicts do not depend on it


def radii(eps: float) -> list[int]:
    """Radii in 1/255 of a suite that names none: 0 to 32, then in fours beyond a larger eps."""
    return [*range(33), *range(36, int(1.25 * 255 * eps) + 1, 4)]


def evaluate(net: nn.Module, x: Tensor, y: Tensor, task: Task) -> Found:
    """Attack with one step of eps and with ten of eps/4; radius 0 is the clean accuracy."""
    scores = {}
    for k in task.radii or radii(task.threat.eps):
        threat = replace(task.threat, eps=k / 255)
        scores[f"fgsm {k}/255"] = fgsm(net, x, y, threat=threat, batch=BATCH)
        scores[f"pgd10 {k}/255"] = pgd(
            net, x, y, threat=threat, batch=BATCH, steps=10, seed=task.seed
        )
    return Found(scores, {"alpha": STEP, "alpha_unit": "eps"})
