"""Clean accuracy."""

import torch
from torch import Tensor, nn

from bench.runs.record import Score
from evaluation.parts import fitting


@torch.no_grad()
def correct(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Say which images (B, C, H, W) net puts into their class y (B,); (B,) bool.

    A logit that is not finite makes its answer wrong: the largest of NaN is the first class.
    """
    logits = net(x)
    return (logits.argmax(1) == y) & logits.isfinite().all(1)


def clean(net: nn.Module, x: Tensor, y: Tensor, *, batch: int) -> Score:
    """Accuracy on images x (N, C, H, W) in [0, 1]."""
    return score(verdicts(fitting(net, x, batch), x, y, batch=batch))


def verdicts(net: nn.Module, x: Tensor, y: Tensor, *, batch: int) -> Tensor:
    """Say which of any number of images are right (`correct`), so many at once; (N,) bool."""
    parts = zip(x.split(batch), y.split(batch), strict=True)
    return torch.cat([correct(net, *part) for part in parts])


@torch.no_grad()
def answers(net: nn.Module, x: Tensor, *, batch: int) -> int:
    """Count the classes that net puts any of the images x (N, C, H, W) into."""
    net = fitting(net, x, batch)
    return len(torch.cat([net(part).argmax(1) for part in x.split(batch)]).unique())


def score(right: Tensor) -> Score:
    """Percent of true verdicts, (N,) bool."""
    return Score(accuracy=100 * right.double().mean().item(), n=len(right))
