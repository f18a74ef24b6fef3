"""How a step is run: as written, with a compiled network, or recorded once as a CUDA graph.

All three compute the same, up to rounding. The step of a method is Python that starts some hundred
small operations; recorded, the device goes through them without waiting for Python.
"""

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
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

    learning = False  # will gradients of weights be asked for; set by ``bench.ops.learning``

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        from torch._dynamo import config as dynamo
        from torch._inductor import config as inductor

        # one code object serves all networks of a process; beyond the limit torch gives up
        dynamo.recompile_limit = VARIANTS
        inductor.deterministic = True  # no choice by timing, which a resumed run might make anew
        self.net = net
        self._compiled = torch.compile(self._run, dynamic=False, fullgraph=True)

    def forward(self, x: Tensor, **asked: bool) -> Tensor:
        """Compute what the network computes."""
        return self._compiled(x, self.learning, asked)

    def _run(self, x: Tensor, learning: bool, asked: dict[str, bool]) -> Tensor:
        if learning:
            return self.net(x, **asked)
        constants = {name: weight.detach() for name, weight in self.net.named_parameters()}
        return torch.func.functional_call(self.net, constants, (x,), asked)


@contextmanager
def beside(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work on a stream of its own inside the block, in order with what comes before and after.

    What is to be captured is warmed up on the stream that captures: libraries keep workspaces by
    stream, and a gradient that remembers another one would end the capture.
    """
    if stream is None:
        yield
        return
    now = torch.cuda.current_stream(stream.device)
    stream.wait_stream(now)
    with torch.cuda.stream(stream):
        yield
    now.wait_stream(stream)


class Captured:
    """A step on full batches, recorded as one CUDA graph.

    Its inputs have fixed addresses, into which each batch is copied.

    Args:
        stream: on which the step has been warmed up.
    """

    def __init__(
        self, step: Callable[[Batch], None], example: Batch, stream: torch.cuda.Stream | None
    ) -> None:
        self._batch: Batch = _like(example)
        self._graph = torch.cuda.CUDAGraph()
        # a thread that streams pictures may go on with its own work
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
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
        return "compiled" if cuda and not method.twice and not lacking(device) else "eager"
    name = type(method).__name__
    if wanted == "captured" and not cuda:
        raise ValueError("a step can be captured on a GPU only; use --engine eager or compiled")
    if wanted == "captured" and not method.graph:
        raise ValueError(f"{name} waits for the device in a step; use --engine eager or compiled")
    if wanted == "compiled" and method.twice:
        raise ValueError(f"{name} differentiates twice, which compiled networks cannot; use eager")
    if wanted == "compiled" and (lacks := lacking(device)):
        raise ValueError(f"{lacks}; install that or use --engine eager")
    return wanted


def lacking(device: torch.device) -> str:
    """Say what compiling for a device needs and this machine lacks; an empty text if nothing.

    On GPUs it is Triton that compiles, a module in C for each kernel, on CPUs torch, in C++.
    """
    kind, variable, names = (
        ("C", "CC", ("gcc", "clang")) if device.type == "cuda" else ("C++", "CXX", ("g++",))
    )
    names = (os.environ[variable],) if os.environ.get(variable) else names
    lacks = []
    if not any(map(shutil.which, names)):
        lacks.append(f"a {kind} compiler ({' or '.join(names)}; ${variable} names another)")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacks.append("Python's headers (Python.h, of the package python3-dev or python3-devel)")
    if device.type == "cuda" and find_spec("triton") is None:
        lacks.append("Triton (the package triton, which torch for GPUs brings along)")
    return f"compiling needs {' and '.join(lacks)}" if lacks else ""


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
