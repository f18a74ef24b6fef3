"""cos(FGSM, PGD): how much one step and many steps move an image the same way."""

from dataclasses import dataclass

import torch.nn.functional as F

from bench.method import Cost
from evaluation.diagnostic import Diagnostic
from evaluation.moves import fgsm_move, pgd_move


@dataclass(frozen=True, kw_only=True)
class CosFGSMPGD(Diagnostic):
    """The cosine of the perturbations of FGSM and of PGD.

    Source: Andriushchenko and Flammarion, NeurIPS 2020, arXiv:2007.02617, figure 4.
    Cite: andriushchenko2020understanding
    Meaning: mean cosine of the perturbations of FGSM and of PGD-{steps}

        value = cos(d_FGSM, d_PGD)

    Shapes: d (B, C, H, W); value (B,) in [-1, 1].
    Cost: steps + 1 forward and backward.
    Differs: PGD starts at random and steps by eps/4, as all of this bench; 0 where FGSM stays.
    """

    norms = ("Linf", "L2")
    values = {"cos_fgsm_pgd": ("cosine", -1, 1)}

    steps: int = 10

    @property
    def cost(self):
        return Cost(self.steps + 1, self.steps + 1)

    def measure(self, net, x, y, threat, draw):
        one = fgsm_move(net, x, y, threat).flatten(1)
        many = pgd_move(net, x, y, threat, draw, steps=self.steps).flatten(1)
        return {"cos_fgsm_pgd": F.cosine_similarity(one, many, dim=1).clamp(-1, 1)}
