"""The step log: one row of numbers an update, kept on the device until the end of the epoch."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bench.method import Method, Run, State
from bench.ops import cosine

TOLERANCE = 1e-5  # of bounds on a pixel, in [0, 1]: rounding of x + d in float32
COLUMNS = ("loss", "pert_align", "reach", "g_norm")  # that are kept; then come the method's
BOUNDS = ("low", "high")  # of pixels, only to be checked


class Diverged(ArithmeticError):
    """The loss, a number of the method's state or a weight is not finite any more."""


class Means(NamedTuple):
    """What the updates of an epoch have in common."""

    loss: float
    pert_align: float | None  # cosine of attack gradient and training gradient; None: no attack
    reach: float  # the largest |at - x|, in the norm and in units of eps
    state: dict[str, float]  # the method's 0-dim state


class StepLog:
    """Numbers of every update of an epoch, and the check that the method keeps its declarations.

    Args:
        rows: updates of an epoch.
        method: whose threat, reach, boxed and replays are checked.
        state: the method's; its 0-dim tensors are logged.
        run: whose device the updates are on, and the shape of whose images.
    """

    def __init__(self, rows: int, method: Method, state: State, run: Run) -> None:
        self.method, self.state = method, state
        self.scalars = sorted(name for name, tensor in state.items() if tensor.dim() == 0)
        table = torch.full((rows, len(COLUMNS) + len(BOUNDS) + len(self.scalars)), math.nan)
        self.table = table.to(run.device)
        each = torch.full((1, *run.batch[1:]), TOLERANCE)
        self.slack = method.threat.length(each).item()  # L2 adds up the rounding of all pixels
        self.row = 0  # that comes next, as the host counts; the device has a counter of its own

    def write(
        self, row: Tensor, x: Tensor, at: Tensor, loss: Tensor, g: Tensor | None, h: Tensor
    ) -> None:
        """Log one update without waiting for the device.

        Args:
            row: (1,) int64, that comes next.
            x: images (B, C, H, W) of the batch.
            at: images that the loss was taken at.
            loss: 0-dim.
            g: first gradient of the method's attack; None if there is none.
            h: gradient of the loss at ``at``.

        Raises:
            ValueError: the method calls descend more often than it declares.
        """
        if self.row >= len(self.table):
            raise ValueError(
                f"{self._name} calls descend more often than it declares: replays = "
                f"{self.method.replays} a batch"
            )
        low, high = at.aminmax()
        none = torch.full_like(loss, math.nan)
        align = none if g is None else cosine(g, h)
        norm = none if g is None else g.flatten(1).norm(dim=1).mean()
        reach = self.method.threat.length(at - x).max() / self.method.eps
        state = (self.state[name].float() for name in self.scalars)
        values = torch.stack([loss, align, reach, norm, low, high, *state])
        self.table.index_copy_(0, row, values[None])
        self.row += 1

    def close(self, epoch: int, epochs: int) -> tuple[Means, dict[str, Tensor]]:
        """Read the log of an epoch, which waits for the device, and check it.

        Returns:
            What its updates have in common, and the columns, one number an update.

        Raises:
            Diverged: a loss, or a number of the state, is not finite.
            ValueError: the method departs from what it declares; says how far.
        """
        if self.row != len(self.table):
            raise ValueError(
                f"{self._name} called descend {self.row} times in an epoch of {len(self.table)} "
                f"updates; it declares replays = {self.method.replays} a batch"
            )
        log = self.table.cpu()
        columns = dict(zip((*COLUMNS, *BOUNDS, *self.scalars), log.T, strict=True))
        for name in ("loss", *self.scalars):
            wrong = columns[name][~columns[name].isfinite()]
            if len(wrong):
                raise Diverged(f"{name} is {wrong[0]} in epoch {epoch + 1} of {epochs}")
        reach = float(columns["reach"].max())
        self._check(float(columns["low"].min()), float(columns["high"].max()), reach)
        align = columns["pert_align"].nanmean().item()
        means = Means(
            loss=columns["loss"].mean().item(),
            pert_align=None if math.isnan(align) else align,
            reach=reach,
            state={name: columns[name].mean().item() for name in self.scalars},
        )
        kept = {name: columns[name] for name in COLUMNS}
        return means, kept | {f"state.{name}": columns[name] for name in self.scalars}

    def _check(self, low: float, high: float, reach: float) -> None:
        # a number that is none is outside, too
        if self.method.boxed and not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise ValueError(
                f"{self._name} gave descend pixels in [{low}, {high}], outside [0, 1]; cut the "
                "images by box, or declare boxed = False"
            )
        if not reach * self.method.eps <= self.method.reach * self.method.eps + self.slack:
            raise ValueError(
                f"{self._name} gave descend images {reach} eps away, and declares reach = "
                f"{self.method.reach}"
            )

    @property
    def _name(self) -> str:
        return type(self.method).__name__
