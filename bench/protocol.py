"""Training protocols by name: everything about the optimiser that all methods share."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One fixed way to train; any other value of any field is another protocol and another name."""

    name: str
    epochs: int  # passes over the data; divided by a method's replays
    batch: int  # images; the short last batch of an epoch is kept
    schedule: Literal["triangular"] = "triangular"  # peak in the middle of training, by update
    lr_start: float  # learning rate of the first update, and of the one after the last
    lr_peak: float  # at half of all updates
    momentum_start: float = 0.9
    momentum_peak: float = 0.8  # momentum at the peak of lr
    weight_decay: float = 5e-4  # on every parameter, BatchNorm and biases included
    nesterov: bool = False

    def lr(self, update: int, updates: int) -> float:
        """Learning rate of an update, counted from 0, of all updates of the run."""
        return self.lr_start + (self.lr_peak - self.lr_start) * height(update, updates)

    def momentum(self, update: int, updates: int) -> float:
        """Momentum of an update, counted from 0, of all updates of the run."""
        rise = self.momentum_peak - self.momentum_start
        return self.momentum_start + rise * height(update, updates)


def height(update: int, updates: int) -> float:
    """Height in [0, 1] of a triangle that rises for the first half of all updates, rounded down."""
    up = max(updates // 2, 1)
    return update / up if update <= up else (updates - update) / (updates - up)


_ALL = (
    # The SORA benchmark's own, code at 3b419d2. Momentum runs 0.9 -> 0.8 -> 0.9 because torch's
    # CyclicLR cycles it unless told not to, and nobody told it. The last checkpoint counts.
    Protocol(name="sora-paper", epochs=30, batch=128, lr_start=0.01, lr_peak=0.2),
    # The same, cut to 15 epochs: for slices of CIFAR-10 on machines without a GPU.
    Protocol(name="sora-15", epochs=15, batch=128, lr_start=0.01, lr_peak=0.2),
    # Long enough for FGSM to overfit 1,437 handwritten digits; chosen in DECISIONS.md.
    Protocol(name="digits-60", epochs=60, batch=64, lr_start=0.01, lr_peak=0.3),
    # Runs the pipeline, says nothing about methods.
    Protocol(name="smoke", epochs=2, batch=64, lr_start=0.01, lr_peak=0.1),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
