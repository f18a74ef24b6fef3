"""Curvature where it is known: p'Ap over the slope on a quadratic loss, whatever the step."""

import pytest
import torch
from known import L2, LINF, THREE, A, B, affine, drawn, found, quadratic

from evaluation.diagnostics.curvature import Curvature


@pytest.mark.parametrize("threat", [LINF, L2])
@pytest.mark.parametrize("step", [1.0, 0.1])
def test_a_quadratic_loss_has_that_of_its_matrix(threat, step):
    (eta,) = drawn(THREE, threat.uniform)
    g = (THREE + eta).flatten(1) @ A + B
    p = threat.steepest(g.view_as(THREE)).flatten(1)
    slope = g.abs().sum(1) if threat is LINF else g.norm(dim=1)
    bent = found(Curvature(step=step), quadratic, THREE, threat)["curvature"]
    assert torch.allclose(bent, ((p @ A) * p).sum(1) / slope)
    assert bent.abs().min() > 0.01


def test_an_affine_and_a_flat_loss_have_none():
    assert found(Curvature(), affine, THREE)["curvature"].abs().max() < 1e-10
    flat = found(Curvature(), lambda z: 1 + 0 * z.sum(1), THREE)["curvature"]
    assert flat.tolist() == [0] * len(THREE)
