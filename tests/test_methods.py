"""The laws: what every file in methods/ must keep, whoever wrote it.

The laws are functions, so that the second half of this file can hand them methods with a seeded
fault and see each one caught. `make check-method` prints a broken law as the claim in its name, the
first line of its assertion, and its docstring, which says what to do.
"""

import dataclasses
import gc
import random
import re
from typing import ClassVar, get_args

import pytest
import torch
from limits import check_cost
from made_up_methods import SOUND, Learns, Perturbs, Remembers, Sound
from recorded import replayed
from torch.utils._python_dispatch import TorchDispatchMode

from bench.method import Cost, State
from bench.ops import ce, grad, move, project, uniform
from bench.runs import catalogue
from bench.threat import Norm
from bench.trainer import Descent
from bench.view import Augment
from methods import load
from report.sources import entries

NORMS = get_args(Norm)
RADIUS = {"Linf": 8 / 255, "L2": 0.5}


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
    check_fit(tiny, tiny.trainer(method, channels=channels, net=tiny.net(channels, norm=norm)))


def check_fit(tiny, trainer):
    before = tiny.weights(trainer.net)
    curves = trainer.fit().curves  # checks reach, [0, 1] and finite losses on its way
    assert not torch.equal(before, tiny.weights(trainer.net)), "the weights did not move"
    assert len(curves) == trainer.epochs


def check_without_canvas(tiny, method):
    try:
        trainer = tiny.trainer(method, augment=Augment(resized=True))
    except ValueError:  # its refusal
        return
    check_fit(tiny, trainer)


def check_capturable(tiny, method):
    trainer = tiny.trainer(method, engine="eager")
    trainer.advance(1)  # the optimiser makes its buffers
    with Capturable():
        trainer.advance(1)


def check_state_stays(tiny, method):
    trainer = tiny.trainer(method)
    made = dict(trainer.state)  # held, so that no new tensor gets the address of an old one
    places = {name: tensor.data_ptr() for name, tensor in made.items()}
    trainer.fit()
    moved = sorted(k for k, v in trainer.state.items() if v.data_ptr() != places.get(k))
    assert not moved, f"state {', '.join(moved)} was replaced"
    assert trainer.state.keys() == made.keys(), "state was removed"
    assert not any(tensor.requires_grad for tensor in trainer.state.values()), "state holds a graph"


def check_same_bits(tiny, method):
    one, two = tiny.trainer(method), tiny.trainer(method)
    one.fit()
    torch.manual_seed(7)
    two.fit()
    same = torch.equal(tiny.weights(one.net), tiny.weights(two.net))
    assert same, "two trainings from one seed end in different weights"


def check_device(tiny, method):
    # meta tensors have no memory, and like a GPU's they do not mix with the CPU's
    trainer = tiny.trainer(method, device=torch.device("meta"))
    elsewhere = sorted(k for k, tensor in trainer.state.items() if tensor.device.type != "meta")
    assert not elsewhere, f"init makes {', '.join(elsewhere)} on another device"
    if trainer.method.graph:  # what waits for the host has to read a number
        trainer.optimizer.step = lambda lr, momentum: None  # torch has no such kernel
        trainer.advance(1)


def check_no_history(tiny, method):
    trainer = tiny.trainer(method)
    trainer.advance(1)
    known = {id(tensor) for tensor in histories()}
    gc.disable()  # a cycle that it would end is alive while a step is captured
    try:
        trainer.advance(1)
        left = [tensor for tensor in histories() if id(tensor) not in known]
    finally:
        gc.enable()
    found = ", ".join(
        sorted(f"{tuple(tensor.shape)} by {tensor.grad_fn.name()}" for tensor in left)
    )
    assert not left, f"tensors with a history outlive the step: {found}"


def histories():
    """Every tensor in this process that holds on to what it was computed from."""
    everything = (one for one in gc.get_objects() if issubclass(type(one), torch.Tensor))
    return [tensor for tensor in everything if tensor.grad_fn is not None]


def check_smoothed(tiny, method):
    smoothing = {"smoothing": 0.4, "smoothing_form": "noisy"}
    protocol = dataclasses.replace(tiny.brief, **smoothing)
    check_fit(tiny, tiny.trainer(method, protocol=protocol))


def check_mode(tiny, method):
    trainer = tiny.trainer(method)
    trainer.advance(1)
    assert all(module.training for module in trainer.net.modules()), "BatchNorm was left frozen"


def check_weights_come_back(tiny, method):
    trainer = tiny.trainer(method)
    trainer.advance(1)  # the optimiser has a velocity
    trainer.rates.zero_()
    before = tiny.weights(trainer.net)
    trainer.advance(1)
    far = (tiny.weights(trainer.net) - before).abs().max().item()
    if not trainer.method.moves:  # that weights are numbers is another law
        assert not far > 1e-6, f"with a rate of 0 a step leaves weights {far} from where they were"


def test_learns_on_colour_and_grey_images(tiny, name):
    check_learns(tiny, name, channels=3)
    check_learns(tiny, name, channels=1)


def test_learns_without_batchnorm(tiny, name):
    check_learns(tiny, name, norm=False)


def test_keeps_its_word_in_every_other_norm_that_it_names(tiny, name):
    """Write the attack in the words of self.threat, or leave norms out."""
    for norm in {*load(name).norms} - {"Linf"}:  # of which all other laws are
        method = load(name)(norm=norm, eps=RADIUS[norm])
        check_learns(tiny, method)
        if method.graph:
            check_capturable(tiny, method)
            check_device(tiny, method)


def test_without_a_canvas_it_trains_or_refuses_in_init(tiny, name):
    """Resized crops (ImageNet-100) have none: raise ValueError in init if run.canvas is None."""
    check_without_canvas(tiny, name)


def test_learns_from_smoothed_labels(tiny, name):
    """A protocol may give batch.y as (B, classes): read classes by labels(y) of bench.ops."""
    if not load(name).smooths:
        check_smoothed(tiny, name)


def test_cost_is_counted(tiny, name):
    """Write in cost how many images a step sends forward and backward, by image of the batch."""
    check_cost(tiny, name)


def test_step_never_waits_for_the_host(tiny, name):
    """Keep numbers in tensors, choose by torch.where; else declare graph = False and say why."""
    if load(name).graph:
        check_capturable(tiny, name)
    else:
        assert "graph" in load(name).__doc__, "graph = False, and the docstring says nothing of it"


def test_a_step_that_is_replayed_is_the_step(tiny, name, monkeypatch):
    """Keep what changes from step to step in state: a captured step runs without its Python."""
    for norm in load(name).norms if load(name).graph else ():
        replayed(tiny, load(name)(norm=norm, eps=RADIUS[norm]), monkeypatch)


def test_state_is_written_in_place(tiny, name):
    """Write state.c.copy_(...), of tensors without a gradient: a captured step has its address."""
    check_state_stays(tiny, name)


def test_all_tensors_are_on_the_device_of_the_run(tiny, name):
    """Make and draw tensors with device=run.device in init, and device=batch.x.device in step."""
    check_device(tiny, name)


def test_same_seed_gives_same_bits(tiny, name):
    """Draw by torch's functions alone, as uniform of bench.ops; the run has seeded them."""
    check_same_bits(tiny, name)


def test_attacks_leave_no_weight_gradients_but_descends(tiny, name):
    """Attack by grad of bench.ops, and call descend to train: no backward() of your own."""
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
    trainer.method.step(trainer.net, batch, trainer.state, Descent(spy, trainer.ahead))
    assert calls, "step does not call descend"
    assert all(all(none) for none in calls), "weights had gradients before descend"


def test_no_tensor_with_a_history_outlives_a_step(tiny, name):
    """Keep .detach() of what you keep: a gradient's memory of its stream would end a capture."""
    check_no_history(tiny, name)


def test_network_is_left_in_training_mode(tiny, name):
    """Freeze BatchNorm by `with eval_mode(net):` of bench.ops, which thaws it."""
    check_mode(tiny, name)


def test_only_the_update_moves_the_weights(tiny, name):
    """Move them by `with moved(net, v):` of bench.ops, which moves them back; else say moves."""
    check_weights_come_back(tiny, name)


def test_is_frozen(name):
    """Write @dataclass(frozen=True, kw_only=True) above the class."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(name)().eps = 1.0


def test_docstring_says_source_shapes_cost_and_differences(name):
    """CONTRIBUTING.md shows a docstring with all of them."""
    words = ("Source", "Shapes", "Cost", "Differs")
    missing = [f"{word}:" for word in words if not catalogue.described(name, word)]
    assert not missing, f"the class's docstring has no line {', '.join(missing)}"


def test_first_line_begins_with_the_name(name):
    """Write the file's first line as NAME: what it does; the page calls the method by that NAME."""
    assert catalogue.title(name), f"the first line of methods/{name}.py names nothing"


def test_family_is_a_known_one(name):
    """Write a line Family: into the docstring; the page filters by it."""
    family = catalogue.described(name, "Family")
    assert family in catalogue.FAMILIES, (
        f"Family: {family or 'is missing'}; choose from {', '.join(catalogue.FAMILIES)}"
    )


def test_cited_paper_is_in_the_bibliography_and_is_the_source(name):
    """Write a line Cite: with a key of report/references.bib, where a new paper needs an entry."""
    key, source = catalogue.described(name, "Cite"), catalogue.described(name, "Source")
    if key == "none":
        assert not re.search(r"arXiv:\d", source), "Source: names a paper, and Cite: none"
        return
    assert key in entries(), (
        f"Cite: {key or 'is missing'}; no such entry is in report/references.bib"
    )
    facts = re.findall(
        r"(?:year = {|eprint = {|OpenReview |\()(\w[\w.]*)(?=\)?}|\n)", entries()[key]
    )
    missing = [fact for fact in facts if fact not in source]
    assert not missing, f"the entry {key} says {', '.join(missing)}, and Source: does not"


def test_settings_are_readable_without_torch(name):
    """Give each hyperparameter a type and a plain value: alpha: float = 1.25."""
    fields = {field.name: field.default for field in dataclasses.fields(load(name))}
    del fields["eps"], fields["norm"]
    read = catalogue.default_settings(name)
    assert read == fields, f"read off the file: {read}; the class has {fields}"
    assert catalogue.presets(name) == load(name).presets
    assert catalogue.norms(name) == load(name).norms
    assert set(load(name).norms) <= set(NORMS), f"norms are {', '.join(NORMS)}"
    for word in ("smooths", "averages"):
        assert catalogue.declares(name, word) == getattr(load(name), word), (
            f"write {word}: ClassVar[bool] = True"
        )
    assert {*catalogue.added_settings(name)} == {*load(name).added}


# The same laws on methods with one fault each.


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


class NeedsCanvas(Sound):
    def init(self, run):
        return State(d=torch.zeros(run.canvas, device=run.device))


class GoesBack(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        batch.view.inverse(batch.x, batch.x)


class Refuses(Sound):
    def init(self, run):
        if run.canvas is None:
            raise ValueError("there is no canvas")
        return super().init(run)


class StaysOnTheHost(Sound):
    graph = False

    def init(self, run):
        return State(c=torch.ones(()), d=torch.zeros(2))


class DrawsOnTheHost(Sound):
    def step(self, net, batch, state, descend):
        noise = self.eps * torch.rand(batch.x.shape)
        descend(ce(net, batch.y), at=batch.x + project(noise, batch.x, self.eps))


class DrawsByPython(Sound):
    def step(self, net, batch, state, descend):
        noise = torch.full_like(batch.x, self.eps * random.random())
        descend(ce(net, batch.y), at=batch.x + project(noise, batch.x, self.eps))


class KeepsHistory(Sound):
    kept: ClassVar[list] = []

    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        self.kept.append(net(batch.x.clone().requires_grad_()))


class KeepsACycle(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        cycle = [net(batch.x.clone().requires_grad_())]
        cycle.append(cycle)


class StaysMoved(Perturbs):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        move(net, [0.01 * w.detach() for w in net.parameters()])


class ForgetsAdam(Learns):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state["w.mean"] = torch.zeros_like(state.w)


class GathersLabels(Sound):
    def step(self, net, batch, state, descend):
        def loss(z):
            return -net(z).log_softmax(1).gather(1, batch.y[:, None]).mean()

        descend(loss, at=batch.x)


class Counts(Sound):
    steps: ClassVar[list] = []

    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        self.steps.append(1)
        state.c.mul_(1 / len(self.steps))


class KeepsANumber(Sound):
    last: ClassVar[list] = [1.0]

    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state.c.mul_(self.last[0])
        self.last[0] *= 0.5


class Reallocates(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        state["c"] = 0.5 * state.c


class KeepsTheBatch(Sound):
    kept: ClassVar[list] = []

    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        self.kept.append(batch.x)
        state.c.add_(self.kept[-2 if len(self.kept) > 1 else -1].mean())


class Freezes(Sound):
    def step(self, net, batch, state, descend):
        super().step(net, batch, state, descend)
        net.eval()


class Underdeclares(Sound):
    cost = Cost(forward=1, backward=1)


class Oversteps(Sound):
    def attack(self, net, batch):
        d, g = super().attack(net, batch)
        return (batch.x + 3 * d).clamp(0, 1) - batch.x, g


class NamesANormItDoesNotKnow(Sound):
    norms = ("Linf", "L2")

    def step(self, net, batch, state, descend):
        # a step of FGSM in Linf, sqrt(d) too long in L2
        g = grad(ce(net, batch.y), at=batch.x)
        descend(ce(net, batch.y), at=batch.x + project(self.eps * g.sign(), batch.x, self.eps), g=g)


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


LAWS = (
    check_learns,
    check_without_canvas,
    check_smoothed,
    check_cost,
    check_capturable,
    check_state_stays,
    check_same_bits,
    check_device,
    check_no_history,
    check_mode,
    check_weights_come_back,
)


@pytest.mark.parametrize("sound", SOUND)
def test_sound_methods_keep_all_laws(tiny, sound):
    for law in LAWS:
        law(tiny, sound(eps=tiny.eps))


def test_images_are_remembered_without_a_canvas(tiny):
    trainer = tiny.trainer(Remembers(eps=tiny.eps), augment=Augment(resized=True))
    trainer.fit()
    assert trainer.state.d.flatten(1).any(1).all()


def test_a_method_may_refuse_to_train_without_a_canvas(tiny):
    check_without_canvas(tiny, Refuses(eps=tiny.eps))


@pytest.mark.parametrize(
    ("law", "fault"),
    [
        (check_capturable, Waits),
        (check_capturable, Branches),
        (check_capturable, Picks),
        (check_capturable, Decomposes),
        (check_state_stays, Rebinds),
        (check_state_stays, KeepsGraph),
        (check_without_canvas, NeedsCanvas),
        (check_without_canvas, GoesBack),
        (check_smoothed, GathersLabels),
        (check_device, StaysOnTheHost),
        (check_device, DrawsOnTheHost),
        (check_same_bits, DrawsByPython),
        (check_no_history, KeepsHistory),
        (check_no_history, KeepsACycle),
        (check_weights_come_back, StaysMoved),
        (check_state_stays, ForgetsAdam),
        (check_mode, Freezes),
        (check_cost, Underdeclares),
        (check_learns, Oversteps),
        (check_learns, LeavesTheBox),
        (check_learns, Forgets),
        (check_learns, DescendsTwice),
    ],
)
def test_laws_catch(tiny, law, fault):
    with pytest.raises((AssertionError, ValueError, TypeError, RuntimeError)):
        law(tiny, fault(eps=tiny.eps))


def test_a_step_of_another_norm_is_caught_by_its_reach(tiny):
    check_learns(tiny, NamesANormItDoesNotKnow(eps=tiny.eps))
    with pytest.raises(ValueError, match="declares reach"):
        check_learns(tiny, NamesANormItDoesNotKnow(eps=tiny.eps, norm="L2"))


@pytest.mark.parametrize("fault", [Counts, KeepsANumber, Reallocates, KeepsTheBatch])
def test_a_replayed_step_shows_what_python_does_beside_it(tiny, fault, monkeypatch):
    with pytest.raises(AssertionError, match=r"replayed, without its Python, .* other"):
        replayed(tiny, fault(eps=tiny.eps), monkeypatch)


def test_state_refuses_to_be_rebound_by_attribute():
    state = State(c=torch.ones(()))
    with pytest.raises(TypeError, match="in place"):
        state.c = torch.zeros(())
