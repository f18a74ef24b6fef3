"""Square: AutoAttack's black-box attack, alone on all images."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Random squares that are kept where they lower the margin.

    Source: Andriushchenko et al., ECCV 2020, arXiv:1912.00049.
    Cite: andriushchenko2020square
    Meaning: % right under the black-box Square attack of 5000 queries

    Cost: 5000 queries, fewer where it ends early.
    Differs: nothing.
    """

    norms = ("Linf", "L2")
    autoattack = True
    black_box = True

    cost = Cost(5013, 0)  # counted; the library's own checks are in it

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task, ["square"])
