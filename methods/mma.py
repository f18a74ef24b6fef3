"""MMA: every image is attacked up to where its decision lies, which is remembered."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, eval_mode, grad, labels, uniform


@dataclass(frozen=True, kw_only=True)
class MMA(Method):
    """K steps in a ball of the image's own size, then bisection along them to the decision.

    Source: Ding et al., ICLR 2020, arXiv:1812.02637; code BorealisAI/mma_training at 328e2e5.
    Cite: ding2020mma
    Family: multi-step

        M(z) = logsumexp_{j != y} f_j(z) - f_y(z);  right: M(x) < 0, stricter than the argmax
        e_i  = max(floor, the image's last t), 0 at first
        a    = x + K steps of 2.5 e_i / K up sign grad M, from U[-e_i, e_i], in the e_i-ball, BN
               frozen;  v = (a - x) / e_i
        t_i  : M(box(x + t v)) = 0, by bisection of [0, 1.05 d_max] from e_i on, BN not frozen
        z_i  = x + t_i v if right, x if not
        L    = (1 - clean) 1/B sum_i CE(f(z_i), y) [not right or t_i < d_max] + clean CE(f(x), y)
        kept: t_i of right images, 0 of others

    Shapes: x, a, v, z (B, C, H, W); e, t, M (B,); kept t (N,).
    Cost: K + bisections + 3 forward, K + 2 backward; one number an image of state.
    Differs: z is not cut to [0, 1], as in the code. Its two losses are cloned and summed; one sum
        has the same gradient. d_max and floor are the authors' 32/255 and 0.005 at 8/255, here in
        units of eps. Whether an image is right is told with BN not frozen.
    """

    d_max: float = 4.0  # largest margin that is trained for, in units of eps
    floor: float = 0.16  # smallest ball of a right image, in units of eps
    steps: int = 10  # K
    bisections: int = 10
    clean: float = 0.3333333333333333  # weight of clean images; 0 is "OMMA"

    @property
    def cost(self):
        forward, backward = self.steps + self.bisections + 3, self.steps + 2
        return Cost(forward=forward, backward=backward)

    @property
    def reach(self):
        return 1.05 * self.d_max

    @property
    def boxed(self):
        return False

    def init(self, run):
        return State(t=torch.zeros(run.images, device=run.device))

    def step(self, net, batch, state, descend):
        x, y, i = batch.x, labels(batch.y), batch.rows
        with torch.no_grad():
            right = margin(net(x), y) < 0
        e = state.t[i].clamp(min=self.floor * self.eps)
        r = e[:, None, None, None]
        with eval_mode(net):
            d, g = self.climb(net, x, y, r)
        v = d / r
        t = self.boundary(net, x, y, v, e)
        at = x + torch.where(right, t, 0.0)[:, None, None, None] * v
        kept = (~right | (t < self.d_max * self.eps)).float()

        def loss(z):
            plain = F.cross_entropy(net(x), y)
            at_margin = (F.cross_entropy(net(z), y, reduction="none") * kept).mean()
            return self.clean * plain + (1 - self.clean) * at_margin

        descend(loss, at=at, g=g)
        state.t[i] = torch.where(right, t, 0.0)

    def climb(self, net, x, y, r):
        """K signed steps up the margin inside balls of radii r (B, 1, 1, 1); d and the first g."""
        d, first = box(r * uniform(x, 1.0), x), None
        for _ in range(self.steps):
            g = grad(lambda z: margin(net(z), y).mean(), at=x + d)
            first = g if first is None else first
            d = box((d + 2.5 * r / self.steps * g.sign()).clamp(-r, r), x)
        return d, first

    def boundary(self, net, x, y, v, t):
        """Bisect for the t (B,) at which the margin along v is 0, from a first guess on."""
        low, high = torch.zeros_like(t), torch.full_like(t, self.reach * self.eps)
        for _ in range(self.bisections):
            with torch.no_grad():
                inside = margin(net((x + t[:, None, None, None] * v).clamp(0, 1)), y) < 0
            low, high = torch.where(inside, t, low), torch.where(inside, high, t)
            t = (low + high) / 2
        return t


def margin(logits, y):
    """Return M of logits (B, classes) for labels y (B,); negative where y has more than half."""
    own = logits.gather(1, y[:, None])[:, 0]
    others = logits.scatter(1, y[:, None], -torch.inf)
    return others.logsumexp(1) - own
