"""epsilon sweep: accuracy under FGSM and PGD-10 at radii other than the trained one.

A network that overfitted to its training attack shows FGSM accuracy that rises again near the
training radius while PGD's falls to 0.
"""

from dataclasses import dataclass, replace

from bench.method import Cost
from evaluation.attack import Attack, Found
from evaluation.pgd import STEP, fgsm, pgd


@dataclass(frozen=True, kw_only=True)
class EpsSweep(Attack):
    """One step of eps, and ten of eps/4, at each radius k/255; radius 0 is the clean accuracy.

    Source: the SORA benchmark's epsilon sweep.
    Cite: teymourian2026sora
    Meaning: % right under FGSM and PGD-10 over the radius of the attack

    Cost: 13 forward, 11 backward a radius.
    Differs: nothing.
    """

    norms = ("Linf", "L2")

    cost = Cost(13, 11)

    def evaluate(self, task):
        """Attack at the radii of the task, or at the usual ones."""
        scores, batch = {}, self.batch
        for k in task.radii or radii(task.threat.eps):
            threat, net, x, y = replace(task.threat, eps=k / 255), task.net, task.x, task.y
            scores[f"fgsm {k}/255"] = fgsm(net, x, y, threat=threat, batch=batch)
            scores[f"pgd10 {k}/255"] = pgd(
                net, x, y, threat=threat, batch=batch, steps=10, seed=task.seed
            )
        return Found(scores=scores, settings={"alpha": STEP, "alpha_unit": "eps"})


def radii(eps: float) -> list[int]:
    """Radii in 1/255 of a suite that names none: 0 to 32, then in fours beyond a larger eps."""
    return [*range(33), *range(36, int(1.25 * 255 * eps) + 1, 4)]
