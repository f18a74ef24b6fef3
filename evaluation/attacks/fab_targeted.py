"""FAB-T: AutoAttack's third attack, alone on all images."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.library import attacked


@dataclass(frozen=True, kw_only=True)
class FABTargeted(Attack):
    """The least perturbation towards each target; an image falls if that lies in the ball.

    Source: Croce and Hein, ICML 2020, arXiv:1907.02044.
    Cite: croce2020minimally
    Meaning: % right under FAB of 100 steps towards each of 9 target classes

    Cost: 100 steps a target, with queries for the way back.
    Differs: nothing; fewer targets where the data have fewer than ten classes.
    """

    norms = ("Linf", "L2")
    autoattack = True

    cost = Cost(1838, 900)  # counted; the library's own checks are in it

    def evaluate(self, task):
        """Attack with AutoAttack's own batches."""
        return attacked(task, ["fab-t"])
