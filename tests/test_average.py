"""The running average: its closed forms, its place in a step, kills, and methods that steer it."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from killed import kill
from safetensors.torch import load_file

from bench import meter
from bench.average import Average
from bench.method import Cost, Method, State
from bench.ops import ce
from bench.selection import Selection


def averaged(tiny, method="fgsm_rs", **changes):
    return tiny.trainer(
        method, protocol=dataclasses.replace(tiny.brief, **({"ema": 0.9} | changes))
    )


def states(trainer):
    """Copies of the network's state after every step, while the trainer trains."""
    seen, take = [], trainer._take

    def spy(*args):
        take(*args)
        seen.append({k: v.clone() for k, v in trainer.net.state_dict().items()})

    trainer._take = spy
    trainer.fit()
    return seen


def test_tau_0_keeps_the_weights_of_now_and_tau_1_those_of_the_first_update(tiny):
    net, other = tiny.net(), tiny.net(seed=1).state_dict()
    average, before = Average(net), {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(other)
    average.take(torch.tensor(1.0))
    floats = [k for k, v in before.items() if v.is_floating_point()]
    assert all(torch.equal(average.tensors[k], before[k]) for k in floats)
    average.take(torch.tensor(0.0))
    assert all(torch.equal(average.tensors[k], v) for k, v in net.state_dict().items())


def test_an_average_of_tau_1_is_the_weights_after_the_first_update(tiny):
    trainer = averaged(tiny, ema=1.0)
    first = states(trainer)[0]
    assert all(
        torch.equal(trainer.average.tensors[k], v)
        for k, v in first.items()
        if v.is_floating_point()
    )


@pytest.mark.parametrize("warmup", [False, True])
def test_weights_and_statistics_are_averaged_after_every_update(tiny, warmup):
    trainer = averaged(tiny, ema_warmup=warmup)
    seen = states(trainer)
    assert len(seen) == trainer.updates == 6
    for name, found in trainer.average.tensors.items():
        mean = seen[0][name].double()
        for k, state in enumerate(seen[1:], start=1):
            tau = min(0.9, (k + 1) / (k + 10)) if warmup else 0.9
            mean = tau * mean + (1 - tau) * state[name]
        if not found.is_floating_point():
            mean = seen[-1][name]
        assert torch.allclose(found.double(), mean.double(), atol=1e-6), name
    assert any("running_mean" in name for name in trainer.average.tensors)
    assert torch.equal(trainer.average.tensors["std"], trainer.net.state_dict()["std"])


def test_every_replay_is_an_update_of_the_average(tiny):
    taken = []
    trainer = averaged(tiny, "free_at")
    take = trainer.average.take
    trainer.average.take = lambda tau: taken.append(tau.item()) or take(tau)
    trainer.fit()
    assert taken == pytest.approx([0.0] + [0.9] * (trainer.updates - 1))


def test_an_average_changes_nothing_of_the_run(tiny):
    plain, beside = tiny.trainer("sora"), averaged(tiny, "sora")
    torch.manual_seed(7)
    plain.fit()
    torch.manual_seed(7)
    beside.fit()
    assert torch.equal(tiny.weights(plain.net), tiny.weights(beside.net))
    assert plain.average is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moves(Method):
    """Takes its update where the weights have been moved, and moves them back."""

    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        weights = [*net.parameters()]
        with torch.no_grad():
            torch._foreach_add_(weights, 1.0)
        descend(ce(net, batch.y), at=batch.x)
        with torch.no_grad():
            torch._foreach_sub_(weights, 1.0)


def test_weights_that_a_step_moves_are_averaged_where_they_belong(tiny):
    trainer = averaged(tiny, Moves(eps=tiny.eps), ema=1.0)
    first = states(trainer)[0]
    name = next(name for name, _ in trainer.net.named_parameters())
    assert torch.equal(trainer.average.tensors[name], first[name])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steers(Method):
    """Averages every second update with tau 1/2, and keeps the average at the others."""

    averages: ClassVar[bool] = True
    cost = Cost(forward=1, backward=1)

    def init(self, run):
        return State(tau=torch.full((), 1.0, device=run.device))

    def step(self, net, batch, state, descend):
        state.tau.copy_(1.5 - state.tau)
        descend(ce(net, batch.y), at=batch.x)


def test_a_method_may_say_how_far_each_update_is_averaged(tiny):
    trainer = tiny.trainer(Steers(eps=tiny.eps))
    seen = [state["body.7.weight"].double() for state in states(trainer)]
    mean = seen[0]
    for k, state in enumerate(seen[1:], start=1):
        mean = mean if k % 2 else (mean + state) / 2
    assert torch.allclose(trainer.average.tensors["body.7.weight"].double(), mean, atol=1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForgetsTau(Steers):
    def init(self, run):
        return State(tau=torch.ones(1))


def test_a_method_that_averages_without_its_tau_is_refused(tiny):
    with pytest.raises(ValueError, match="ForgetsTau declares averages = True, and its init makes"):
        tiny.trainer(ForgetsTau(eps=tiny.eps))


def chosen(tiny, place, *, every, scores=(50.0,) * 6, **rest):
    """A trainer whose weights are averaged and chosen; the scores are given, one a network."""
    scores = iter(scores)
    protocol = dataclasses.replace(tiny.brief, ema=0.9, smoothing=0.4, smoothing_form="noisy")
    selection = Selection(lambda net: next(scores), place / "best.safetensors", every=every)
    return tiny.trainer("fgsm_rs", protocol=protocol, selection=selection, **rest)


def test_the_better_of_the_network_and_its_average_is_kept(tiny, tmp_path):
    trainer = chosen(tiny, tmp_path, every=None, scores=[30.0, 30.0, 20.0, 40.0])
    curves = trainer.fit().curves
    assert [(e.validation, e.validation_average) for e in curves] == [(30.0, 30.0), (20.0, 40.0)]
    best = trainer.selection.best
    assert (best.score, best.epoch, best.update, best.network) == (40.0, 1, 6, "average")
    kept = tiny.net(seed=9)
    kept.load_state_dict(load_file(tmp_path / "best.safetensors"))
    assert torch.equal(tiny.weights(kept), tiny.weights(trainer.average.network()))


def test_a_rule_may_choose_between_updates_and_after_the_last(tiny, tmp_path):
    at = []
    trainer = chosen(tiny, tmp_path, every=4)
    choose = trainer.selection.choose
    trainer.selection.choose = lambda *a, **k: (
        at.append((k["epoch"], k["update"])) or choose(*a, **k)
    )
    trainer.fit()
    assert at == [(1, 4), (1, 6)]
    assert all(module.training for module in trainer.net.modules())


def test_the_time_of_a_choice_is_none_of_training(tiny, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])
    trainer = chosen(tiny, tmp_path, every=2)
    choose = trainer.selection.choose

    def slow(*args, **rest):
        now[0] += 10.0
        return choose(*args, **rest)

    trainer.selection.choose = slow
    outcome = trainer.fit()
    assert (outcome.probe_seconds, outcome.train_seconds) == (30.0, 0.0)


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_an_averaged_run_killed_in_any_batch_ends_bit_for_bit_the_same(tiny, tmp_path, batch):
    def real(net):
        x, y = tiny.data()
        logits = net.eval()(x.float() / 255)
        return 100 * torch.softmax(logits, 1)[torch.arange(len(y)), y].mean().item()

    def make(name, **rest):
        place = tmp_path / name
        place.mkdir(exist_ok=True)
        trainer = chosen(tiny, place, every=2, **rest)
        trainer.selection._score = real
        return trainer

    whole = make("a")
    curves = whole.fit().curves
    first = make("b", folder=tmp_path / "state", interval=0)
    kill(first, batch)
    second = make("b", folder=tmp_path / "state", interval=0)
    torch.manual_seed(99)
    second.resume()
    assert second.fit().curves == curves
    for name, tensor in whole.average.tensors.items():
        assert torch.equal(second.average.tensors[name], tensor), name
    assert second.selection.best == whole.selection.best
    written = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("a", "b")]
    assert written[0] == written[1]
