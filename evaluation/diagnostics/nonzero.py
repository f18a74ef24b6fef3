"""non-zero gradients: in how many elements of the image the loss has a slope."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.diagnostic import Diagnostic
from evaluation.moves import slopes


@dataclass(frozen=True, kw_only=True)
class Nonzero(Diagnostic):
    """The number of elements of the gradient that are not 0.

    Source: Ma et al., 2020, arXiv:2004.01832, appendix E.11.
    Cite: ma2020soar
    Meaning: mean number of elements of the image at which the gradient of the loss is not 0

        value = |{j: grad_x CE(f(x), y)_j != 0}|

    Shapes: x (B, C, H, W); value (B,), up to C H W.
    Cost: 1 forward, 1 backward.
    Differs: nothing; what float32 rounds to 0 is 0.
    """

    norms = ("Linf", "L2")
    values = {"nonzero": ("elements", 0, None)}

    cost = Cost(1, 1)

    def measure(self, net, x, y, threat, draw):
        return {"nonzero": (slopes(net, x, y) != 0).flatten(1).sum(1)}
