"""The words attacks are written in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.method import Loss
from bench.threat import box as box
from bench.threat import project as project
from bench.threat import uniform as uniform


def grad(loss: Loss, at: Tensor) -> Tensor:
    """Return d loss / d at, without graph and without weight gradients."""
    z = at.detach().requires_grad_()
    (g,) = torch.autograd.grad(loss(z), z)
    return g


def weight_grads(net: nn.Module, loss: Loss, at: Tensor) -> list[Tensor]:
    """Return d loss(at) / d each of net.parameters(), without graph; they keep none themselves."""
    with learning(net):
        return [*torch.autograd.grad(loss(at.detach()), [*net.parameters()])]


def ce(net: nn.Module, y: Tensor) -> Loss:
    """Return cross-entropy against labels y (B,), mean over B, as a function of images."""
    return lambda z: F.cross_entropy(net(z), y)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(softmax p || softmax q) of logits (B, classes), mean over B."""
    return F.kl_div(q.log_softmax(1), p.log_softmax(1), reduction="batchmean", log_target=True)


def pgd(
    loss: Loss, x: Tensor, d: Tensor, *, alpha: float, eps: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Climb loss from x + d by signed steps of alpha inside the eps-ball.

    Returns:
        The last d and the gradient at the start, both (B, C, H, W).
    """
    first = g = grad(loss, at=x + d)
    d = project(d + alpha * g.sign(), x, eps)
    for _ in range(steps - 1):
        g = grad(loss, at=x + d)
        d = project(d + alpha * g.sign(), x, eps)
    return d, first


def labels(y: Tensor) -> Tensor:
    """Return labels (B,), of labels as they are or of probabilities (B, classes)."""
    return y if y.dim() == 1 else y.argmax(1)


def onehot(y: Tensor, classes: int) -> Tensor:
    """Return probabilities (B, classes), of labels (B,) or of probabilities as they are."""
    if y.dim() > 1:
        return y
    return (y[:, None] == torch.arange(classes, device=y.device)).float()  # one_hot reads y back


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
