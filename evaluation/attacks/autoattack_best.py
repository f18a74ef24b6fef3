"""best AutoAttack: AutoAttack of the epoch that was best on the images held out from training."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class AutoAttackBest(Attack):
    """AutoAttack standard, as in the stage `attack`, on other weights.

    Source: Croce and Hein, ICML 2020, arXiv:2003.01690.
    Cite: croce2020reliable
    Meaning: % right under AutoAttack standard of the epoch that was best on validation images

    Cost: up to 5000 queries of Square behind 1900 steps of the other three.
    Differs: as evaluation/autoattack.py says.
    """

    norms = ("Linf", "L2")
    weights = "best"
    autoattack = True

    cost = Cost(7892, 1910)  # of its four attacks

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task)
