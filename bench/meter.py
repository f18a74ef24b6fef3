"""What training takes: passes, floating-point operations, seconds, bytes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.hooks import RemovableHandle

from bench.method import State


class Passes:
    """Counts images sent forward and backward through a network while the block lasts."""

    def __init__(self, net: nn.Module) -> None:
        self.forward = self.backward = 0
        self._net = net
        self._hook: RemovableHandle | None = None

    def __enter__(self) -> "Passes":
        self._hook = self._net.register_forward_hook(self._seen)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._hook is not None, "left before entered"
        self._hook.remove()

    def _seen(self, net: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        self.forward += len(out)
        if out.requires_grad:
            out.register_hook(self._returned)

    def _returned(self, grad: Tensor) -> None:
        self.backward += len(grad)


class Flops(TorchDispatchMode):
    """Counts floating-point operations by torch's own formulas while the block lasts.

    torch's FlopCounterMode counts by module as well, for which it hooks leaves in a way that
    autograd.grad, the heart of every attack, does not allow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


class Clock:
    """Adds up seconds of wall time, waiting for the device at both ends of each block."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._total = 0.0
        self._start: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time that the block takes, device work included."""
        wait(self._device)
        self._start = time.perf_counter()
        try:
            yield
        finally:
            wait(self._device)
            self._total = self.seconds
            self._start = None

    @property
    def seconds(self) -> float:
        """Seconds so far, those of an unfinished block included."""
        return self._total + (0.0 if self._start is None else time.perf_counter() - self._start)

    def credit(self, seconds: float) -> None:
        """Add seconds that were counted before a restart."""
        self._total += seconds


class Peak:
    """Largest device memory in use since ``forget``, over several stretches; None without a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes: int | None = None
        self.forget()

    def forget(self) -> None:
        """Start a stretch: what was used before does not count."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def note(self) -> None:
        """End a stretch."""
        if self._device.type == "cuda":
            self.bytes = max(self.bytes or 0, torch.cuda.max_memory_allocated(self._device))


def in_use(device: torch.device) -> int:
    """Bytes of device memory that tensors take now; 0 without a GPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def state_bytes(state: State) -> int:
    """Size of a method's state on the device."""
    return sum(tensor.nbytes for tensor in state.values())
