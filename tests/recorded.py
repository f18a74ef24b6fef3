"""A CUDA graph's stand-in on a CPU: what a step has the device do, without its Python."""

import dataclasses

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench import engine, trainer
from bench.traces import Traces


class Recorded:
    """In the place of ``bench.engine.Captured``: a step's operations, taken down and done again.

    Each is done on the addresses and with the numbers that it had when it was recorded, so that
    Python's own numbers stand still.
    """

    replays = 0  # of all recordings since ``record_steps``

    def __init__(self, step, example, stream):
        self.batch = engine._like(example)
        noise, tape = torch.get_rng_state(), _Tape()
        with tape:
            step(self.batch)
        torch.set_rng_state(noise)  # recording does nothing on the device
        for tensor, value in tape.before.values():
            tensor.copy_(value)
        self.operations = tape.operations

    @torch.no_grad()
    def __call__(self, batch):
        engine._copy(self.batch, batch)
        for operation, args, kwargs, results in self.operations:
            values = operation(*args, **kwargs)
            for to, value in zip(results, tree_leaves(values), strict=True):
                if isinstance(to, torch.Tensor) and to is not value:
                    to.copy_(value)
        Recorded.replays += 1


class _Tape(TorchDispatchMode):
    """Takes down operations, and the memory from outside that they read as it was before."""

    def __init__(self):
        super().__init__()
        self.operations, self.before, self.made = [], {}, {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._keep(tensor)
        values = operation(*args, **kwargs)
        results = tree_leaves(values)
        self.made |= {_memory(one): one for one in results if isinstance(one, torch.Tensor)}
        returned = [one.alias_info for one in operation._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in returned):  # no view
            self.operations.append((operation, args, kwargs, results))
        return values

    def _keep(self, tensor):
        key = _memory(tensor)
        if key not in self.before and key not in self.made:
            whole = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
            self.before[key] = whole, whole.clone()


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()  # of tensors that are held, so that none is reused


def record_steps(monkeypatch):
    """Have trainers with the engine "captured" record their steps on a CPU, uncompiled."""
    monkeypatch.setattr(trainer, "Captured", Recorded)
    monkeypatch.setattr(trainer, "lacking", lambda device: "compiling needs gcc")
    monkeypatch.setattr(Recorded, "replays", 0)


def brief(tiny, method):
    """A protocol in which a method's step is replayed five times, short batches between."""
    return dataclasses.replace(tiny.brief, epochs=4 * method.replays)


def replayed(tiny, method, monkeypatch, *, traces=Traces):
    """Train as written and replayed, which has to be the same to the bit; return both trainers."""
    protocol = brief(tiny, method)
    plain = tiny.trainer(method, protocol=protocol, engine="eager", traces=traces())
    curves = plain.fit().curves
    record_steps(monkeypatch)
    fast = tiny.trainer(method, protocol=protocol, engine="captured", traces=traces())
    others = fast.fit().curves
    assert Recorded.replays == 4 * 2 - trainer.WARM_UP  # two full batches an epoch
    same = torch.equal(tiny.weights(plain.net), tiny.weights(fast.net))
    assert same, "a step that is replayed, without its Python, ends in other weights"
    other = [
        name for name, tensor in plain.state.items() if not torch.equal(tensor, fast.state[name])
    ]
    assert not other, (
        f"a step that is replayed, without its Python, ends in other {', '.join(other)}"
    )
    assert curves == others, "a step that is replayed, without its Python, has other curves"
    assert fast.update == fast.updates
    return plain, fast
