"""The linearity error where it is known: half of d'Ad on a quadratic loss, 0 on an affine one."""

import pytest
import torch
from known import L2, LINF, THREE, A, B, affine, found, quadratic

from evaluation.diagnostics.lin_err import LinErr


@pytest.mark.parametrize("threat", [LINF, L2])
def test_a_quadratic_loss_leaves_half_of_its_second_derivative(threat):
    g = THREE.flatten(1) @ A + B
    d = 0.1 * threat.steepest(g.view_as(THREE)).flatten(1)
    error = found(LinErr(), quadratic, THREE, threat)["lin_err"]
    assert torch.allclose(error, ((d @ A) * d).sum(1).abs() / 2)
    assert error.max() > 1e-3


def test_an_affine_loss_leaves_none():
    assert found(LinErr(), affine, THREE)["lin_err"].max() < 1e-12
