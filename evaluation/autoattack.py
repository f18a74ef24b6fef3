"""AutoAttack, the headline: a thin adapter over pyautoattack's standard version.

Source: Croce and Hein, ICML 2020, arXiv:2003.01690. The attacks, their settings and their order are
the library's. The adapter runs them one after the other, batch by batch, on the images still
standing, which is what the library does inside, so that it can keep verdicts and resume between
batches. It also sets the number of target classes for data with fewer than ten, counts an answer
that is not finite as wrong, and puts back what the library changes outside itself: the global
generator and the tracer.

Exact mode gives the library's own verdicts. Fast mode attacks the network in a lower precision,
compiled on a GPU, and lets the network itself judge what was found: an image counts as broken
only if that network errs on it. A weaker gradient can miss some images, so fast mode may call an
image standing that exact mode breaks, never one broken that stands up to what it found.
"""

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from bench.runs.record import FEWEST_CLASSES, TOO_FEW_CLASSES, Attack
from bench.threat import Threat
from evaluation.clean import verdicts
from evaluation.parts import fitting
from evaluation.progress import Progress, knock_out, pack, unpack

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
LIBRARY = f"pyautoattack {version('pyautoattack')}"
TARGETS = 9  # of the targeted attacks, in the standard version


def autoattack(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: Threat,
    classes: int,
    seed: int,
    batch: int,
    attacks: Sequence[str] = ATTACKS,
    fast: nn.Module | None = None,
    before: Progress | None = None,
    keep: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
) -> Attack:
    """Attack images with AutoAttack standard, or with some of its attacks.

    Args:
        net: in eval mode, with its weights frozen.
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels, int64.
        threat: norm and radius.
        classes: of the data; at least FEWEST_CLASSES.
        seed, batch: both change the adversarial examples, so both are recorded.
        attacks: in their order, each on what the ones before left.
        fast: the same network in a cheaper form, to be attacked in place of ``net``.
        before: what an earlier try handed to ``keep``; it is not done again.
        keep: called after every batch of every attack.
        say: called with one line a batch.

    Raises:
        ValueError: fewer classes, for which the targeted loss is not defined.
    """
    if classes < FEWEST_CLASSES and "apgd-t" in attacks:
        raise ValueError(f"{TOO_FEW_CLASSES}: the data have {classes}")
    assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1, "images not in [0, 1]"
    net = fitting(net, x, batch)
    now = before or Progress()
    if "clean" not in now.robust:
        now.robust["clean"] = pack(verdicts(net, x, y, batch=batch))
    with _undisturbed(), _noted(now.warnings), torch.random.fork_rng(devices=_cuda(x)):
        judge = _judge(net, fast, x.device, threat, classes=classes, seed=seed, batch=batch)

        def stands(attack: str, rows: Tensor) -> Tensor:
            there = rows.to(x.device)
            return judge(attack, x[there], y[there])

        def parts(first: Tensor) -> Sequence[Tensor]:
            return first.nonzero()[:, 0].split(batch) if first.any() else ()

        knock_out(attacks, len(y), parts=parts, stands=stands, now=now, keep=keep, say=say)
    after = {name: 100 * unpack(m, len(y)).double().mean().item() for name, m in now.robust.items()}
    return Attack(
        version="standard",
        mode="exact" if fast is None else "fast",
        library=LIBRARY,
        seed=seed,
        batch=batch,
        n=len(y),
        accuracy=after[attacks[-1]],
        after=after,
        robust=now.robust,
        attack_seconds=now.seconds,
        warnings=now.warnings,
    )


class Padded(nn.Module):
    """A compiled network that sees batches of few sizes, whatever it is given.

    The attacks ask for any number of images; each new number would be compiled anew.
    """

    def __init__(self, net: nn.Module, batch: int) -> None:
        super().__init__()
        self.net = net
        self._run = torch.compile(net.__call__, dynamic=False, fullgraph=True)
        self._sizes = [size for size in (batch // 8, batch // 4, batch // 2, batch) if size]

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the network computes, (B, C, H, W) -> (B, classes)."""
        size = next((size for size in self._sizes if size >= len(x)), None)
        if size is None:
            return self.net(x)
        more = x.new_zeros(size - len(x), *x.shape[1:])
        return self._run(torch.cat([x, more]))[: len(x)]


class Watched(nn.Module):
    """A network whose every answer is finite, and which knows the images for which it was not.

    The library takes the largest logit for an answer, which of NaN is the first class: a network
    of NaN would stand up to every attack.
    """

    def __init__(self, net: nn.Module, threat: Threat) -> None:
        super().__init__()
        self.net, self.threat = net, threat
        self.begin(torch.zeros(0))

    def begin(self, x: Tensor) -> None:
        """Say which images (N, C, H, W) all that follows is made from."""
        self.images = x
        self.broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)  # (N,)

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the network computes, (B, C, H, W) -> (B, classes), and 0 for no number."""
        logits: Tensor = self.net(x)
        wrong = ~logits.isfinite().all(1)
        if not wrong.any():
            return logits
        for image in x.detach()[wrong].nan_to_num():
            self.broken[self.threat.length(self.images - image).argmin()] = True
        return torch.where(wrong[:, None], 0.0, logits)


def library(
    net: nn.Module, device: torch.device, threat: Threat, *, classes: int, seed: int
) -> Any:
    """Make the library's AutoAttack standard, with no more target classes than there are."""
    from pyautoattack import AutoAttack

    made = AutoAttack(
        net, eps=threat.eps, norm=threat.norm, version="standard", seed=seed, device=device
    )
    made.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
    made.fab.n_target_classes = min(TARGETS, classes - 1)
    return made


def _judge(
    net: nn.Module,
    fast: nn.Module | None,
    device: torch.device,
    threat: Threat,
    *,
    classes: int,
    seed: int,
    batch: int,
) -> Callable[[str, Tensor, Tensor], Tensor]:
    """Return a function that attacks one batch and says which images stand."""
    watched = Watched(net, threat)
    exact, rough = (
        None if other is None else library(other, device, threat, classes=classes, seed=seed)
        for other in (watched, fast)
    )

    def run(with_: Any, attack: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with_.attacks_to_run = [attack]
        return with_.run_standard_evaluation(x, y, batch_size=batch)

    def stands(attack: str, x: Tensor, y: Tensor) -> Tensor:
        watched.begin(x)
        if fast is None:
            return (run(exact, attack, x, y)[1] == y) & ~watched.broken
        found, _ = run(rough, attack, x, y)
        # the library does not attack what the network it is given gets wrong to begin with
        left = (~verdicts(fast, x, y, batch=batch)).nonzero()[:, 0]
        if len(left):
            found[left] = run(exact, attack, x[left], y[left])[0]
        return verdicts(net, found, y, batch=batch) & ~watched.broken

    return stands


def _cuda(x: Tensor) -> list[int]:
    return [x.device.index or 0] if x.device.type == "cuda" else []


@contextmanager
def _noted(warnings: dict[str, int]) -> Iterator[None]:
    """Count what the library warns of inside the block, without the numbers in its texts."""

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = re.sub(r"\d+ ", "", record.getMessage().partition("!")[0])
            warnings[text] = warnings.get(text, 0) + 1

    logger, counter = logging.getLogger("auto-attack"), Counter(logging.WARNING)
    logger.addHandler(counter)
    propagate, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(counter)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Give back the tracer, which the library sets to None; coverage and debuggers live on it."""
    tracer = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(tracer)
