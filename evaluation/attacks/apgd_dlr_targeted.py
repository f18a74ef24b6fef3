"""APGD-T: AutoAttack's second attack, alone on all images."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class APGDDLRTargeted(Attack):
    """APGD on the targeted DLR loss.

    Source: Croce and Hein, ICML 2020, arXiv:2003.01690.
    Cite: croce2020reliable
    Meaning: % right under APGD of 100 steps on the DLR loss of each of 9 target classes

    Cost: 100 steps a target.
    Differs: nothing; fewer targets where the data have fewer than ten classes.
    """

    norms = ("Linf", "L2")
    autoattack = True

    cost = Cost(929, 909)  # counted; the library's own checks are in it

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task, ["apgd-t"])
