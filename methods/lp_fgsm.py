"""Lp-FGSM: one step to the steepest point of an Lp ball that nearly is the L-inf ball."""

from dataclasses import dataclass

from bench.method import Cost, Method
from bench.ops import ce, grad, uniform


@dataclass(frozen=True, kw_only=True)
class LpFGSM(Method):
    """FGSM in an Lp norm with p large, from noise.

    Source: Mehouachi and Jabari, 2025, arXiv:2505.02360; code submit-papersAnon/Lp-FGSM at
        25e27a6.
    Cite: mehouachi2025catastrophic
    Family: single-step

        S(v) = sign(v) (1e-12 + |v| / |v|_q)^(q - 1)         q = p / (p - 1), norm of each image
        u    = U[-1, 1]                       without noise: 0
        g    = grad_x CE(f(x + eps S(u)), y)
        d    = eps u + eps S(g)

    Shapes: x, u, g, d (B, C, H, W).
    Cost: 2 forward, 2 backward.
    Differs: nothing; as in the code, the gradient is taken at S(u), the step starts from u, and
        nothing is clipped, neither to the ball nor to [0, 1]. The code has p = 64 and takes 16 to
        32 for CIFAR. The paper's p that follows the gradient is not here: what it is is not said.
    """

    p: float = 64.0  # of the norm in which a step has length eps
    noise: bool = True  # start from u

    cost = Cost(forward=2, backward=2)

    @property
    def reach(self):
        return 2.0 if self.noise else 1.0

    @property
    def boxed(self):
        return False

    def steepest(self, v):
        """Return S(v), of length 1 in Lp."""
        q = self.p / (self.p - 1)
        length = v.flatten(1).norm(q, dim=1).clamp(min=1e-30)[:, None, None, None]
        return v.sign() * (1e-12 + v.abs() / length) ** (q - 1)

    def step(self, net, batch, state, descend):
        x, eps, loss = batch.x, self.eps, ce(net, batch.y)
        u = uniform(x, 1.0) if self.noise else 0 * x
        g = grad(loss, at=x + eps * self.steepest(u))
        descend(loss, at=x + eps * (u + self.steepest(g)), g=g)
