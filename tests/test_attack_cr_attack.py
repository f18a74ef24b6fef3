"""CR Attack: its targets, its cycles and rounds by count, and the radius of each of its steps."""

import pytest
import torch
from measured import task
from torch import nn

from bench.meter import Passes
from bench.threat import Threat
from evaluation.attacks.cr_attack import CRAttack
from evaluation.draw import Draw

N, EPS = 32, 0.1
X, Y = torch.full((N, 1, 1, 2), 0.5), torch.zeros(N, dtype=torch.int64)
THREAT = Threat("Linf", EPS)
TARGETS = 2  # ceil(ln 4)


class Lines(nn.Module):
    """Logits 0 and three lines in the first pixel's move v; class 0 is the label."""

    def __init__(self, slopes, offsets):
        super().__init__()
        self.slopes, self.offsets = torch.tensor(slopes), torch.tensor(offsets)
        self.seen, self.went = [], []  # largest move, and mean v, of each call

    def forward(self, x):
        self.seen.append(float((x - 0.5).detach().abs().amax()))
        v = x[:, 0, 0, :1] - 0.5
        self.went.append(float(v.detach().mean()))
        return torch.cat([0 * v, v * self.slopes + self.offsets], 1)


def attacked(net):
    with Passes(net) as passes:
        at = CRAttack().perturb(net, X, Y, THREAT, Draw(0, 0, N))
    return at, passes.forward / N, passes.backward / N


def test_a_target_is_reached_that_the_loss_leads_away_from():
    """Class 1 cannot be reached, and class 2 can, the other way; half the starts climb to 1."""
    net = Lines([30.0, -20.0, 0.0], [-3.2, -1.9, -9.0])
    one = CRAttack(rounds=0)
    ten = one.perturb(net, X, Y, THREAT, Draw(0, 0, N))
    assert (net(ten).argmax(1) == 0).any()
    assert (net(attacked(net)[0]).argmax(1) == 2).all()


@pytest.mark.parametrize(
    ("margin", "forward", "backward"),
    [
        # always close: five rounds of all steps, and 11 tests in each of five cycles
        (0.04, 11 + 5 * TARGETS * (150 + 55), 10 + 5 * TARGETS * 150),
        # leaves a target at p = 19 of the fifth cycle, where s is 0.05, and is never close
        (0.06, 11 + TARGETS * (140 + 55), 10 + TARGETS * 140),
        # leaves each at p = 19 of the first, where s is 0.5
        (0.6, 11 + TARGETS * (20 + 11), 10 + TARGETS * 20),
    ],
)
def test_cycles_and_rounds_are_as_many_as_margins_ask_for(margin, forward, backward):
    net = Lines([0.0, 0.0, 0.0], [-margin, -margin, -9.0])
    assert attacked(net)[1:] == (forward, backward)


def test_ten_steps_of_a_cycle_go_out_of_the_ball_and_no_test_does():
    net = Lines([1e-6, 1e-6, 0.0], [-0.04, -0.04, -9.0])
    attacked(net)
    cycles = net.seen[11:]  # behind the start
    assert EPS / 2 < cycles[0] <= EPS  # from a random point
    assert net.went[11 + 22] == pytest.approx(EPS, abs=1e-6)  # the target's side
    for s in (0.5, 0.25, 0.125, 0.0625, 0.05):
        steps, cycles = cycles[:41], cycles[41:]  # 11 of a step and a test, 19 of a step
        assert max(steps[1:22:2]) <= EPS + 1e-6
        assert steps[20] == pytest.approx(EPS * (1 + s), abs=1e-6)  # where p = 10 begins
        assert steps[22] == pytest.approx(EPS, abs=1e-6)
        assert max(steps[22:]) <= EPS + 1e-6


def test_what_is_wrong_without_attack_counts_as_wrong(tiny):
    given = task(tiny)
    found = CRAttack().evaluate(given._replace(y=(given.y + 1) % 4))
    assert found.scores["tried"].accuracy == 0
    assert found.settings == {"batch": 200}
