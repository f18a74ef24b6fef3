"""AutoAttack's attacks alone: on all images, as the library runs them, and none beats them all."""

import functools
from contextlib import contextmanager

import pytest
import torch
from conftest import tiny_data, tiny_net
from measured import frozen

import evaluation.autoattack as adapter
from bench.meter import Passes
from bench.threat import Threat
from evaluation import load
from evaluation.attack import Task
from evaluation.parts import fitting
from evaluation.progress import unpack

PARTS = {
    "apgd_ce": "apgd-ce", "apgd_dlr_targeted": "apgd-t", "fab_targeted": "fab-t",
    "square": "square",
}  # fmt: skip
N = 16
RADIUS = {"Linf": 0.03, "L2": 0.3}


@contextmanager
def brief(seen=lambda made: None):
    """Make the library's attacks short inside the block."""
    original = adapter.library

    def made(*args, **kwargs):
        one = original(*args, **kwargs)
        one.apgd.n_iter = one.apgd_targeted.n_iter = one.fab.n_iter = 10
        one.square.n_queries = 50
        seen(one)
        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapter, "library", made)
        yield


@functools.cache
def attacked(name, norm):
    """Say which images stand, and with which settings."""
    net = frozen(tiny_net(seed=0))
    x = tiny_data(n=N)[0].float() / 255
    y = net(x).argmax(1)
    y[0] = (y[0] + 1) % 4  # wrong without attack
    kept = []
    task = Task(
        net=net, x=x, y=y, threat=Threat(norm, RADIUS[norm]), name="tried", classes=4, seed=0,
        batch=N, keep=lambda now: kept.append(now.standing),
    )  # fmt: skip
    with brief():
        found = load("attack", name)().evaluate(task)
    return unpack(kept[-1], N), found, task


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_autoattack_leaves_at_most_what_each_part_leaves(norm):
    """In accuracy; image by image only APGD-CE's draws are the same in both."""
    whole, _, task = attacked("aa", norm)
    left = {part: attacked(part, norm)[0].sum() for part in PARTS}
    assert all(whole.sum() <= standing for standing in left.values()), left
    assert not (whole & ~attacked("apgd_ce", norm)[0]).any()
    with brief():
        stage = adapter.autoattack(
            task.net, task.x, task.y, threat=task.threat, classes=4, seed=0, batch=N
        )
    assert stage.accuracy == 100 * whole.double().mean()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("part", PARTS)
def test_a_part_meets_every_image_that_is_right(part, norm):
    """Another attack before it would leave it fewer."""
    met, (_, _, task) = [], attacked("aa", norm)

    def seen(one):
        run = one.run_standard_evaluation

        def noted(x, y, batch_size):
            met.append((one.attacks_to_run, len(x), one.norm, one.epsilon))
            return run(x, y, batch_size=batch_size)

        one.run_standard_evaluation = noted

    with brief(seen):
        found = load("attack", part)().evaluate(task)
    assert met == [([PARTS[part]], N - 1, norm, RADIUS[norm])]
    assert found.scores["tried"].n == N
    assert found.settings == {"batch": N, "mode": "exact"}


def test_the_targeted_loss_alone_needs_four_classes():
    _, _, task = attacked("aa", "Linf")
    net = torch.nn.Sequential(task.net, torch.nn.Linear(4, 3)).eval().requires_grad_(False)
    few = task._replace(net=net, y=net(task.x).argmax(1), classes=3)
    with brief():
        assert load("attack", "apgd_ce")().evaluate(few).scores["tried"].n == N
    with pytest.raises(ValueError, match=r"needs 4 classes or more, .*: the data have 3"):
        load("attack", "apgd_dlr_targeted")().evaluate(few)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    "part", ["apgd_ce", *(pytest.param(part, marks=pytest.mark.slow) for part in [*PARTS][1:])]
)
def test_what_an_image_costs_that_stands_to_the_end_is_counted(part, norm):
    torch.manual_seed(0)
    net = frozen(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10)))
    x = torch.rand(2, 3, 8, 8)
    task = Task(
        net=net, x=x, y=net(x).argmax(1), threat=Threat(norm, 1e-4), name="tried", classes=10,
        seed=0, batch=2,
    )  # fmt: skip
    one = load("attack", part)()
    fitting(net, x, len(x))  # which counts a network's memory once
    with Passes(net) as passes:
        assert one.evaluate(task).scores["tried"].accuracy == 100
    assert (passes.forward / 2, passes.backward / 2) == one.cost
