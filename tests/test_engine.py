"""As written, compiled and captured steps give the same weights; what cannot be is not tried."""

import dataclasses

import pytest
import torch

from bench import engine, trainer
from bench.engine import choose, compiler
from bench.method import Method
from bench.optimizer import optimizer
from methods import load, names

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TOLERANCE = 1e-5  # of weights after two epochs of three updates, lr up to 0.1
needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


class Waits(Method):
    graph = False
    cost = None

    def step(self, net, batch, state, descend):
        """Nothing."""


class Twice(Waits):
    graph = True
    twice = True


@pytest.mark.parametrize(
    ("method", "device", "there", "chosen"),
    [
        ("sora", CUDA, "g++", "captured"),
        ("sora", CUDA, None, "captured"),  # with the network as written
        ("sora", CPU, "g++", "eager"),
        (Waits, CUDA, "g++", "compiled"),
        (Waits, CUDA, None, "eager"),
        (Twice, CUDA, "g++", "captured"),
    ],
)
def test_the_fastest_possible_engine_is_chosen(monkeypatch, method, device, there, chosen):
    monkeypatch.setattr(engine, "compiler", lambda: there)
    kind = load(method) if isinstance(method, str) else method
    assert choose("auto", kind(), device) == chosen


@pytest.mark.parametrize(
    ("wanted", "method", "device", "said"),
    [
        ("captured", "sora", CPU, "on a GPU only; use --engine eager or compiled"),
        ("captured", Waits, CUDA, "Waits waits for the device"),
        ("compiled", Twice, CUDA, "Twice differentiates twice"),
    ],
)
def test_an_engine_that_cannot_be_is_refused_with_what_can(wanted, method, device, said):
    kind = load(method) if isinstance(method, str) else method
    with pytest.raises(ValueError, match=said):
        choose(wanted, kind(), device)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "compiler", lambda: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler"):
        choose("compiled", load("sora")(), CPU)


def ended(tiny, name, kind, **rest):
    one = tiny.trainer(name, engine=kind, **rest)
    outcome = one.fit()
    return tiny.weights(one.net), outcome.curves


def same(tiny, name, kind):
    plain, curves = ended(tiny, name, "eager")
    fast, others = ended(tiny, name, kind)
    assert (plain - fast).abs().max() < TOLERANCE
    for a, b in zip(curves, others, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-4)
        assert a.state == pytest.approx(b.state, abs=1e-4)


@needs_compiler
def test_a_compiled_network_trains_to_the_same_weights(tiny):
    same(tiny, "sora", "compiled")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("which", [n for n in names() if not load(n).twice])
def test_every_method_trains_compiled_to_the_same_weights(tiny, which):
    same(tiny, which, "compiled")


@pytest.mark.gpu
@pytest.mark.parametrize("which", [n for n in names() if load(n).graph])
def test_every_method_trains_captured_to_the_same_weights(tiny, which):
    same(tiny, which, "captured")


class Replayed:
    """Stands in for a CUDA graph: the step on fixed inputs, without what Python does beside it."""

    steps = 0

    def __init__(self, step, example):
        self.step, self.batch = step, engine._like(example)
        # recording runs the step's Python and nothing on the device
        owner = self.owner
        held = [*owner.net.state_dict().values(), *owner.state.values(), owner.log, owner.counters]
        held += owner.optimizer.tensors.values()
        before, noise = [tensor.clone() for tensor in held], torch.get_rng_state()
        step(self.batch)
        for tensor, value in zip(held, before, strict=True):
            tensor.copy_(value)
        torch.set_rng_state(noise)

    def __call__(self, batch):
        engine._copy(self.batch, batch)
        owner = self.owner
        update, row, images = owner.update, owner.row, owner.images
        self.step(self.batch)
        owner.update, owner.row, owner.images = update, row, images  # Python sees no replay
        Replayed.steps += 1


@pytest.mark.parametrize("which", [n for n in names() if load(n).graph])
def test_a_step_on_fixed_inputs_is_the_step(tiny, which, monkeypatch):
    """All of capturing but the recording itself: copies, counters on the device, short batches."""
    long = dataclasses.replace(tiny.brief, epochs=4 * load(which)().replays)
    plain = tiny.trainer(which, protocol=long)
    curves = plain.fit().curves
    monkeypatch.setattr(trainer, "Captured", Replayed)
    monkeypatch.setattr(trainer, "compiler", lambda: None)
    captured = tiny.trainer(which, protocol=long, engine="captured")
    monkeypatch.setattr(Replayed, "owner", captured, raising=False)
    monkeypatch.setattr(Replayed, "steps", 0)
    others = captured.fit().curves
    assert Replayed.steps == 4 * 2 - trainer.WARM_UP  # two full batches an epoch
    assert torch.equal(tiny.weights(plain.net), tiny.weights(captured.net))
    assert curves == others
    assert captured.update == captured.updates


def test_short_batches_run_as_written(tiny, monkeypatch):
    """Their other size would be compiled anew."""
    sizes = []

    class Spy(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            sizes.append(len(x))
            return self.net(x)

    monkeypatch.setattr(trainer, "Compiled", Spy)
    monkeypatch.setattr(trainer, "compiler", lambda: "g++")
    ended(tiny, "fgsm", "compiled")
    assert set(sizes) == {8}
    assert len(sizes) == 2 * 2 * 2  # two passes of two full batches, twice


@needs_compiler
def test_a_compiled_network_spares_attacks_the_gradients_of_weights(tiny):
    from torch._dynamo.utils import counters

    from bench.ops import ce, grad

    net = tiny.net()
    fast = engine.Compiled(net)
    x, y = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    assert torch.allclose(grad(ce(fast, y), at=x), grad(ce(tiny.net(), y), at=x), atol=1e-6)
    assert not fast(x).requires_grad
    with engine.learning(fast):
        ce(fast, y)(x).backward()
    assert all(weight.grad is not None for weight in net.parameters())
    assert not counters["graph_break"]


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_what_an_optimiser_remembers_is_written_in_place(tiny, kind):
    net = tiny.net()
    made = optimizer(dataclasses.replace(tiny.brief, optimizer=kind), net)
    places = {name: tensor.data_ptr() for name, tensor in made.tensors.items()}
    net(torch.rand(4, 3, 8, 8)).sum().backward()
    made.step(torch.tensor(0.1), torch.tensor(0.9))
    assert {name: tensor.data_ptr() for name, tensor in made.tensors.items()} == places
    assert any(tensor.any() for tensor in made.tensors.values())
