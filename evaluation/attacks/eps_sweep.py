"""epsilon sweep: accuracy under FGSM and PGD-10 at radii other than the trained one.

A network that overfitted to its training attack shows FGSM accuracy that rises again near the
training radius while PGD's falls to 0.
"""

from dataclasses import dataclass, replace

from bench.method import Cost
from evaluation import sweep
from evaluation.attack import Attack, Found
from evaluation.clean import clean
from evaluation.pgd import STEP, fgsm, pgd


@dataclass(frozen=True, kw_only=True)
class EpsSweep(Attack):
    """One step of eps, and ten of eps/4, at each radius; radius 0 is the clean accuracy.

    Radii are k/255 in Linf, and in L2 k/32 of the run's own.

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
        (norm, eps), (net, x, y), batch = (task.threat.norm, task.threat.eps), task[:3], self.batch
        scores = {}
        for k in task.radii or sweep.usual(norm, eps):
            at = f"{k}{sweep.UNITS[norm]}"
            if k == 0:  # in L2 nothing can be cut to a length of 0
                scores[f"fgsm {at}"] = scores[f"pgd10 {at}"] = clean(net, x, y, batch=batch)
                continue
            threat = replace(task.threat, eps=sweep.size(k, norm, eps))
            scores[f"fgsm {at}"] = fgsm(net, x, y, threat=threat, batch=batch)
            scores[f"pgd10 {at}"] = pgd(
                net, x, y, threat=threat, batch=batch, steps=10, seed=task.seed
            )
        return Found(scores=scores, settings={"alpha": STEP, "alpha_unit": "eps"})
