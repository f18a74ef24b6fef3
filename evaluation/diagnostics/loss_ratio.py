"""loss ratio: how much more loss many steps find than one."""

from dataclasses import dataclass, replace

from bench.method import Cost
from bench.runs.record import Value
from evaluation.diagnostic import Diagnostic
from evaluation.moves import fgsm_move, losses, pgd_move


@dataclass(frozen=True, kw_only=True)
class LossRatio(Diagnostic):
    """The mean loss under PGD, divided by that under FGSM.

    Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617.
    Cite: andriushchenko2020understanding
    Meaning: mean loss under PGD-{steps} over mean loss under FGSM

        value = mean_i CE(f(x + d_PGD), y) / mean_i CE(f(x + d_FGSM), y)

    Shapes: d (B, C, H, W); losses (B,).
    Cost: steps + 3 forward, steps + 1 backward.
    Differs: PGD starts at random and steps by eps/4, as all of this bench.
    """

    norms = ("Linf", "L2")
    values = {"fgsm_loss": ("loss", 0, None), "pgd_loss": ("loss", 0, None)}

    steps: int = 10

    @property
    def cost(self):
        return Cost(self.steps + 3, self.steps + 1)

    def measure(self, net, x, y, threat, draw):
        one = fgsm_move(net, x, y, threat)
        many = pgd_move(net, x, y, threat, draw, steps=self.steps)
        return {"fgsm_loss": losses(net, x + one, y), "pgd_loss": losses(net, x + many, y)}

    def evaluate(self, task):
        """Divide the means; there is no ratio where one is not a number, or the second is 0."""
        found = super().evaluate(task)
        many, one = found.values["pgd_loss"], found.values["fgsm_loss"]
        ratio = many.value / one.value if many.value is not None and one.value else None
        value = Value(value=ratio, unit="ratio", n=one.n)
        return replace(found, values={"loss_ratio": value} | found.values)
