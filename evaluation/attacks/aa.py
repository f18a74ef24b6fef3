"""AA: AutoAttack at a radius, in a norm or of weights other than the stage's."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class AA(Attack):
    """AutoAttack standard, as in the stage `autoattack`, which is at the run's own radius.

    Source: Croce and Hein, ICML 2020, arXiv:2003.01690.
    Cite: croce2020reliable
    Meaning: % right under AutoAttack standard

    Cost: up to 5000 queries of Square behind 1900 steps of the other three.
    Differs: as evaluation/autoattack.py says.
    """

    norms = ("Linf", "L2")
    autoattack = True

    cost = Cost(7892, 1910)  # of its four attacks

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task)
