"""Diagnostics in training: the callbacks that `every` makes, and what they leave alone."""

import pytest
import torch

from bench.threat import Threat
from bench.traces import Interval
from evaluation import load
from evaluation.attack import Task
from evaluation.watch import Images, watches

AT = Threat("Linf", 0.1)
ASKED = ["gradient_alignment-every_50", "pgd20", "gradient_alignment-0.05-every_7"]


def test_a_callback_reads_what_the_stage_finds_and_changes_nothing(tiny):
    x, y = tiny.data()
    images, net = Images(x.float() / 255, y, AT, 4), tiny.net().eval()
    (fifty, read), (seven, near) = watches(ASKED, images)
    assert (fifty, seven) == ([Interval(50)], [Interval(7)])
    before, state = tiny.weights(net), torch.get_rng_state()
    found = read(net, 100)
    assert found == read(net, 150)
    assert near(net, 7) != found
    assert torch.equal(tiny.weights(net), before)
    assert all(weight.grad is None for weight in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    task = Task(net=net, x=images.x, y=y, threat=AT, name="", classes=4, seed=0)
    value = load("diagnostic", "gradient_alignment")().evaluate(task).values["gradient_alignment"]
    assert found == {"gradient_alignment": pytest.approx(value.value)}


def test_an_attack_is_read_as_its_accuracy_and_two_intervals_are_one_callback(tiny):
    x, y = tiny.data()
    images, net = Images(x.float() / 255, y, AT, 4), tiny.net().eval()
    asked = ["pgd10-every_50", "pgd10-every_5-since_100-until_200", "fgsm-every_50"]
    (both, read), (_, fgsm) = watches(asked, images)
    assert both == [Interval(50), Interval(5, 100, 200)]
    task = Task(net=net, x=images.x, y=y, threat=AT, name="pgd10", classes=4, seed=0)
    score = load("attack", "pgd")(steps=10).evaluate(task).scores["pgd10"]
    assert read(net, 0) == {"pgd10": score.accuracy}
    assert fgsm(net, 0).keys() == {"fgsm"}
