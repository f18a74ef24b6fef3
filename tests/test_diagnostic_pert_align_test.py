"""PertAlign where it is known: the gradient of |x - c|^2 points from c, so its turn is an angle."""

import pytest
import torch
from known import L2, LINF, THREE, affine, drawn, found

from evaluation.diagnostics.pert_align_test import PertAlignTest


@pytest.mark.parametrize("threat", [LINF, L2])
@pytest.mark.parametrize("alpha", [1.0, 1.4])
def test_a_quadratic_loss_turns_its_gradient(threat, alpha):
    c = 0.5 + torch.tensor([0.12, -0.02, 0.05], dtype=THREE.dtype)
    (eta,) = drawn(THREE, threat.uniform)
    before = (THREE + eta).flatten(1) - c
    step = alpha * 0.1 * threat.steepest(before.view_as(THREE)).flatten(1)
    loss = lambda z: 1 + (z - c).square().sum(1)  # noqa: E731
    cosine = found(PertAlignTest(alpha=alpha), loss, THREE, threat)["pert_align_test"]
    assert torch.allclose(cosine, torch.cosine_similarity(before, before + step, dim=1))
    assert threat is L2 or cosine.min() < 0.99


def test_it_is_1_on_an_affine_loss_and_0_on_a_flat_one():
    assert torch.allclose(
        found(PertAlignTest(), affine, THREE)["pert_align_test"], torch.ones(1).double()
    )
    flat = found(PertAlignTest(), lambda z: 1 + 0 * z.sum(1), THREE)["pert_align_test"]
    assert flat.tolist() == [0] * len(THREE)
