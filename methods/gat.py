"""GAT: the attack also pulls the prediction away from the clean one, and the loss pulls it back."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bench.method import Cost, Method, State
from bench.ops import box, corner, eval_mode, grad, per_image, project


@dataclass(frozen=True, kw_only=True)
class GAT(Method):
    """Single-step attack and penalty on the distance of predicted probabilities.

    Source: Sriramanan et al., NeurIPS 2020, arXiv:2011.14969; code val-iisc/GAMA-GAT at 6b69e89.
    Cite: sriramanan2020guided
    Family: regularised

        e = k eps r                           r = -1 or 1, a fair coin per pixel
        D(a, b) = mean_i |softmax a_i - softmax b_i|_2^2
        A = CE(f(x + e), y) + odd lam D(f(x + e), f(x))      f(x) constant; f(x + e) with BN frozen
        d = P(e + eps sign grad_e A)
        L = CE(f(x), y) + lam D(f(x), f(x + d))
        lam is ``boost`` times as large after a share ``ramp_at`` of the training

    Shapes: x, e, d (B, C, H, W); f(x) (B, classes); odd is 1 in every second batch of an epoch.
    Cost: 4 forward, 3 backward.
    Differs: the authors raise lam once epoch 85 of 100 is over; as a share of the training it
        suits other lengths.
    """

    k: float = 0.5  # size of the noise, in units of eps
    lam: float = 10.0  # weight of the distance, before the boost
    boost: float = 4.0  # factor of lam in the end
    ramp_at: float = 0.86  # share of the training after which lam is boosted

    cost = Cost(forward=4, backward=3)

    def init(self, run):
        return State(odd=torch.zeros((), device=run.device))

    def on_epoch(self, net, state, epoch):
        state.odd.zero_()

    def step(self, net, batch, state, descend):
        x, y, eps = batch.x, batch.y, self.eps
        lam = self.lam * torch.where(batch.t >= self.ramp_at, self.boost, 1.0)
        with torch.no_grad():
            clean = net(x)

        def attack(z):
            out = net(z)
            return F.cross_entropy(out, y) + state.odd * lam * distance(out, clean)

        e = box(corner(x, self.k * eps), x)
        with eval_mode(net):
            g = grad(attack, at=x + e)
        d = project(e + eps * g.sign(), x, eps)

        def loss(z):
            attacked, clean = net(z), net(x)
            return F.cross_entropy(clean, y) + lam * distance(clean, attacked)

        descend(loss, at=x + d, g=g)
        state.odd.copy_(1 - state.odd)


def distance(a, b):
    """Return the squared distance of the probabilities of logits (B, classes), mean over B."""
    return per_image((a.softmax(1) - b.softmax(1)).square()).mean()
