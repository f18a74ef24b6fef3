"""What training takes: passes, floating-point operations, seconds, bytes."""

import functools
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
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

    def _seen(self, net: nn.Module, args: tuple[Tensor, ...], out: Any) -> None:
        out = out[0] if isinstance(out, tuple) else out  # beside features
        self.forward += len(out)
        if out.requires_grad:
            out.register_hook(self._returned)

    def _returned(self, grad: Tensor) -> None:
        self.backward += len(grad)


class Mode(TorchDispatchMode):
    """A mode that sees networks as written alone, and so spares a process the compiler's import.

    By default torch guards a mode against being compiled itself, for which it loads the compiler:
    1.1 s of each job, most of which compile nothing.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Flops(Mode):
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


class Memory(Mode):
    """Counts the bytes of all tensors that are alive, and their peak, while the block lasts.

    On the meta device, too, where nothing takes memory and nothing is computed. What a library
    needs inside an operation is not seen.

    Args:
        given: tensors that are there before.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._note(given)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._note(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out

    def _note(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._alive:
                gone = functools.partial(self._forget, key, size)
                self._alive[key] = weakref.ref(storage, gone)
                self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def _forget(self, key: int, size: int, ended: object) -> None:
        del self._alive[key]
        self.bytes -= size


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

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of the block around it."""
        wait(self._device)
        self._total, self._start = self.seconds, None
        try:
            yield
        finally:
            wait(self._device)
            self._start = time.perf_counter()

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


def free_bytes(device: torch.device, *, emptied: bool = True) -> int:
    """Bytes of memory that a job may still take there.

    Args:
        emptied: give back first what torch keeps for later, less what a recorded step holds.
    """
    if device.type == "cuda":
        if emptied:
            torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    facts = dict(line.split()[:2] for line in Path("/proc/meminfo").read_text().splitlines())
    return min([1024 * int(facts["MemAvailable:"]), *_left_to_group()])


def _left_to_group() -> Iterator[int]:
    """Yield what is left of each limit on this process's control groups, of version 2."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    names = [Path(line.removeprefix("0::/")) for line in lines if line.startswith("0::/")]
    for folder in (
        Path("/sys/fs/cgroup", group) for name in names for group in (name, *name.parents)
    ):
        limit, used = folder / "memory.max", folder / "memory.current"
        if limit.is_file() and (text := limit.read_text().strip()) != "max":
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield int(text) - int(used.read_text()) + int(kept["inactive_file"])


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
