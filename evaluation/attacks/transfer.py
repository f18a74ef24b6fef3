"""transfer: PGD on another network, and what of it deceives this one."""

from dataclasses import dataclass

from bench.method import Cost
from evaluation.attack import Attack
from evaluation.attacks.pgd import PGD

SHORT = {"resnet": "resnet10_nobn", "wrn": "wide_resnet34_10"}  # as SOAR prints them


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """Images made on a source, which is trained as this network was but by a method of its own.

    Source: Papernot et al., 2016, arXiv:1605.07277; PGD as in Madry et al., ICLR 2018.
    Cite: papernot2016transferability
    Meaning: % right under PGD-{steps} on another network, {source}, trained by {method}

        d = PGD(source, x, y),  judged at f(x + d)

    Shapes: x, d (B, C, H, W).
    Cost: steps forward and backward of the source.
    Differs: SOAR's WRN is not named; it is read as WideResNet-34-10. One source, of one seed,
        serves all runs of a table, and is never the network that is attacked; of a run that
        starts from another's weights it has the protocol of the other, which began anew.
    """

    norms = ("Linf", "L2")
    black_box = True
    names = {
        "transfer_pgd{steps}_from_{source}": "PGD-{steps} from {source}",
        "transfer_from_{source}": "transfer from {source}",
    }

    source: str = "same"  # network; "same": the run's own
    steps: int = 20
    alpha: float = 0.25  # step, in units of eps
    method: str = "standard"  # with its published settings
    source_seed: int = 1000  # far from those of suites

    @property
    def cost(self):
        return Cost(self.steps, self.steps)

    def perturb(self, net, x, y, threat, draw):
        return PGD(steps=self.steps, alpha=self.alpha).perturb(net, x, y, threat, draw)
