"""AutoAttack, the headline: a thin adapter over pyautoattack's standard version.

Source: Croce and Hein, ICML 2020, arXiv:2003.01690. The attacks, their settings and their order are
the library's. The adapter runs them one after the other on the images still standing, which is what
the library does inside, so that it can keep each attack's verdicts and resume between attacks. It
also sets the number of target classes for data with fewer than ten, and puts back what the library
changes outside itself: the global generator and the tracer.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch
from torch import Tensor, nn

from bench.record import Attack

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
LIBRARY = f"pyautoattack {version('pyautoattack')}"
TARGETS = 9  # of the targeted attacks, in the standard version


def autoattack(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    classes: int,
    seed: int,
    batch: int,
    before: dict[str, str] | None = None,
    seconds: float = 0.0,
    keep: Callable[[dict[str, str], float], None] = lambda robust, seconds: None,
    say: Callable[[str], None] = lambda line: None,
) -> Attack:
    """Attack images with AutoAttack standard, L-inf.

    Args:
        net: in eval mode, with its weights frozen.
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels, int64.
        eps: radius on the [0, 1] scale.
        classes: of the data; at least 4.
        seed, batch: both change the adversarial examples, so both are recorded.
        before: masks that an earlier try handed to ``keep``; their attacks are not run again.
        seconds: what those took.
        keep: called after every attack with all masks so far and the seconds they took.
        say: called with one line an attack.

    Raises:
        ValueError: fewer than 4 classes, for which the targeted loss is not defined.
    """
    from pyautoattack import AutoAttack

    if classes < 4:
        raise ValueError(
            f"AutoAttack's targeted DLR loss needs 4 classes or more, the data have {classes}; "
            "rank such data by another evaluation"
        )
    assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1, "images not in [0, 1]"
    masks = dict(before or {})
    start = time.perf_counter() - seconds
    with _undisturbed(), torch.random.fork_rng(devices=_cuda(x)):
        library = AutoAttack(
            net, eps=eps, norm="Linf", version="standard", seed=seed, device=x.device
        )
        library.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
        library.fab.n_target_classes = min(TARGETS, classes - 1)
        if "clean" not in masks:
            with torch.no_grad():
                logits = torch.cat([net(part) for part in x.split(batch)])
            masks["clean"] = pack(logits.argmax(1) == y)
        standing = unpack(list(masks.values())[-1], len(y)).to(x.device)
        for attack in ATTACKS[len(masks) - 1 :]:
            library.attacks_to_run = [attack]
            rows = standing.nonzero()[:, 0]
            if len(rows):
                found = library.run_standard_evaluation(x[rows], y[rows], batch_size=batch)
                standing[rows] = found[1] == y[rows]
            masks[attack] = pack(standing)
            keep(masks, time.perf_counter() - start)
            say(f"{attack}: {int(standing.sum())} of {len(y)} images still standing")
    after = {name: 100 * unpack(m, len(y)).double().mean().item() for name, m in masks.items()}
    return Attack(
        version="standard",
        library=LIBRARY,
        seed=seed,
        batch=batch,
        n=len(y),
        accuracy=after[ATTACKS[-1]],
        after=after,
        robust=masks,
        attack_seconds=time.perf_counter() - start,
    )


def pack(verdicts: Tensor) -> str:
    """Write verdicts (N,) bool as hex digits, the first one as the highest bit."""
    n = len(verdicts)
    bits = "".join("1" if verdict else "0" for verdict in verdicts.tolist())
    digits = -(-n // 4)
    return f"{int(bits.ljust(4 * digits, '0') or '0', 2):0{digits}x}"


def unpack(mask: str, n: int) -> Tensor:
    """Read n verdicts back, (n,) bool."""
    bits = f"{int(mask, 16):0{4 * len(mask)}b}"[:n]
    return torch.tensor([bit == "1" for bit in bits], dtype=torch.bool)


def _cuda(x: Tensor) -> list[int]:
    return [x.device.index or 0] if x.device.type == "cuda" else []


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Give back the tracer, which the library sets to None; coverage and debuggers live on it."""
    tracer = sys.gettrace()
    try:
        yield
    finally:
        sys.settrace(tracer)
