"""Made-up methods without a fault, for laws: between them they use every word of the contract."""

import dataclasses

import torch
from torch.nn.functional import cross_entropy

from bench.method import Cost, Method, State
from bench.ops import (
    ce,
    grad,
    in_norm,
    labels,
    learn,
    learner,
    move,
    moved,
    project,
    weight_grads,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound(Method):
    cost = Cost(forward=2, backward=2)

    def init(self, run):
        return State(c=torch.ones((), device=run.device))

    def attack(self, net, batch):
        g = grad(ce(net, batch.y), at=batch.x)
        return project(self.eps * g.sign(), batch.x, self.eps), g

    def step(self, net, batch, state, descend):
        d, g = self.attack(net, batch)
        descend(ce(net, batch.y), at=batch.x + d, g=g)
        state.c.mul_(0.9)


class Perturbs(Sound):
    """FGSM-AWP: climbs in the weights, descends there, and goes back.

    Wu et al., NeurIPS 2020, arXiv:2004.05884.
    """

    gamma = 0.01
    cost = Cost(forward=3, backward=3)

    def step(self, net, batch, state, descend):
        d, g = self.attack(net, batch)
        loss, at = ce(net, batch.y), batch.x + d
        v = [self.gamma * w for w in in_norm(net, weight_grads(net, loss, at))]
        with moved(net, v):
            descend(loss, at=at, g=g)


class Accumulates(Perturbs):
    """As LAP, keeps the move, and says so."""

    moves = True

    def step(self, net, batch, state, descend):
        d, g = self.attack(net, batch)
        loss, at = ce(net, batch.y), batch.x + d
        move(net, [-self.gamma * w for w in in_norm(net, weight_grads(net, loss, at))])
        descend(loss, at=at, g=g)


class Remembers(Sound):
    """A perturbation of every image, as its crop was, and one of every class."""

    def init(self, run):
        image = run.batch[1:]
        return State(
            d=torch.zeros(run.images, *image, device=run.device),
            u=torch.zeros(run.classes, *image, device=run.device),
        )

    def step(self, net, batch, state, descend):
        x, y, loss = batch.x, labels(batch.y), ce(net, batch.y)
        start = project(state.d[batch.rows] + state.u[y], x, self.eps)
        g = grad(loss, at=x + start)
        d = project(start + 0.5 * self.eps * g.sign(), x, self.eps)
        descend(loss, at=x + d, g=g)
        state.d[batch.rows] = d
        state.u.index_add_(0, y, 0.1 * d)


class Learns(Sound):
    """A linear map that learns labels from pixels, whose gradient is the attack's."""

    def init(self, run):
        pixels = run.batch[1] * run.batch[2] * run.batch[3]
        w = 0.01 * torch.randn(pixels, run.classes, device=run.device)
        return State(learner(w=w, b=torch.zeros(run.classes, device=run.device)))

    def step(self, net, batch, state, descend):
        x, y = batch.x, batch.y

        def guess(own, z):
            return cross_entropy(z.flatten(1) @ own.w + own.b, y)

        learn(lambda own: guess(own, x), state, ("w", "b"), lr=0.01)
        g = grad(lambda z: guess(state, z), at=x)
        d = project(self.eps * g.sign(), x, self.eps)
        descend(ce(net, y), at=x + d, g=grad(ce(net, y), at=x))


SOUND = (Sound, Perturbs, Accumulates, Remembers, Learns)
