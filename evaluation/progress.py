"""Verdicts on many images, batch by batch: kept after each, so that a killed attack goes on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Progress:
    """Verdicts so far: enough to go on from, and JSON-ready."""

    robust: dict[str, str] = field(default_factory=dict)  # masks after each finished attack
    standing: str = ""  # mask in the middle of the next attack
    batches: int = 0  # of that attack that are done
    seconds: float = 0.0
    warnings: dict[str, int] = field(default_factory=dict)  # the library's, and how often
    values: dict[str, list[float]] = field(default_factory=dict)  # measured so far, by image


def knock_out(
    attacks: Sequence[str],
    n: int,
    *,
    parts: Callable[[Tensor], Sequence[Tensor]],
    stands: Callable[[str, Tensor], Tensor],
    now: Progress,
    keep: Callable[[Progress], None],
    say: Callable[[str], None],
) -> None:
    """Run attacks one after the other on n images, each on those that the ones before left.

    Args:
        parts: splits the rows of a mask (n,) that an attack begins with into batches.
        stands: runs an attack on some rows and says which of them stand.
        now: what an earlier try handed to ``keep``; it is not done again. Changed in place.
        keep: called after every batch of every attack.
        say: called with one line a batch.
    """
    start = time.perf_counter() - now.seconds
    done = [*now.robust.values()]
    for attack in (name for name in attacks if name not in now.robust):
        first = unpack(done[-1], n) if done else torch.ones(n, dtype=torch.bool)
        standing = unpack(now.standing, n) if now.batches else first.clone()
        batches = parts(first)
        for rows in batches[now.batches :]:
            standing[rows] = stands(attack, rows).cpu()
            now.standing, now.batches = pack(standing), now.batches + 1
            now.seconds = time.perf_counter() - start
            keep(now)
            left = f"{int(standing.sum())} of {n} images still standing"
            say(f"{attack}: batch {now.batches} of {len(batches)}, {left}")
        now.robust[attack] = pack(standing)
        done.append(now.robust[attack])
        now.standing, now.batches = "", 0
    now.seconds = time.perf_counter() - start


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
