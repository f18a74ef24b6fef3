"""The ratio of losses where it is known: by hand at a hill that FGSM steps over."""

import pytest
import torch
from known import LINF, THREE, B, OfLoss, affine, climbed, drawn, found, hill, images

from evaluation.attack import Task
from evaluation.diagnostics.loss_ratio import LossRatio

X = images([0.03, 0.1], [-0.02, -0.1], [0.01, 0.0], [0.2, 0.0])


def by_hand():
    (start,) = drawn(X, LINF.uniform)
    offset, other = (X - 0.5).flatten(1).unbind(1)
    top = 3 + 0.5 + other + 0.1
    one = top - (offset - 0.1 * offset.sign()).square()
    return one, top - (offset + climbed(offset, start.flatten(1)[:, 0])).square()


def test_losses_are_those_at_the_ends_of_both():
    measured, (one, many) = found(LossRatio(), hill, X), by_hand()
    assert torch.allclose(measured["fgsm_loss"], one)
    assert torch.allclose(measured["pgd_loss"], many)
    both = found(LossRatio(steps=40), affine, THREE)
    assert torch.allclose(both["fgsm_loss"], affine(THREE.flatten(1)) + 0.1 * B.abs().sum())
    assert torch.allclose(both["pgd_loss"], both["fgsm_loss"])


def evaluated(loss):
    y = torch.zeros(len(X), dtype=torch.int64)
    task = Task(net=OfLoss(loss), x=X, y=y, threat=LINF, name="loss_ratio", classes=2, seed=0)
    return LossRatio().evaluate(task).values["loss_ratio"]


def test_it_is_the_ratio_of_the_means():
    one, many = by_hand()
    value = evaluated(hill)
    assert value.value == pytest.approx(float(many.mean() / one.mean()))
    assert value.value > 1
    assert (value.unit, value.n) == ("ratio", 4)


def test_there_is_none_where_a_mean_is_no_number():
    assert evaluated(lambda z: hill(z) * torch.nan).value is None
