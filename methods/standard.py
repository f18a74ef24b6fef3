"""Standard: training on clean images, the reference for clean accuracy and for cost."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import ce


@dataclass(frozen=True, kw_only=True)
class Standard(Method):
    """No attack.

    Source: the usual empirical risk; "benign" in the SORA benchmark.
    Cite: none
    Family: standard

        L = CE(f(x), y)

    Shapes: x (B, C, H, W).
    Cost: 1 forward, 1 backward.
    Differs: nothing.
    """

    norms = ("Linf", "L2")
    cost = Cost(forward=1, backward=1)

    @property
    def reach(self):
        return 0.0

    def step(self, net, batch, state, descend):
        descend(ce(net, batch.y), at=batch.x)
