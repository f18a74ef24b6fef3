"""Counters against counts done by hand."""

import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from bench.meter import Clock, Flops, Passes, Peak
from bench.runs.catalogue import ROOT

CPU = torch.device("cpu")


def test_flops_are_those_of_the_layers_forward_and_backward():
    net, x = nn.Linear(6, 5, bias=False), torch.rand(4, 6, requires_grad=True)
    with Flops() as forward:
        out = net(x).sum()
    with Flops() as backward:
        torch.autograd.grad(out, [x, net.weight])
    product = 2 * 4 * 6 * 5
    assert (forward.total, backward.total) == (product, 2 * product)


def test_flops_are_counted_where_an_attack_takes_a_gradient_inside():
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), torch.rand(3, 1, 4, 4)
    with Flops() as flops:
        z = x.clone().requires_grad_()
        torch.autograd.grad(net(z).sum(), z)
    assert flops.total == 2 * (2 * 3 * 2 * 9 * 2 * 2)  # forward and input gradient


def test_passes_count_images_and_stop_counting_afterwards():
    net, x = nn.Linear(3, 2), torch.rand(5, 3)
    with Passes(net) as passes:
        net(x).sum().backward()
        with torch.no_grad():
            net(x)
    net(x)
    assert (passes.forward, passes.backward) == (10, 5)


def test_clock_counts_blocks_an_open_one_and_credit():
    clock = Clock(CPU)
    with clock.running():
        time.sleep(0.05)
        assert clock.seconds >= 0.05
    closed = clock.seconds
    time.sleep(0.02)
    assert clock.seconds == closed
    clock.credit(10)
    assert clock.seconds == pytest.approx(10 + closed)


def test_memory_is_unknown_without_a_gpu():
    peak = Peak(CPU)
    peak.note()
    assert peak.bytes is None


def test_counting_loads_no_compiler():
    """It takes a second of every job, most of which compile nothing."""
    counted = "from bench.meter import Flops, Memory\nimport sys, torch\n"
    counted += "with Flops(), Memory():\n    torch.ones(2, 2) @ torch.ones(2, 2)\n"
    counted += "sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", counted], check=True, cwd=ROOT)
