"""The laws: what every file in methods/ must keep, whoever wrote it.

The laws are functions, so that the second half of this file can hand them methods with a seeded
fault and see each one caught.
"""

import dataclasses
import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.meter import Passes
from bench.method import Cost, Method, State
from bench.ops import ce, grad, project, uniform
from bench.runs import catalogue
from methods import load


class Capturable(TorchDispatchMode):
    """Refuses, on any device, what would wait for the host inside a captured step."""

    WAITS = frozenset(
        {
            "_local_scalar_dense",
            "nonzero",
            "masked_select",
            "_unique2",
            "equal",
            "_linalg_svd",
            "_linalg_eigh",
        }
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        hint = ": .item(), float() or `if` on a tensor" if name == "_local_scalar_dense" else ""
        assert name not in self.WAITS, f"{name} waits for the host{hint}"
        if name in ("index", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in args[1]), "shape depends on data"
        return func(*args, **(kwargs or {}))


def check_learns(tiny, method, channels=3, *, norm=True):
    trainer = tiny.trainer(method, channels=channels, net=tiny.net(channels, norm=norm))
    before = tiny.weights(trainer.net)
    curves = trainer.fit().curves  # checks reach, [0, 1] and finite losses on its way
    assert not torch.equal(before, tiny.weights(trainer.net)), "the weights did not move"
    assert len(curves) == trainer.epochs


def check_cost(tiny, method):
    trainer = tiny.trainer(method)
    with Passes(trainer.net) as passes:
        trainer.advance(1)
    seen = Cost(passes.forward / trainer.batches.batch, passes.backward / trainer.batches.batch)
    said = trainer.method.cost
    assert seen == said, f"declared {tuple(said)} forward, backward; counted {tuple(seen)}"


def check_capturable(tiny, method):
    trainer = tiny.trainer(method)
    trainer.advance(1)  # the optimiser makes its buffers
    with Capturable():
        trainer.advance(1)


def check_state_stays(tiny, method):
    trainer = tiny.trainer(method)
    places = {name: tensor.data_ptr() for name, tensor in trainer.state.items()}
    trainer.fit()
    assert {name: tensor.data_ptr() for name, tensor in trainer.state.items()} == places
    assert not any(tensor.requires_grad for tensor in trainer.state.values()), "state holds a graph"


def test_learns_on_colour_and_grey_images(tiny, name):
    check_learns(tiny, name, channels=3)
    check_learns(tiny, name, channels=1)


def test_learns_without_batchnorm(tiny, name):
    check_learns(tiny, name, norm=False)


def test_cost_is_counted(tiny, name):
    check_cost(tiny, name)


def test_step_never_waits_for_the_host(tiny, name):
    if load(name).graph:
        check_capturable(tiny, name)
    else:
        assert "graph" in load(name).__doc__, "say in the docstring why step cannot be captured"


def test_state_is_written_in_place(tiny, name):
    check_state_stays(tiny, name)


def test_same_seed_gives_same_bits(tiny, name):
    one, two = tiny.trainer(name), tiny.trainer(name)
    one.fit()
    torch.manual_seed(7)
    two.fit()
    assert torch.equal(tiny.weights(one.net), tiny.weights(two.net))


def test_attacks_leave_no_weight_gradients_but_descends(tiny, name):
    trainer = tiny.trainer(name)
    calls = []
    descend = trainer.descend

    def spy(loss, at, g=None, edit=None):
        calls.append([p.grad is None for p in trainer.net.parameters()])
        result = descend(loss, at, g, edit)
        trainer.net.zero_grad()
        return result

    batch = trainer.batches.take(0, 0, torch.zeros(()))
    trainer.images = batch.x
    trainer.method.step(trainer.net, batch, trainer.state, spy)
    assert calls and all(all(none) for none in calls)


def test_network_is_left_in_training_mode(tiny, name):
    trainer = tiny.trainer(name)
    trainer.advance(1)
    assert all(module.training for module in trainer.net.modules())


def test_is_frozen(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(name)().eps = 1.0


def test_docstring_says_source_shapes_cost_and_differences(name):
    doc = load(name).__doc__
    for word in ("Source:", "Shapes:", "Cost:", "Differs:"):
        assert re.search(rf"^ +{word} \S", doc, re.MULTILINE), f"no line {word}"


def test_settings_are_readable_without_torch(name):
    fields = {field.name: field.default for field in dataclasses.fields(load(name))}
    del fields["eps"]
    assert catalogue.default_settings(name) == fields
    assert catalogue.presets(name) == load(name).presets


# The same laws on methods with one fault each.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound(Method):
    cost = Cost(forward=2, backward=2)

    def init(self, run):
        return State(c=torch.ones((), device=run.device))

    def attack(self, net, batch):
        g = grad(ce(net, batch.y), at=batch.x)
        return project(self.eps * g.sign(), batch.x, self.eps), g

    def step(self, net, batch, state, descend):
        d, g = self.attack(net, batch)
        descend(ce(net, batch.y), at=batch.x + d, g=g)
        state.c.mul_(0.9)


class Waits(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state.c.fill_(state.c.item())


class Branches(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        if state.c > 0:
            state.c.mul_(0.5)


class Picks(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state.c.copy_(batch.x[batch.x > 0.5].mean())


class Decomposes(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state.c.copy_(torch.linalg.svdvals(batch.x[0, 0])[0])


class Rebinds(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state["c"] = state.c * 0.9


class KeepsGraph(Sound):
    def init(self, run):
        return State(c=torch.ones(()), d=torch.zeros(2))

    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state.d.requires_grad_()


class Underdeclares(Sound):
    cost = Cost(forward=1, backward=1)


class Oversteps(Sound):
    def attack(self, net, batch):
        d, g = super().attack(net, batch)
        return (batch.x + 3 * d).clamp(0, 1) - batch.x, g


class LeavesTheBox(Sound):
    def attack(self, net, batch):
        return uniform(batch.x, self.eps), None


class Forgets(Sound):
    def step(self, net, batch, state, descend):
        pass


class DescendsTwice(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        super().step(net, batch, state, descend)


def test_the_sound_method_keeps_all_laws(tiny):
    for law in (check_learns, check_cost, check_capturable, check_state_stays):
        law(tiny, Sound(eps=tiny.eps))


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        (check_capturable, Waits),
        (check_capturable, Branches),
        (check_capturable, Picks),
        (check_capturable, Decomposes),
        (check_state_stays, Rebinds),
        (check_state_stays, KeepsGraph),
        (check_cost, Underdeclares),
        (check_learns, Oversteps),
        (check_learns, LeavesTheBox),
        (check_learns, Forgets),
        (check_learns, DescendsTwice),
    ],
)
def test_laws_catch(tiny, law, fault):
    with pytest.raises((AssertionError, ValueError)):
        law(tiny, fault(eps=tiny.eps))


def test_state_refuses_to_be_rebound_by_attribute():
    state = State(c=torch.ones(()))
    with pytest.raises(TypeError, match="in place"):
        state.c = torch.zeros(())
