"""Formulas of papers, written out plainly, and a method run beside them in double precision."""

import copy

import torch
from torch import nn

from bench.method import Batch, Run
from bench.trainer import Descent
from bench.view import Moved

EPS = 0.1
CPU = torch.device("cpu")
IMAGES = (
    torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    .mul(1.2)
    .sub(0.1)
    .clamp(0, 1)
)  # some pixels are 0 or 1
LABELS = torch.tensor([0, 1, 2, 0, 1])
CLASSES = 3


class Small(nn.Module):
    """Four pixels, twice five units, then BatchNorm, and three classes, in float64."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Tanh()
        )
        self.head = nn.Linear(5, CLASSES)
        self.double()
        for weight in self.parameters():
            nn.init.normal_(weight)

    def forward(self, x, *, featured=False):
        h = self.features(x)
        return (self.head(h), h) if featured else self.head(h)


def run_of(x=IMAGES, epochs=10):
    return Run(CPU, tuple(x.shape), tuple(x.shape), epochs, len(x), CLASSES, 5)


def whole(x, y, t=0.0):
    """A batch of whole images."""
    corner = torch.zeros(len(x), dtype=torch.long)
    view = Moved.crop(corner, corner, corner.bool(), size=x.shape[2:], width=x.shape[3])
    return Batch(x, y, torch.arange(len(x)), view, torch.tensor(t))


def follow(
    method, formula, *, t=0.0, steps=3, net=None, state=None, epoch=None, parts=None,
    after=lambda net: None,
):  # fmt: skip
    """Train one network by a method and its twin by a formula; they must not part.

    Args:
        formula: (net, x, y, k) -> images that the loss is taken at, the loss; k counts the steps.
        parts: slices of IMAGES that the steps see, in turn; all of them by default.
        after: (net), what the formula does to its network after the update.
    """
    one = net or Small()
    two = copy.deepcopy(one)
    state = method.init(run_of()) if state is None else state
    if epoch is not None:
        method.on_epoch(one, state, epoch)
    for k in range(steps):
        part = slice(None) if parts is None else parts[k % len(parts)]
        x, y = IMAGES[part], LABELS[part]
        seen = []

        def descend(loss, at, g=None, edit=None, seen=seen):
            z = at.detach().requires_grad_()
            value = loss(z)
            seen.append((at.detach(), value.detach()))
            h, *grads = torch.autograd.grad(value, [z, *one.parameters()], allow_unused=True)
            if edit is not None:
                for weight, own in zip(one.parameters(), grads, strict=True):
                    weight.grad = own
                edit()
                grads = [weight.grad for weight in one.parameters()]
                one.zero_grad()
            move(one, grads)
            return h

        torch.manual_seed(k)
        batch = whole(x, y, t)._replace(t=torch.tensor(t, dtype=x.dtype))
        batch = batch._replace(rows=torch.arange(len(IMAGES))[part])
        method.step(one, batch, state, Descent(descend, lambda grads: [-g for g in grads]))
        torch.manual_seed(k)
        at, value = formula(two, x, y, k)
        move(two, torch.autograd.grad(value, [*two.parameters()], allow_unused=True))
        after(two)
        ((where, said),) = seen
        assert torch.allclose(where, at.detach(), atol=1e-10, rtol=0), "trained at other images"
        assert torch.allclose(said, value.detach(), atol=1e-10, rtol=0), "another loss"
        for mine, true in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
            assert torch.allclose(mine.double(), true.double(), atol=1e-10, rtol=0), "other weights"
    return state


def move(net, grads):
    with torch.no_grad():
        for weight, g in zip(net.parameters(), grads, strict=True):
            if g is not None:
                weight -= 0.1 * g


def passes_in_training_mode(method):
    """How often a step sends a batch through BatchNorm while that takes statistics."""
    net = Small().float()

    def descend(loss, at, g=None, edit=None):
        z = at.detach().requires_grad_()
        return torch.autograd.grad(loss(z), z)[0]

    method.step(net, whole(IMAGES.float(), LABELS), method.init(run_of()), descend)
    return net.features[4].num_batches_tracked.item()


def nll(out, y):
    """Cross-entropy of each image."""
    return torch.stack([row.logsumexp(0) - row[label] for row, label in zip(out, y, strict=True)])


def sce(out, target):
    """Cross-entropy against probabilities, mean over the batch."""
    return -(target * (out - out.logsumexp(1, keepdim=True))).sum() / len(out)


def at_label(p, y):
    return torch.stack([row[label] for row, label in zip(p, y, strict=True)])


def largest_other(p, y):
    others = [
        [row[j] for j in range(len(row)) if j != label]
        for row, label in zip(p, y.tolist(), strict=True)
    ]
    return torch.stack([torch.stack(row).max() for row in others])


def slope(f, at):
    """The gradient of a scalar function of images."""
    z = at.detach().requires_grad_()
    return torch.autograd.grad(f(z), z)[0]


def boxed(d, x):
    return (x + d).clamp(0, 1) - x


def cut(d, x, eps=EPS):
    return boxed(d.clamp(-eps, eps), x)


def noise(x, r):
    return torch.empty_like(x).uniform_(-r, r)


def coins(x):
    return 2 * torch.empty_like(x).bernoulli_() - 1


def squares(values):
    """Sum of squares of each image."""
    return values.square().flatten(1).sum(1)


def mse(one, two):
    return (one - two).square().sum() / one.numel()


def climb(u, m, g, group, r):
    """Move the universal perturbations u, and their momenta m, of the groups that images are in."""
    for j in set(group):
        mine = [g[i] for i in range(len(g)) if group[i] == j]
        m[j] = sum(mine) / len(mine) / g.abs().sum() + 0.3 * m[j]
        u[j] = (u[j] + r * m[j].sign()).clamp(-r, r)
