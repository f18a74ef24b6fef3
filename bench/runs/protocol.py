"""Training protocols by name: epochs, batch, optimiser and schedules, shared by all methods."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field

from bench.runs.typed import Amount, Count, Positive, Share

Momentum = Annotated[float, Field(ge=0, lt=1)]
Less = Annotated[float, Field(ge=0, lt=0.5)]  # the label keeps more than half, and can be read off
Rule = Literal["validation", "train_pgd", "best_on_test"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One fixed way to train; a changed field makes another protocol, under another name."""

    name: str
    epochs: Positive  # passes over the data; divided by a method's replays
    batch: Positive  # images; the short last batch of an epoch is kept
    # triangular: up from start, and down again; cosine: from peak to end; warmup-cosine: up from
    # start first; onecycle: from start to peak to end, each as half a cosine; piecewise: from peak
    # by factors at milestones; constant: peak
    schedule: Literal[
        "triangular", "cosine", "warmup-cosine", "onecycle", "piecewise", "constant"
    ] = "triangular"
    lr_start: Amount  # learning rate of the first update; of triangular, also after the last
    lr_peak: Amount
    momentum_start: Momentum = 0.9
    momentum_peak: Momentum = 0.8  # momentum at the peak of a triangular or onecycle lr
    weight_decay: Amount = 5e-4  # on every parameter, BatchNorm and biases included
    nesterov: bool = False
    # Fields below came later. Records leave them out at these values, so that earlier runs keep
    # their ids.
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    lr_end: Amount = 0.0  # of a cosine or onecycle, after the last update
    warmup: Share = 0.0  # share of all updates in which a warmup-cosine rises
    validation: Count = 0  # training images held out, to choose the best epoch by PGD-10 on them
    peak_at: Share = 0.5  # share of all updates at which triangular or onecycle has its peak
    unit: Literal["update", "epoch"] = "update"  # in which a schedule moves, and milestones count
    milestones: Annotated[list[Positive], Field(max_length=4)] = field(default_factory=list)
    factors: Annotated[list[Amount], Field(max_length=4)] = field(default_factory=list)  # of peak
    # What chooses the best weights beside the last: PGD-10 on the images held out, if any, after
    # every epoch; train_pgd: PGD-10 on 256 training images every 200 updates; best_on_test: PGD-20
    # on the test images after every epoch, for papers that did so
    select: Rule = "validation"
    smoothing: Less = 0.0  # share of each label that is spread over classes
    smoothing_form: Literal["smooth", "soft", "noisy"] = "smooth"  # words of bench/ops.py
    ema: Share = (
        0.0  # tau of the average e <- tau e + (1 - tau) weights after every update; 0: none
    )
    ema_warmup: bool = False  # tau of the k-th update, from 0, is (k + 1) / (k + 10) at most

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that records keep: the later ones only where they are changed."""
        plain = Protocol(name="", epochs=1, batch=1, lr_start=0, lr_peak=0)
        unset = {key for key in _LATER if getattr(self, key) == getattr(plain, key)}
        return {key: value for key, value in vars(self).items() if key not in unset}

    def contradictions(self) -> Iterator[str]:
        """Yield a message for every value that does not go with another."""
        if len(self.milestones) != len(self.factors) or (
            bool(self.milestones) != (self.schedule == "piecewise")
        ):
            yield (
                f"schedule {self.schedule} with milestones {self.milestones} and factors "
                f"{self.factors}; piecewise has one factor a milestone, and no other has any"
            )
        if any(one >= other for one, other in pairwise(self.milestones)):
            yield f"milestones {self.milestones} do not rise; give them in order"
        if self.select != "validation" and self.validation:
            yield (
                f"select is {self.select}, and {self.validation} validation images are held out "
                "for nobody; leave one of them out"
            )
        if self.smoothing_form != "smooth" and not self.smoothing:
            yield f"smoothing_form is {self.smoothing_form}, and smoothing 0; say its share"
        if self.ema_warmup and not self.ema:
            yield "ema_warmup without ema; say its tau, or leave both out"

    @property
    def selects(self) -> bool:
        """Whether weights are chosen beside the last."""
        return self.select != "validation" or self.validation > 0

    @property
    def described(self) -> str:
        """What becomes of labels and weights, in words."""
        told = ["labels as they are"]
        if self.smoothing:
            told = [f"labels smoothed by {self.smoothing:g} ({self.smoothing_form})"]
        if self.ema:
            warm = ", warmed up" if self.ema_warmup else ""
            told.append(f"weights averaged (tau {self.ema:g}{warm})")
        rules = {
            "validation": f"PGD-10 on {self.validation} held-out images",
            "train_pgd": "PGD-10 on training images",
            "best_on_test": "PGD-20 on test images",
        }
        told.append(f"best weights by {rules[self.select]}" if self.selects else "last weights")
        return "; ".join(told)

    def lr(self, update: int, updates: int) -> float:
        """Return the learning rate of an update, counted from 0, in a run of so many updates."""
        update, updates = self._counted(update, updates)
        low, high, end = self.lr_start, self.lr_peak, self.lr_end
        if self.schedule == "constant":
            return high
        if self.schedule == "piecewise":
            passed = [self.factors[k] for k, m in enumerate(self.milestones) if update >= m]
            return high * passed[-1] if passed else high
        if self.schedule == "triangular":
            return low + (high - low) * height(update, updates, self.peak_at)
        if self.schedule == "onecycle":
            risen, fallen = cycle(update, updates, self.peak_at)
            return end + (high - end) * fallen if risen == 1 else low + (high - low) * risen
        rise = self.warmup * updates if self.schedule == "warmup-cosine" else 0.0
        if update < rise:
            return low + (high - low) * update / rise
        done = (update - rise) / max(updates - rise, 1)
        return self.lr_end + (high - self.lr_end) * (1 + math.cos(math.pi * done)) / 2

    def momentum(self, update: int, updates: int) -> float:
        """Return the momentum of an update, counted from 0, in a run of so many updates."""
        update, updates = self._counted(update, updates)
        rise = self.momentum_peak - self.momentum_start
        if self.schedule == "triangular":
            return self.momentum_start + rise * height(update, updates, self.peak_at)
        if self.schedule == "onecycle":
            return self.momentum_start + rise * min(cycle(update, updates, self.peak_at))
        return self.momentum_start

    def tau(self, update: int) -> float:
        """Return the share of the past that the average keeps after an update, from 0."""
        if update == 0:  # the average begins with the weights after the first
            return 0.0
        return min(self.ema, (update + 1) / (update + 10)) if self.ema_warmup else self.ema

    def _counted(self, update: int, updates: int) -> tuple[int, int]:
        """Count in the schedule's unit."""
        if self.unit == "epoch":
            return update * self.epochs // updates, self.epochs
        return update, updates


_LATER = (  # came after the first records
    "optimizer", "lr_end", "warmup", "validation", "peak_at", "unit", "milestones", "factors",
    "select", "smoothing", "smoothing_form", "ema", "ema_warmup",
)  # fmt: skip


def height(update: int, updates: int, peak_at: float) -> float:
    """Return the height, in [0, 1], of a triangle that rises for a share of all updates."""
    up = max(int(peak_at * updates), 1)
    return update / up if update <= up else (updates - update) / (updates - up)


def cycle(update: int, updates: int, peak_at: float) -> tuple[float, float]:
    """Return how far one cycle has risen, and how far it still has to fall, both in [0, 1].

    The peak lies at update peak_at * updates - 1, as torch's does, and the end at the last update.
    """
    peak = peak_at * updates - 1
    if update <= peak:
        return (1 - math.cos(math.pi * update / peak)) / 2 if peak > 0 else 1.0, 1.0
    return 1.0, (1 + math.cos(math.pi * (update - peak) / (updates - 1 - peak))) / 2


_ALL = (
    # The SORA benchmark's own, code at 3b419d2. Momentum runs 0.9 -> 0.8 -> 0.9 because torch's
    # CyclicLR cycles it by default, and the release keeps the default. The last checkpoint counts.
    Protocol(name="sora-paper", epochs=30, batch=128, lr_start=0.01, lr_peak=0.2),
    # The same with 1,000 training images held out, for the column of best checkpoints. The SORA
    # benchmark has none; N-FGSM and ELLE hold out about as many.
    Protocol(
        name="sora-validated", epochs=30, batch=128, lr_start=0.01, lr_peak=0.2, validation=1000
    ),
    # Known, from the SORA release: its other schedule is torch's CosineAnnealingLR over all updates
    # down to 0.001, in a comment meant for Tiny-ImageNet; momentum then stays 0.9. Which lr it
    # starts from is not: 0.2 is our choice, the peak of the triangular one.
    Protocol(
        name="sora-cosine", epochs=30, batch=128, schedule="cosine",
        lr_start=0.2, lr_peak=0.2, lr_end=0.001,
    ),
    # Known, from the SORA release: AdamW can be chosen, a schedule rises for a tenth of the updates
    # and falls as a cosine, and a ViT's cosine ends at 1e-6. The ViT itself is not released. Our
    # choice: peak 5e-4 and weight decay 0.05, as ViT-S are usually trained (the release's default
    # of 0.01 is for all optimisers alike). Betas are torch's.
    Protocol(
        name="sora-vit", epochs=30, batch=128, optimizer="adamw", schedule="warmup-cosine",
        lr_start=0.0, lr_peak=5e-4, lr_end=1e-6, warmup=0.1, weight_decay=0.05,
    ),
    # sora-paper cut to 15 epochs: for slices of CIFAR-10 on machines without a GPU.
    Protocol(name="sora-15", epochs=15, batch=128, lr_start=0.01, lr_peak=0.2),
    # Long enough for FGSM to overfit 1,437 handwritten digits; chosen in DECISIONS 1.
    Protocol(name="digits-60", epochs=60, batch=64, lr_start=0.01, lr_peak=0.3),
    # FGSM collapses on 4,000 images of MNIST within it, in minutes on a CPU. 0.2 is the SORA
    # benchmark's peak for all its data; its batch of 128 is halved, for more updates an epoch.
    Protocol(name="mnist-10", epochs=10, batch=64, lr_start=0.01, lr_peak=0.2),
    # SEAT's [code]: torch's OneCycle by update with its usual shares, momentum against it; 45,000
    # of 50,000 images trained on. Our choice: the images held out are drawn for all runs alike.
    Protocol(
        name="seat-30", epochs=30, batch=128, schedule="onecycle", lr_start=0.012, lr_peak=0.3,
        lr_end=1.2e-6, peak_at=0.3, momentum_start=0.95, momentum_peak=0.85, validation=5000,
    ),
    # SEAT's table gives FGSM 80 and PGD and TRADES 100 epochs [paper]. Our choice: all else as in
    # seat-30.
    Protocol(
        name="seat-80", epochs=80, batch=128, schedule="onecycle", lr_start=0.012, lr_peak=0.3,
        lr_end=1.2e-6, peak_at=0.3, momentum_start=0.95, momentum_peak=0.85, validation=5000,
    ),
    Protocol(
        name="seat-100", epochs=100, batch=128, schedule="onecycle", lr_start=0.012, lr_peak=0.3,
        lr_end=1.2e-6, peak_at=0.3, momentum_start=0.95, momentum_peak=0.85, validation=5000,
    ),
    # SOAR's standard network, also of ADV [paper]; SOAR goes on from it with soar-200. [paper],
    # except that epochs are counted from 0, here and below where nothing else is said: our choice.
    Protocol(
        name="soar-standard-200", epochs=200, batch=128, schedule="piecewise", unit="epoch",
        lr_start=0.1, lr_peak=0.1, milestones=[100, 150], factors=[0.1, 0.01], weight_decay=2e-4,
    ),
    # ADV's: the same, and the epoch that is best under PGD-20 on the test images [paper].
    Protocol(
        name="soar-adv-200", epochs=200, batch=128, schedule="piecewise", unit="epoch",
        lr_start=0.1, lr_peak=0.1, milestones=[100, 150], factors=[0.1, 0.01], weight_decay=2e-4,
        select="best_on_test",
    ),
    # [paper]; on SVHN the paper stops at epoch 130, which is not done here.
    Protocol(
        name="soar-200", epochs=200, batch=128, schedule="piecewise", unit="epoch",
        lr_start=0.004, lr_peak=0.004, milestones=[100], factors=[0.1], weight_decay=2e-4,
    ),
    # soar-standard-200 and soar-200 in small, for digits. The second has the paper's own rate: at
    # five times that, SOAR and FOAR from the start pgd1 fell to chance (one seed). Else our choice.
    Protocol(
        name="soar-small-25", epochs=25, batch=64, schedule="piecewise", unit="epoch",
        lr_start=0.05, lr_peak=0.05, milestones=[13, 19], factors=[0.1, 0.01], weight_decay=2e-4,
    ),
    Protocol(
        name="soar-small-30", epochs=30, batch=64, schedule="piecewise", unit="epoch",
        lr_start=0.004, lr_peak=0.004, milestones=[15], factors=[0.1], weight_decay=2e-4,
    ),
    # MART's own script [code]; batch and momentum [known].
    Protocol(
        name="mart-120", epochs=120, batch=128, schedule="piecewise", unit="epoch", lr_start=0.01,
        lr_peak=0.01, milestones=[75, 90, 100], factors=[0.1, 0.01, 0.001], weight_decay=3.5e-3,
    ),
    # SOAR's rows of TRADES and MART [paper]; batch [known].
    Protocol(
        name="trades-120", epochs=120, batch=128, schedule="piecewise", unit="epoch", lr_start=0.1,
        lr_peak=0.1, milestones=[75, 90, 100], factors=[0.1, 0.01, 0.001], weight_decay=2e-4,
    ),
    # MMA's [code]. Our choice: whole epochs, 50,048 updates on CIFAR-10 instead of 50,000.
    Protocol(
        name="mma-50k", epochs=128, batch=128, schedule="piecewise", lr_start=0.3, lr_peak=0.3,
        milestones=[20_000, 30_000, 40_000], factors=[0.3, 0.1, 0.03], weight_decay=2e-4,
    ),
    # GAT's [code]: its rate drops once epochs 70 and 85, counted from 0, are over. Our choice: the
    # 1,000 images held out are not the first 100 of each class.
    Protocol(
        name="gat-100", epochs=100, batch=64, schedule="piecewise", unit="epoch", lr_start=0.1,
        lr_peak=0.1, milestones=[71, 86], factors=[0.1, 0.01], validation=1000,
    ),
    # GAT as in SEAT's table [paper]: 60 epochs; our choice: drops at 0.7 and 0.85 of them.
    Protocol(
        name="gat-60", epochs=60, batch=64, schedule="piecewise", unit="epoch", lr_start=0.1,
        lr_peak=0.1, milestones=[42, 51], factors=[0.1, 0.01], validation=1000,
    ),
    # Sub-AT's two stages [code]: the second, which begins with the first's weights before training
    # and stays in its subspace, has no weight decay. Weight decay of the first: the script's
    # advice; paper: 1e-4.
    Protocol(
        name="sub-at-65", epochs=65, batch=128, schedule="constant", lr_start=0.1, lr_peak=0.1,
        validation=5000,
    ),
    Protocol(
        name="sub-at-40", epochs=40, batch=128, schedule="constant", lr_start=1.0, lr_peak=1.0,
        weight_decay=0.0, validation=5000,
    ),
    # The same in small, for digits: 81 vectors of weights at two an epoch.
    Protocol(
        name="sub-at-small-40", epochs=40, batch=64, schedule="constant", lr_start=0.1, lr_peak=0.1,
    ),
    Protocol(
        name="sub-at-small-20", epochs=20, batch=64, schedule="constant", lr_start=1.0, lr_peak=1.0,
        weight_decay=0.0,
    ),
    # GradAlign's [code]: CIFAR-10, SVHN, and its network of one layer, which has Adam. Momentum is
    # not cycled. 0.2 is its rate of FGSM, FGSM-RS and PGD; GradAlign itself has 0.3, as in
    # gradalign-30-high. Our choice: the short last batch is kept.
    Protocol(
        name="gradalign-30", epochs=30, batch=128, lr_start=0.0, lr_peak=0.2, peak_at=0.4,
        momentum_peak=0.9, select="train_pgd",
    ),
    Protocol(
        name="gradalign-30-high", epochs=30, batch=128, lr_start=0.0, lr_peak=0.3, peak_at=0.4,
        momentum_peak=0.9, select="train_pgd",
    ),
    Protocol(
        name="gradalign-15", epochs=15, batch=128, lr_start=0.0, lr_peak=0.05, peak_at=0.4,
        momentum_peak=0.9, select="train_pgd",
    ),
    Protocol(
        name="gradalign-cnn", epochs=30, batch=128, optimizer="adam", lr_start=0.0, lr_peak=0.003,
        peak_at=0.4,
    ),
    # FastAT_Benchmark's at b99c0de, and LIET's [code]: OneCycle moved once an epoch. 1,000 images
    # are held out on CIFAR; our choice: drawn for all runs alike, and as many on Tiny-ImageNet.
    Protocol(
        name="fastat-100", epochs=100, batch=128, schedule="onecycle", unit="epoch",
        lr_start=0.004, lr_peak=0.1, lr_end=4e-7, peak_at=0.3, momentum_start=0.95,
        momentum_peak=0.85, smoothing=0.4, ema=0.9995, validation=1000,
    ),
    # fastat-100 for methods that smooth labels themselves, and AAER, whose labels stay as they are.
    Protocol(
        name="fastat-100-own", epochs=100, batch=128, schedule="onecycle", unit="epoch",
        lr_start=0.004, lr_peak=0.1, lr_end=4e-7, peak_at=0.3, momentum_start=0.95,
        momentum_peak=0.85, ema=0.9995, validation=1000,
    ),
    # gradalign-30 in small, for digits of MNIST: mnist-10 with its shape and its choice of weights.
    Protocol(
        name="gradalign-small-10", epochs=10, batch=64, lr_start=0.0, lr_peak=0.2, peak_at=0.4,
        momentum_peak=0.9, select="train_pgd",
    ),
    # FGSM-PGI's, and others' after it [code]. Its weights are the best on test images; here the
    # last: our choice.
    Protocol(
        name="pgi-110", epochs=110, batch=128, schedule="piecewise", unit="epoch", lr_start=0.1,
        lr_peak=0.1, milestones=[100, 105], factors=[0.1, 0.01],
    ),
    # Runs the pipeline, says nothing about methods.
    Protocol(name="smoke", epochs=2, batch=64, lr_start=0.01, lr_peak=0.1),
)  # fmt: skip
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
