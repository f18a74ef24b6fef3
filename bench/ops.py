"""The words attacks are written in."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.method import Loss, State
from bench.threat import Threat
from bench.threat import box as box
from bench.threat import project as project
from bench.threat import uniform as uniform


def corner(x: Tensor, r: float) -> Tensor:
    """Draw a corner of the L-inf ball of radius r: -r or r, a fair coin an element."""
    return r * (2 * torch.empty_like(x).bernoulli_() - 1)


def grad(loss: Loss, at: Tensor) -> Tensor:
    """Return d loss / d at, without graph and without weight gradients."""
    z = at.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(z), z)
    return g


def weight_grads(net: nn.Module, loss: Loss, at: Tensor) -> list[Tensor]:
    """Return d loss(at) / d each of net.parameters(), without graph; they keep none themselves."""
    with learning(net):
        return [*torch.autograd.grad(loss(at.detach()), [*net.parameters()])]


def all_grads(net: nn.Module, loss: Loss, at: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return both of one pass: what ``grad`` returns, and what ``weight_grads`` does."""
    z = at.detach().requires_grad_()
    with learning(net):
        g, *of_weights = torch.autograd.grad(loss(z), [z, *net.parameters()])
    return g, of_weights


def featured(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, classes), and the features (B, n) that the last linear layer reads.

    Of one pass; ``run.features`` is n, and None where a network has no such layer.
    """
    out: tuple[Tensor, Tensor] = net(x, featured=True)
    return out


@contextmanager
def statistics_kept(net: nn.Module) -> Iterator[None]:
    """Have BatchNorm's statistics at the end of the block as they were before it."""
    before = [buffer.clone() for buffer in net.buffers()]
    try:
        yield
    finally:
        for buffer, kept in zip(net.buffers(), before, strict=True):
            buffer.copy_(kept)


def in_norm(net: nn.Module, directions: Sequence[Tensor]) -> list[Tensor]:
    """Give each direction, one for each of net.parameters(), the norm of its weights.

    Those of fewer than two dimensions (biases, BatchNorm) become 0, as in AWP and LAP.
    """
    return [
        v * (w.detach().norm() / (v.norm() + 1e-20)) if w.dim() > 1 else torch.zeros_like(v)
        for w, v in zip(net.parameters(), directions, strict=True)
    ]


def move(net: nn.Module, by: Sequence[Tensor], *, sign: int = 1) -> None:
    """Add to the weights, in place, one tensor for each of net.parameters()."""
    with torch.no_grad():
        torch._foreach_add_([*net.parameters()], [*by], alpha=sign)


@contextmanager
def moved(net: nn.Module, by: Sequence[Tensor]) -> Iterator[None]:
    """Have the weights moved inside the block; at its end the same move is taken back.

    An update inside stays: its gradient and its weight decay are those of the moved weights.
    """
    move(net, by)
    try:
        yield
    finally:
        move(net, by, sign=-1)


def learner(**weights: Tensor) -> State:
    """Make the state of a small learner beside the network: its weights, and Adam's of each."""
    state = State(weights)
    for name, w in weights.items():
        state[f"{name}.mean"] = torch.zeros_like(w)
        state[f"{name}.square"] = torch.zeros_like(w)
        state[f"{name}.count"] = torch.zeros(1, device=w.device)  # a 0-dim one would be a curve
    return state


def learn(
    loss: Callable[[State], Tensor],
    state: State,
    names: Iterable[str],
    *,
    lr: float | Tensor,
    on: Tensor | None = None,
) -> None:
    """Take one step of Adam (betas 0.9 and 0.999) down a loss of some weights of a learner.

    Args:
        loss: of these weights, given as ``own.a`` and ``own["a"]``; () mean over B.
        names: of the weights, as ``learner`` made them in the state.
        lr: learning rate; () on the device where it varies.
        on: () bool; where it is False, nothing is learnt.
    """
    own = State({name: state[name].detach().requires_grad_() for name in names})
    gradients = torch.autograd.grad(loss(own), [*own.values()])
    for name, g in zip(own, gradients, strict=True):
        parts = [state[f"{name}{part}"] for part in (".mean", ".square", ".count", "")]
        before = [] if on is None else [part.clone() for part in parts]
        mean, square, k, w = parts
        k += 1
        mean.lerp_(g, 1 - 0.9)
        square.mul_(0.999).addcmul_(g, g, value=1 - 0.999)
        root = (square / (1 - 0.999**k)).sqrt() + 1e-8
        w.sub_(lr * mean / (1 - 0.9**k) / root)
        if on is not None:
            for part, old in zip(parts, before, strict=True):
                part.copy_(torch.where(on, part, old))


def ce(net: nn.Module, y: Tensor) -> Loss:
    """Return cross-entropy against labels y (B,), mean over B, as a function of images."""
    return lambda z: F.cross_entropy(net(z), y)


def each(net: nn.Module, y: Tensor) -> Loss:
    """Return the cross-entropy of every image (B,) against targets y, as a function of images."""
    return lambda z: F.cross_entropy(net(z), y, reduction="none")


def tangent(losses: Loss, at: Tensor, *, twice: bool = False) -> tuple[Tensor, Tensor]:
    """Return the loss of every image (B,) and its own gradient there (B, C, H, W).

    Both keep their graph if the gradient is to be differentiated once more.
    """
    z = at.detach().requires_grad_()
    value = losses(z)
    (g,) = torch.autograd.grad(value.sum(), z, create_graph=twice)
    return (value, g) if twice else (value.detach(), g)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(softmax p || softmax q) of logits (B, classes), mean over B."""
    return F.kl_div(q.log_softmax(1), p.log_softmax(1), reduction="batchmean", log_target=True)


def pgd(
    loss: Loss, x: Tensor, d: Tensor, *, threat: Threat, alpha: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Climb loss from x + d inside the ball, by steepest steps of alpha in units of eps.

    Returns:
        The last d and the gradient at the start, both (B, C, H, W).
    """
    step = alpha * threat.eps
    first = g = grad(loss, at=x + d)
    d = threat.project(d + step * threat.steepest(g), x)
    for _ in range(steps - 1):
        g = grad(loss, at=x + d)
        d = threat.project(d + step * threat.steepest(g), x)
    return d, first


def labels(y: Tensor) -> Tensor:
    """Return labels (B,), of labels as they are or of probabilities (B, classes)."""
    return y if y.dim() == 1 else y.argmax(1)


def onehot(y: Tensor, classes: int) -> Tensor:
    """Return probabilities (B, classes), of labels (B,) or of probabilities as they are."""
    if y.dim() > 1:
        return y
    return (y[:, None] == torch.arange(classes, device=y.device)).float()  # one_hot reads y back


def own(p: Tensor, y: Tensor) -> Tensor:
    """Return of each row of p (B, classes) what belongs to the label of its target y, (B,)."""
    return p.gather(1, labels(y)[:, None])[:, 0]


def rival(p: Tensor, y: Tensor) -> Tensor:
    """Return of each row of p (B, classes) the largest value of all other labels, (B,)."""
    return p.scatter(1, labels(y)[:, None], -torch.inf).amax(1)


def smooth(y: Tensor, s: float | Tensor, classes: int) -> Tensor:
    """Spread a share s of each target evenly over all classes, as torch does; (B, classes).

    The targets y, here and below, are labels (B,) or probabilities (B, classes).
    """
    return (1 - s) * onehot(y, classes) + s / classes


def soft(y: Tensor, a: float | Tensor, classes: int) -> Tensor:
    """Put a on the label and (1 - a) / (classes - 1) on each other class; (B, classes)."""
    p = onehot(y, classes)
    return a * p + (1 - a) / (classes - 1) * (1 - p)


def noisy(y: Tensor, s: float | Tensor, classes: int) -> Tensor:
    """Put 1 - s on the label, and s on the others in random parts, new at each call; (B, classes).

    The parts are draws of U(0, 1], an image, divided by their sum.
    """
    p = onehot(y, classes)
    parts = (1 - p) * (1 - torch.rand_like(p))  # no draw is 0, and neither is a sum
    return (1 - s) * p + s * parts / parts.sum(1, keepdim=True)


def ramp(t: Tensor, share: float) -> Tensor:
    """Return what rises from 0 to 1 in a first share of the training and stays; t as in Batch."""
    return (t / share).clamp(max=1) if share else torch.ones_like(t)


def per_image(values: Tensor) -> Tensor:
    """Sum everything but the batch, (B, ...) -> (B,)."""
    return values.flatten(1).sum(1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean over B of the per-image cosine, () in [-1, 1]; 0 where a gradient is 0."""
    return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1, eps=1e-30).mean()


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Freeze BatchNorm and dropout inside the block, then return to the mode it found."""
    was = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(was)


@contextmanager
def learning(net: nn.Module) -> Iterator[None]:
    """Have gradients of weights inside the block; outside, a compiled network leaves them out."""
    was = getattr(net, "learning", None)
    if was is not None:
        net.learning = True  # type: ignore[assignment]
    try:
        yield
    finally:
        if was is not None:
            net.learning = was
