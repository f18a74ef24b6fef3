"""ELLE's error where it is known: a quadratic loss is s a (1 - a) |x_a - x_b|^2 from its chord."""

import pytest
import torch
from known import L2, LINF, THREE, affine, drawn, found

from evaluation.diagnostics.elle import ELLEError


@pytest.mark.parametrize("threat", [LINF, L2])
def test_a_quadratic_loss_hangs_below_its_chord(threat):
    ratio = lambda like: torch.rand_like(like[:, :1, :1, :1])  # noqa: E731
    eta, other, a = drawn(THREE, threat.uniform, threat.uniform, ratio)
    apart, a = (eta - other).flatten(1).square().sum(1), a.flatten()
    error = found(ELLEError(), lambda z: 2 + 5 * z.square().sum(1), THREE, threat)["elle"]
    assert torch.allclose(error, (5 * a * (1 - a) * apart).square())
    assert error.min() > 0


def test_an_affine_loss_is_its_chord():
    assert found(ELLEError(), affine, THREE)["elle"].max() < 1e-24
