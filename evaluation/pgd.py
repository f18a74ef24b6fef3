"""FGSM and PGD-K as the SORA benchmark evaluates with them, and PGD with restarts."""

import torch
from torch import Tensor, nn

from bench.ops import box, ce, grad, project
from bench.ops import pgd as climb
from bench.runs.record import Score
from evaluation.clean import correct, score
from evaluation.parts import fitting

STEP = 0.25  # of PGD, in units of eps


def fgsm(net: nn.Module, x: Tensor, y: Tensor, *, eps: float, batch: int) -> Score:
    """Accuracy after one step of eps from the clean image; net in eval mode.

    Args:
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels.
        eps: L-inf radius on the [0, 1] scale.
        batch: images at once; the result does not depend on it.
    """
    net, right = fitting(net, x, batch), []
    for xs, ys in zip(x.split(batch), y.split(batch), strict=True):
        d = project(eps * grad(ce(net, ys), at=xs).sign(), xs, eps)
        right.append(correct(net, xs + d, ys))
    return score(torch.cat(right))


def pgd(
    net: nn.Module, x: Tensor, y: Tensor, *, eps: float, batch: int, steps: int, seed: int
) -> Score:
    """Accuracy after K steps of eps/4 from a random start; last iterate, one restart.

    The start has a generator of its own, made on the host: every network is attacked from the same
    points on every device, and training that goes on afterwards is not disturbed.
    """
    generator = torch.Generator().manual_seed(seed)
    net, right = fitting(net, x, batch), []
    for xs, ys in zip(x.split(batch), y.split(batch), strict=True):
        start = torch.empty(xs.shape).uniform_(-eps, eps, generator=generator).to(xs.device)
        d, _ = climb(ce(net, ys), xs, box(start, xs), alpha=STEP * eps, eps=eps, steps=steps)
        right.append(correct(net, xs + d, ys))
    return score(torch.cat(right))


def pgd_restarts(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    batch: int,
    steps: int,
    restarts: int,
    seed: int,
) -> Score:
    """Accuracy under K steps of eps/4 from several random starts.

    An image counts as broken if the last iterate of any restart breaks it; the FGSM-RS and N-FGSM
    codes keep the restart with the largest loss instead, which is no stricter.
    """
    generator = torch.Generator().manual_seed(seed)
    net, verdicts = fitting(net, x, batch), []
    for xs, ys in zip(x.split(batch), y.split(batch), strict=True):
        standing = correct(net, xs, ys)
        for _ in range(restarts):
            start = torch.empty(xs.shape).uniform_(-eps, eps, generator=generator).to(xs.device)
            left, labels = xs[standing], ys[standing]
            if len(left) == 0:
                break
            d, _ = climb(
                ce(net, labels),
                left,
                box(start[standing], left),
                alpha=STEP * eps,
                eps=eps,
                steps=steps,
            )
            standing[standing.clone()] = correct(net, left + d, labels)
        verdicts.append(standing)
    return score(torch.cat(verdicts))
