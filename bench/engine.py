"""How a step is run: as written, with a compiled network, or recorded once as a CUDA graph.

All three compute the same, up to rounding. The step of a method is Python that starts some hundred
small operations; recorded, the device goes through them without waiting for Python.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.method import Batch, Method
from bench.runs.record import Engine

WARM_UP = 3  # steps that run as written before one is recorded: lazily made buffers, compilation

VARIANTS = 256  # compiled forms of networks in a process: by method, precision and batch


class Compiled(nn.Module):
    """A network whose passes are compiled; its weights are the network's.

    As written, torch computes the gradients that are asked for; a compiled backward pass computes
    all there are. So for attacks, which need that of their images alone, weights are constants.
    """

    learning = False  # will gradients of weights be asked for; set by ``learning``

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        from torch._dynamo import config as dynamo
        from torch._inductor import config as inductor

        # one code object serves all networks of a process; beyond the limit torch gives up
        dynamo.recompile_limit = VARIANTS
        inductor.deterministic = True  # no choice by timing, which a resumed run might make anew
        self.net = net
        self._compiled = torch.compile(self._run, dynamic=False, fullgraph=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the network computes."""
        return self._compiled(x, self.learning)

    def _run(self, x: Tensor, learning: bool) -> Tensor:
        if learning:
            return self.net(x)
        constants = {name: weight.detach() for name, weight in self.net.named_parameters()}
        return torch.func.functional_call(self.net, constants, (x,))


@contextmanager
def learning(net: nn.Module) -> Iterator[None]:
    """Ask for gradients of weights inside the block."""
    if isinstance(net, Compiled):
        net.learning = True
    try:
        yield
    finally:
        if isinstance(net, Compiled):
            net.learning = False


class Captured:
    """A step on full batches, recorded as one CUDA graph.

    Its inputs have fixed addresses, into which each batch is copied.
    """

    def __init__(self, step: Callable[[Batch], None], example: Batch) -> None:
        self._batch: Batch = _like(example)
        self._graph = torch.cuda.CUDAGraph()
        # a thread that streams pictures may go on with its own work
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            step(self._batch)

    def __call__(self, batch: Batch) -> None:
        """Copy a batch in and take the step."""
        _copy(self._batch, batch)
        self._graph.replay()


def choose(wanted: Engine | Literal["auto"], method: Method, device: torch.device) -> Engine:
    """Choose the fastest engine that a method, a device and this machine allow.

    A method that differentiates twice needs the network as written, and one that waits for the
    device cannot be recorded. On CPUs compiling takes longer than small runs.

    Raises:
        ValueError: what was asked for is not possible; says why and what is.
    """
    cuda = device.type == "cuda"
    if wanted == "auto":
        if cuda and method.graph:
            return "captured"
        return "compiled" if cuda and not method.twice and compiler() else "eager"
    name = type(method).__name__
    if wanted == "captured" and not cuda:
        raise ValueError("a step can be captured on a GPU only; use --engine eager or compiled")
    if wanted == "captured" and not method.graph:
        raise ValueError(f"{name} waits for the device in a step; use --engine eager or compiled")
    if wanted == "compiled" and method.twice:
        raise ValueError(f"{name} differentiates twice, which compiled networks cannot; use eager")
    if wanted == "compiled" and not compiler():
        raise ValueError("compiling needs a C++ compiler (g++ or $CXX); install one or use eager")
    return wanted


def compiler() -> str | None:
    """Find the C++ compiler that torch would use."""
    return shutil.which(os.environ.get("CXX", "g++"))


def _like(batch: Batch) -> Batch:
    """Make a batch of the same shapes at addresses of its own."""
    return _map(lambda value: torch.empty_like(value).copy_(value), batch)


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(function, part) for part in value))
    return value


def _copy(to: Any, value: Any) -> None:
    if isinstance(to, Tensor):
        to.copy_(value)
    elif isinstance(to, tuple) and hasattr(to, "_fields"):
        for part, new in zip(to, value, strict=True):
            _copy(part, new)
