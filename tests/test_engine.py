"""As written, compiled and captured steps give the same weights; what cannot be is not tried."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from made_up_methods import SOUND
from recorded import Recorded, brief, record_steps, replayed

from bench import engine, trainer
from bench.engine import choose, lacking
from bench.method import Method
from bench.models import allow
from bench.ops import all_grads, ce, featured, grad, learning, weight_grads
from bench.optimizer import optimizer
from bench.traces import Interval, Traces, Watch
from methods import load, names

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TOLERANCE = 1e-5  # of weights after two epochs of three updates, lr up to 0.1
needs_compiler = pytest.mark.skipif(bool(lacking(CPU)), reason=lacking(CPU))


class Waits(Method):
    graph = False
    cost = None

    def step(self, net, batch, state, descend):
        """Nothing."""


class Twice(Waits):
    graph = True
    twice = True


@pytest.mark.parametrize(
    ("method", "device", "lacks", "chosen"),
    [
        ("sora", CUDA, "", "captured"),
        ("sora", CUDA, "gcc", "captured"),  # with the network as written
        ("sora", CPU, "", "eager"),
        (Waits, CUDA, "", "compiled"),
        (Waits, CUDA, "gcc", "eager"),
        (Twice, CUDA, "", "captured"),
    ],
)
def test_the_fastest_possible_engine_is_chosen(monkeypatch, method, device, lacks, chosen):
    monkeypatch.setattr(engine, "lacking", lambda device: lacks)
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
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = r"needs a C\+\+ compiler \(no-such-compiler; \$CXX names another\); install that or use"
    with pytest.raises(ValueError, match=said):
        choose("compiled", load("sora")(), CPU)


def test_what_triton_needs_is_asked_for_before_it_is_missed(monkeypatch, tmp_path):
    monkeypatch.setattr(engine.shutil, "which", lambda name: None if "++" in name else "there")
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(engine.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "compiler" not in lacking(CUDA)  # it compiles C
    assert "Python.h" in lacking(CUDA)
    assert "Triton" in lacking(CUDA)
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(engine, "find_spec", lambda name: name)
    assert lacking(CUDA) == ""
    assert lacking(CPU) == "compiling needs a C++ compiler (g++; $CXX names another)"


def test_a_network_that_cannot_be_compiled_says_why_it_runs_as_written(tiny, monkeypatch):
    monkeypatch.setattr(trainer, "lacking", lambda device: "compiling needs gcc")
    said = []
    one = tiny.trainer("sora", engine="captured", say=said.append)
    assert one.fast is one.net
    assert said == ["the network runs as written: compiling needs gcc"]


def test_a_step_is_warmed_up_on_the_stream_that_captures_it(tiny, monkeypatch):
    """Every method's gradients remember the stream they were first computed on."""
    events = []

    class Side:
        device = CPU

        def wait_stream(self, other):
            events.append("in")

    class Now:
        def wait_stream(self, other):
            events.append("out")

    class Recording:
        def __init__(self, step, example, stream):
            events.append(("capture", stream))

        def __call__(self, batch):
            events.append("replay")

    side = Side()
    monkeypatch.setattr(trainer, "Captured", Recording)
    monkeypatch.setattr(trainer, "lacking", lambda device: "compiling needs gcc")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Now())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(events.append("on")))
    one = tiny.trainer("sora", engine="captured")
    one.stream = side
    one.advance(trainer.WARM_UP + 1)
    assert events == ["in", "on", "out"] * trainer.WARM_UP + [("capture", side), "replay"]


def ended(tiny, name, kind, **rest):
    one = tiny.trainer(name, engine=kind, **rest)
    outcome = one.fit()
    return tiny.weights(one.net), outcome.curves


def same(tiny, name, kind, tolerance=TOLERANCE, **rest):
    plain, curves = ended(tiny, name, "eager", **rest)
    fast, others = ended(tiny, name, kind, **rest)
    assert (plain - fast).abs().max() < tolerance
    for a, b in zip(curves, others, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-4)
        assert a.state == pytest.approx(b.state, abs=1e-4)


@needs_compiler
def test_a_compiled_network_trains_to_the_same_weights(tiny):
    same(tiny, "sora", "compiled")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("which", [n for n in names() if not load(n)().twice])
def test_every_method_trains_compiled_to_the_same_weights(tiny, which):
    same(tiny, which, "compiled")


@pytest.fixture
def gpu():
    """The GPU, with kernels that repeat to the bit and no TF32."""
    if not torch.cuda.is_available():
        pytest.fail("torch finds no GPU, and this test is of one")
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    allow("fp32")
    yield CUDA
    torch.backends.cudnn.deterministic = before


@pytest.mark.gpu
@pytest.mark.parametrize("which", [n for n in names() if load(n).graph])
def test_every_method_trains_captured_to_the_same_weights(tiny, which, gpu, monkeypatch):
    monkeypatch.setattr(
        trainer, "lacking", lambda device: "compiling needs gcc"
    )  # the recording alone
    replays = count_replays(monkeypatch)
    same(tiny, which, "captured", device=gpu, protocol=brief(tiny, load(which)))
    assert len(replays) == 4 * 2 - trainer.WARM_UP


@pytest.mark.gpu
@pytest.mark.parametrize("sound", SOUND)
def test_every_word_of_the_contract_can_be_captured(tiny, sound, gpu, monkeypatch):
    monkeypatch.setattr(trainer, "lacking", lambda device: "compiling needs gcc")
    method = sound(eps=tiny.eps)
    same(tiny, method, "captured", device=gpu, protocol=brief(tiny, method))


@pytest.mark.gpu
def test_diagnostics_change_no_bit_of_a_captured_run(tiny, gpu):
    given = {"device": gpu, "protocol": brief(tiny, load("sora"))}
    plain, curves = ended(tiny, "sora", "captured", **given)
    watch = Watch(
        [Interval(4)], lambda net, update: {"sum": torch.rand(9, device=gpu).sum().item()}
    )
    watched, others = ended(tiny, "sora", "captured", traces=Traces([watch]), **given)
    assert torch.equal(plain, watched)
    assert curves == others


@pytest.mark.gpu
@needs_compiler
@pytest.mark.parametrize("kind", ["compiled", "captured"])
@pytest.mark.parametrize("which", ["sora", "trades", "free_at"])
def test_compiling_and_capturing_together_change_no_more_than_rounding(tiny, which, kind, gpu):
    # a gradient near 0 may change its sign, and moves one pixel of one image with it
    same(tiny, which, kind, 1e-3, device=gpu, protocol=brief(tiny, load(which)))


@pytest.mark.gpu
def test_a_captured_run_goes_on_as_if_it_had_not_been_cut_off(tiny, gpu, tmp_path):
    kept = {"device": gpu, "protocol": brief(tiny, load("sora")), "engine": "captured"}
    whole, curves = ended(tiny, "sora", "captured", device=gpu, protocol=kept["protocol"])
    first = tiny.trainer("sora", folder=tmp_path, interval=0, **kept)
    take, taken = first._step, []

    def cut(epoch, i):
        if len(taken) == 9:
            raise KeyboardInterrupt
        taken.append(i)
        take(epoch, i)

    first._step = cut
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = tiny.trainer("sora", folder=tmp_path, interval=0, **kept)
    second.resume()
    assert second.update == 9
    others = second.fit().curves
    assert (whole - tiny.weights(second.net)).abs().max() < 1e-3
    assert others[-1].loss == pytest.approx(curves[-1].loss, abs=1e-3)


def count_replays(monkeypatch):
    """A list that grows with every replay of a recorded step."""
    replays, replay = [], engine.Captured.__call__

    def counted(self, batch):
        replays.append(1)
        replay(self, batch)

    monkeypatch.setattr(engine.Captured, "__call__", counted)
    return replays


@pytest.mark.parametrize("sound", SOUND)
def test_every_word_of_the_contract_works_on_fixed_inputs(tiny, sound, monkeypatch):
    replayed(tiny, sound(eps=tiny.eps), monkeypatch)


def test_diagnostics_change_no_bit_of_a_step_on_fixed_inputs(tiny, monkeypatch):
    def traces():
        return Traces([Watch([Interval(4)], lambda net, update: {"sum": torch.rand(1).item()})])

    plain, fast = replayed(tiny, load("sora")(eps=tiny.eps), monkeypatch, traces=traces)
    assert plain.traces.tensors.keys() == fast.traces.tensors.keys()
    for name, rows in plain.traces.tensors.items():
        assert torch.equal(rows.nan_to_num(9), fast.traces.tensors[name].nan_to_num(9))


def test_a_step_may_be_recorded_at_the_end_of_an_epoch(tiny, monkeypatch):
    """With three full batches and no short one, the warm-up ends with the first epoch."""
    record_steps(monkeypatch)
    plain, curves = ended(tiny, "sora", "eager", images=24)
    fast, others = ended(tiny, "sora", "captured", images=24)
    assert curves == others
    assert torch.equal(plain, fast)
    assert Recorded.replays == 3


def test_networks_beyond_torchs_own_limit_are_compiled(monkeypatch):
    """A campaign compiles for many methods and precisions in one process."""
    from torch._dynamo import config

    monkeypatch.setattr(engine.torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(config, "recompile_limit", 8)
    engine.Compiled(torch.nn.Linear(2, 2))
    assert config.recompile_limit == engine.VARIANTS


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
    monkeypatch.setattr(trainer, "lacking", lambda device: "")
    ended(tiny, "fgsm", "compiled")
    assert set(sizes) == {8}
    assert len(sizes) == 2 * 2 * 2  # two passes of two full batches, twice


@needs_compiler
def test_a_compiled_network_spares_attacks_the_gradients_of_weights(tiny):
    from torch._dynamo.utils import counters

    net = tiny.net()
    fast = engine.Compiled(net)
    x, y = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    assert torch.allclose(grad(ce(fast, y), at=x), grad(ce(tiny.net(), y), at=x), atol=1e-6)
    assert not fast(x).requires_grad
    with learning(fast):
        ce(fast, y)(x).backward()
    assert all(weight.grad is not None for weight in net.parameters())
    assert not counters["graph_break"]


@needs_compiler
def test_weight_grads_are_there_under_a_compiled_network_too(tiny):
    """Whose weights are constants to whoever does not say that they are to move."""
    net = tiny.net()
    fast = engine.Compiled(net)
    x, y = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(ce(fast, y)(x), [*fast.parameters()])
    pairs = zip(weight_grads(fast, ce(fast, y), x), weight_grads(net, ce(net, y), x), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert all(weight.grad is None for weight in net.parameters())
    assert not fast.learning


@needs_compiler
def test_features_and_both_gradients_are_there_under_a_compiled_network_too(tiny):
    net = tiny.net()
    fast = engine.Compiled(net)
    x, y = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    pairs = zip(featured(fast, x), featured(net, x), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    found = zip(all_grads(fast, ce(fast, y), x), all_grads(net, ce(net, y), x), strict=True)
    (g, h), (one, two) = found
    assert torch.allclose(g, h, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one, two, strict=True))
    with learning(fast):
        logits, features = featured(fast, x)
        (logits.sum() + features.sum()).backward()
    assert all(weight.grad is not None for weight in net.parameters())


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_what_an_optimiser_remembers_is_written_in_place(tiny, kind):
    net = tiny.net()
    made = optimizer(dataclasses.replace(tiny.brief, optimizer=kind), net)
    places = {name: tensor.data_ptr() for name, tensor in made.tensors.items()}
    net(torch.rand(4, 3, 8, 8)).sum().backward()
    made.step(torch.tensor(0.1), torch.tensor(0.9))
    assert {name: tensor.data_ptr() for name, tensor in made.tensors.items()} == places
    assert any(tensor.any() for tensor in made.tensors.values())
