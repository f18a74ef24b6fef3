"""The bound gap where it is known: the corner and the rim that an affine loss grows towards."""

import torch
from known import THREE, B, affine, found

from evaluation.diagnostics.bound_gap import BoundGap


def test_on_an_affine_loss():
    measured, clean = found(BoundGap(), affine, THREE), affine(THREE.flatten(1))
    assert torch.allclose(measured["bound_gap_linf"], clean + 0.1 * B.abs().sum())
    assert torch.allclose(measured["bound_gap_l2"], clean + 0.1 * 3**0.5 * B.norm(), atol=1e-4)
