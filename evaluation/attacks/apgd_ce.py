"""APGD-CE: AutoAttack's first attack, steps of adapting length on cross-entropy."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class APGDCE(Attack):
    """APGD on cross-entropy, as AutoAttack standard begins.

    Source: Croce and Hein, ICML 2020, arXiv:2003.01690.
    Cite: croce2020reliable
    Meaning: % right under APGD of 100 steps on cross-entropy

    Cost: 100 steps.
    Differs: nothing.
    """

    norms = ("Linf", "L2")
    autoattack = True

    cost = Cost(112, 101)  # counted; the library's own checks are in it

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task, ["apgd-ce"])
