"""curvature: how fast the slope along the attack's step changes."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box, per_image
from evaluation.diagnostic import Diagnostic
from evaluation.moves import slopes


@dataclass(frozen=True, kw_only=True)
class Curvature(Diagnostic):
    """The second derivative of the loss along the step, in units of the first.

    Source: Teymourian et al., ICML 2026, arXiv:2606.00738.
    Cite: teymourian2026sora
    Meaning: mean curvature of the loss along a step of {step} eps, per slope; negative where it
        bends down

        eta   = U(ball of eps),  g = grad l(x + eta),  p = steepest(g),  l = CE of the image
        value = <p, grad l(x + eta + step eps p) - g> / (step eps <p, g>)

    Shapes: x, eta, g, p (B, C, H, W); value (B,).
    Cost: 2 forward, 2 backward.
    Differs: this is p'Hp / |g|_1 by a finite difference, SORA's r - 1 over the step; 0/0 is 0. The
        end of the step is not cut to [0, 1].
    """

    norms = ("Linf", "L2")
    values = {"curvature": ("per pixel range", None, None)}

    step: float = 1.0  # of the finite difference, in units of eps

    cost = Cost(2, 2)

    def measure(self, net, x, y, threat, draw):
        at, step = x + box(draw(threat.uniform, x), x), self.step * threat.eps
        g = slopes(net, at, y)
        p = threat.steepest(g)
        bend = per_image(p * (slopes(net, at + step * p, y) - g))
        return {"curvature": bend / (step * per_image(p * g)).clamp(min=1e-30)}
