"""What a run leaves beside its record: numbers of every update, and weights at chosen ones."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from bench import checkpoint
from bench.method import Way
from bench.runs.files import write_bytes
from bench.runs.record import UPDATES, WATCHED


class Interval(NamedTuple):
    """After which updates a network is measured: every so many of a window, and after the last."""

    every: int
    since: int = 0
    until: int | None = None  # None: the last

    def holds(self, before: int, update: int, updates: int) -> bool:
        """Tell whether a step that went from one update to another ends where one is due."""
        inside = self.since <= update <= (updates if self.until is None else self.until)
        return update == updates or (inside and falls_due(self.every, before, update, updates))


class Watch(NamedTuple):
    """Numbers of the network in training, at set intervals; once where several hold."""

    intervals: Sequence[Interval]
    read: Callable[[nn.Module, int], dict[str, float]]  # (net in eval mode, updates taken)


class Traces:
    """Columns by name, one number an update; and rows of watches, each with the updates it is of.

    All of it is on the host, where the log of an epoch arrives when it is closed.

    Args:
        watches: called after the batch in which their update falls.
        keep_at: updates after which the weights are kept, likewise; 0 for the initial ones.
        folder: for those.
    """

    def __init__(
        self,
        watches: Iterable[Watch] = (),
        keep_at: Iterable[int] = (),
        folder: Path | None = None,
    ) -> None:
        self.watches, self.keep_at, self.folder = [*watches], sorted(keep_at), folder
        self.tensors: dict[str, Tensor] = {}  # float32, but int64 for updates

    def add(self, columns: dict[str, Tensor]) -> None:
        """Add the next rows of some columns."""
        for name, rows in columns.items():
            past = self.tensors.get(name)
            self.tensors[name] = rows.clone() if past is None else torch.cat([past, rows])

    def is_due(self, before: int, update: int, updates: int) -> bool:
        """Tell whether a step that went from one update to another calls for anything."""
        due = any(_is_due(one, before, update, updates) for one in self.watches)
        return due or any(before < k <= update for k in self.keep_at)

    def take(self, net: nn.Module, before: int, update: int, updates: int) -> None:
        """Keep weights and read watches, after a step that went from one update to another.

        Random streams are as they were when it is done; the network may be in eval mode.
        """
        for k in self.keep_at:
            if before < k <= update:
                assert self.folder is not None, "nowhere to keep the weights"
                checkpoint.keep_weights(kept_weights(self.folder, k), net)
        device = next(net.parameters()).device
        for watch in self.watches:
            if _is_due(watch, before, update, updates):
                with torch.random.fork_rng([device] if device.type == "cuda" else []):
                    found = watch.read(net.eval(), update)
                for name, value in found.items():
                    row = {WATCHED.format(name): torch.tensor([value], dtype=torch.float32)}
                    self.add(row | {UPDATES.format(name): torch.tensor([update])})

    def write(self, path: Path) -> str:
        """Write the file of all traces, and return its SHA-256."""
        content = save(self.tensors)
        write_bytes(path, content)
        return hashlib.sha256(content).hexdigest()


def kept_weights(folder: Path, update: int) -> Path:
    """Name the file of the weights that are kept after an update."""
    return folder / f"weights-{update}.safetensors"


def way(paths: Sequence[Path], net: nn.Module) -> Way:
    """Read kept weights of a network one after the other, as there may be more than memory holds.

    They come on the network's device.
    """

    def read() -> Iterator[Tensor]:
        for name, weight in net.named_parameters():
            found = []
            for path in paths:
                with safe_open(path, framework="pt") as file:
                    found.append(file.get_tensor(name))
            yield torch.stack(found).to(weight.device)

    return read


def made_up_way(count: int, net: nn.Module) -> Way:
    """Make up weights at so many updates, on the network's device, for measuring what they cost."""

    def make() -> Iterator[Tensor]:
        for weight in net.parameters():
            k = torch.arange(count, device=weight.device, dtype=weight.dtype)
            j = torch.arange(1, weight.numel() + 1, device=weight.device, dtype=weight.dtype)
            yield torch.outer(k, j).cos().view(count, *weight.shape)

    return make


def _is_due(watch: Watch, before: int, update: int, updates: int) -> bool:
    return any(interval.holds(before, update, updates) for interval in watch.intervals)


def falls_due(every: int, before: int, update: int, updates: int) -> bool:
    """Tell whether a step from one update to another passes an interval's end, or is the last."""
    return update // every > before // every or update == updates
