"""Sub-AT: FGSM-RS inside the subspace that the weights of an earlier training moved in."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from bench.method import Cost, Method, State
from bench.ops import box, ce, grad


@dataclass(frozen=True, kw_only=True)
class SubAT(Method):
    """Single-step training along the principal directions of an earlier one's weights.

    Source: Li et al., CVPR 2022, arXiv:2111.12229; code nblt/Sub-AT at 9f3bcd5.
    Cite: li2022subspace
    Family: single-step

        w_1 .. w_K: all weights, along the training of a source; this one begins with w_1
        P    = the first principal directions of w_k - mean w, as orthonormal rows
        eta  = U[-r eps, r eps]
        g    = grad_x CE(f(x + eta), y)
        d    = P_r eps(eta + alpha sign(g))
        the update has P^T P grad_w CE(f(x + d), y) for its gradient

    Shapes: x, eta, g, d (B, C, H, W); w_k (n,); P (components, n).
    Cost: 2 forward, 2 backward, and twice n times components.
    Differs: the source is FGSM-RS under sub-at-65. The code samples it at its start, at each
        epoch's end and after batch 201 of 352, of longer epochs twice more; here evenly, as often
        as the start says (kept: 2). State ``explained`` is the share of the variance of w that P
        holds.
    """

    radius: float = 2.0  # r, of the attack in training, in units of eps
    alpha: float = 2.5  # step, in units of eps
    components: int = 80  # rows of P; fewer than there are vectors of weights

    follows: ClassVar[bool] = True
    cost = Cost(forward=2, backward=2)

    @property
    def reach(self):
        return self.radius

    def init(self, run):
        if run.way is None:
            raise ValueError("SubAT reads weights along another run's training, and has none")

        def centred():
            for weights in run.way():
                yield (weights - weights.mean(0)).flatten(1)

        gram = sum(w.double() @ w.double().t() for w in centred())  # (K, K)
        if self.components >= len(gram):
            raise ValueError(
                f"{len(gram)} vectors of weights have fewer than {self.components} directions; "
                "ask for fewer components, or have the source keep weights more often"
            )
        rest = len(gram) - self.components
        variance, directions = (part[..., rest:] for part in torch.linalg.eigh(gram))
        mix = (directions / variance.sqrt()).t()
        P = torch.cat([(mix.to(w.dtype) @ w) for w in centred()], 1)
        return State(P=P, explained=(variance.sum() / gram.trace()).float())

    def step(self, net, batch, state, descend):
        x, loss, threat = batch.x, ce(net, batch.y), self.threat
        eta = box(threat.uniform(x, self.radius), x)
        g = grad(loss, at=x + eta)
        move = self.alpha * self.eps * threat.steepest(g)
        d = threat.project(eta + move, x, self.radius)

        def keep_inside():
            own = [w.grad for w in net.parameters()]
            inside = state.P.t() @ (state.P @ torch.cat([h.flatten() for h in own]))
            for h, part in zip(own, inside.split([h.numel() for h in own]), strict=True):
                h.copy_(part.view_as(h))

        descend(loss, at=x + d, g=g, edit=keep_inside)
