"""PGD-50-10: fifty steps from each of ten random starts."""

from torch import Tensor, nn

from evaluation.attacks import Found, Task
from evaluation.pgd import STEP, pgd_restarts

TITLE = "PGD-50-10"
MEANING = "% right under fifty steps of eps/4 from each of ten starts"
WEIGHTS = "last"

STEPS, RESTARTS = 50, 10
BATCH = 512  # images; verdicts do not depend on it


def evaluate(net: nn.Module, x: Tensor, y: Tensor, task: Task) -> Found:
    """Attack until any restart's last iterate breaks an image."""
    score = pgd_restarts(
        net, x, y, threat=task.threat, batch=BATCH, steps=STEPS, restarts=RESTARTS, seed=task.seed
    )
    settings = {"alpha": STEP, "alpha_unit": "eps", "steps": STEPS, "restarts": RESTARTS}
    return Found({"pgd50_10": score}, settings)
