"""FGSM and PGD-K as the SORA benchmark evaluates with them, and PGD with restarts."""

import functools
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor, nn

from bench.ops import box, ce, grad
from bench.ops import pgd as climb
from bench.runs.record import Score
from bench.threat import Threat
from evaluation.clean import correct, score
from evaluation.parts import fitting

STEP = 0.25  # of PGD, in units of eps


def fgsm(net: nn.Module, x: Tensor, y: Tensor, *, threat: Threat, batch: int) -> Score:
    """Accuracy after one step of eps from the clean image; net in eval mode.

    Args:
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels.
        threat: norm and radius.
        batch: images at once; the result does not depend on it.
    """
    net, right = fitting(net, x, batch), []
    for xs, ys in zip(x.split(batch), y.split(batch), strict=True):
        d = threat.project(threat.eps * threat.steepest(grad(ce(net, ys), at=xs)), xs)
        right.append(correct(net, xs + d, ys))
    return score(torch.cat(right))


def pgd(
    net: nn.Module, x: Tensor, y: Tensor, *, threat: Threat, batch: int, steps: int, seed: int
) -> Score:
    """Accuracy after K steps of eps/4 from a random start; last iterate, one restart.

    The start has a generator of its own, made on the host: every network is attacked from the same
    points on every device, and training that goes on afterwards is not disturbed.
    """
    net, right = fitting(net, x, batch), []
    with ThreadPoolExecutor(1) as pool:
        starts = _Starts(pool, threat=threat, seed=seed)
        parts = x.split(batch)
        for xs, ys, after in zip(parts, y.split(batch), [*parts[1:], None], strict=True):
            start = starts.take(xs, after)
            d, _ = climb(ce(net, ys), xs, box(start, xs), threat=threat, alpha=STEP, steps=steps)
            right.append(correct(net, xs + d, ys))
    return score(torch.cat(right))


def pgd_restarts(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    batch: int,
    steps: int,
    restarts: int,
    seed: int,
) -> Score:
    """Accuracy under K steps of eps/4 from several random starts.

    An image counts as broken if the last iterate of any restart breaks it; the FGSM-RS and N-FGSM
    codes keep the restart with the largest loss instead, which is no stricter.
    """
    net, verdicts = fitting(net, x, batch), []
    with ThreadPoolExecutor(1) as pool:
        starts = _Starts(pool, threat=threat, seed=seed)
        parts = x.split(batch)
        for xs, ys, after in zip(parts, y.split(batch), [*parts[1:], None], strict=True):
            standing = correct(net, xs, ys)
            for restart in range(restarts):
                start = starts.take(xs, xs if restart + 1 < restarts else after)
                left, labels = xs[standing], ys[standing]
                if len(left) == 0:
                    break
                d, _ = climb(
                    ce(net, labels),
                    left,
                    box(start[standing], left),
                    threat=threat,
                    alpha=STEP,
                    steps=steps,
                )
                standing[standing.clone()] = correct(net, left + d, labels)
            verdicts.append(standing)
    return score(torch.cat(verdicts))


class _Starts:
    """Random starts in the ball, from one generator on the host, the same on every device.

    A batch of 224 x 224 takes most of a second. So the next start is drawn while the device works
    on this one, and the first, which every epoch's probe has again, is kept.
    """

    def __init__(self, pool: ThreadPoolExecutor, *, threat: Threat, seed: int) -> None:
        self._pool, self._threat, self._seed = pool, threat, seed
        self._state: Tensor | None = None  # of the generator, behind what has been taken
        self._ahead: tuple[torch.Size, Future[tuple[Tensor, Tensor]]] | None = None

    def take(self, x: Tensor, after: Tensor | None = None) -> Tensor:
        """Return a start in the shape of x, on its device; begin to draw one in that of `after`."""
        if self._ahead is not None and self._ahead[0] == x.shape:
            start, self._state = self._ahead[1].result()
        else:  # restarts ended early, and nothing has been taken of what was drawn ahead
            start, self._state = self._draw(x.shape)
        self._ahead = None
        if after is not None:
            self._ahead = after.shape, self._pool.submit(self._draw, after.shape)
        return start.to(x.device)

    def _draw(self, shape: torch.Size) -> tuple[Tensor, Tensor]:
        if self._state is None:
            return _first_start(shape, self._threat, self._seed)
        generator = torch.Generator()
        generator.set_state(self._state)
        return _start(shape, self._threat, generator)


@functools.lru_cache(maxsize=1)
def _first_start(shape: torch.Size, threat: Threat, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the first start of a seed."""
    return _start(shape, threat, torch.Generator().manual_seed(seed))


def _start(shape: torch.Size, threat: Threat, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a start; return it with the generator's state behind it."""
    return threat.uniform(torch.empty(shape), generator=generator), generator.get_state()
