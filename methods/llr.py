"""LLR: find where the loss is least linear near an image, and make it linear there."""

from dataclasses import dataclass
from typing import ClassVar

from bench.method import Cost, Method
from bench.ops import box, each, grad, per_image, project, tangent, uniform


@dataclass(frozen=True, kw_only=True)
class LLR(Method):
    """Clean training with a penalty on the loss off its tangent, where that is worst.

    Source: Qin et al., NeurIPS 2019, arXiv:1907.02610; no official training code.
    Cite: qin2019adversarial
    Family: regularised

        l_i, g_i = CE of image i at x, and its gradient
        G_i(d)   = |l_i(x + d) - l_i(x) - <d_i, g_i>|
        d_0      = U[-eps, eps]
        d_{k+1}  = P(d_k + alpha sign grad_d G(d_k)),  k < K
        L        = mean_i [l_i + lam G_i(d_K) + mu |<d_K, g_i>|]

    Shapes: x, g, d (B, C, H, W); l, G (B,).
    Cost: K + 2 forward, K + 3 backward: g is differentiated once more, for the weights.
    Differs: [known] all of it, as generally known; lam and mu are for 8/255, and fall to chance at
        much larger radii. The step is our choice. The public third-party code is not followed: it
        zeroes the gradient that it returns, leaves l_i(x) out of G, and multiplies all pairs of
        images. ELLE's version of it is not here.
    """

    lam: float = 4.0  # weight of G, at 8/255
    mu: float = 3.0  # weight of the slope along d, at 8/255
    steps: int = 2  # K
    alpha: float = 0.5  # step, in units of eps

    twice: ClassVar[bool] = True
    known_to: ClassVar[float] = 8.0

    @property
    def cost(self):
        return Cost(forward=self.steps + 2, backward=self.steps + 3)

    def step(self, net, batch, state, descend):
        x, eps, losses = batch.x, self.eps, each(net, batch.y)
        l_x, g = tangent(losses, at=x, twice=True)
        constants = l_x.detach(), g.detach()

        def off(z, l_x, g):
            return (losses(z) - l_x - per_image((z - x) * g)).abs()

        d = box(uniform(x, eps), x)
        for _ in range(self.steps):
            up = grad(lambda z: off(z, *constants).sum(), at=x + d)
            d = project(d + self.alpha * eps * up.sign(), x, eps)

        def loss(z):
            return (l_x + self.lam * off(z, l_x, g) + self.mu * per_image(d * g).abs()).mean()

        descend(loss, at=x + d, g=constants[1])
