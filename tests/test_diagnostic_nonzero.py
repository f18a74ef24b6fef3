"""Non-zero elements of the gradient where they are known: those that an affine loss depends on."""

import torch
from known import THREE, found, images

from evaluation.diagnostics.nonzero import Nonzero


def test_an_affine_loss_has_as_many_as_weights():
    w = torch.tensor([1.0, 0.0, -2.0], dtype=THREE.dtype)
    assert found(Nonzero(), lambda z: 3 + z @ w, THREE)["nonzero"].tolist() == [2] * len(THREE)


def test_they_are_counted_image_by_image():
    x = images([0.1, 0.1], [-0.1, 0.1], [-0.1, -0.1])
    half_flat = lambda z: 1 + (z - 0.5).clamp(min=0).sum(1)  # noqa: E731
    assert found(Nonzero(), half_flat, x)["nonzero"].tolist() == [2, 1, 0]
