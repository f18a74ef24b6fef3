"""The divergence where it is known: an affine loss l gives class 0 the probability exp(-l)."""

import torch
from known import THREE, B, affine, found

from evaluation.diagnostics.trades_kl import TradesKL


def test_on_an_affine_loss():
    p = (-affine(THREE.flatten(1))).exp()
    q = p * (-0.1 * B.abs().sum()).exp()  # at the corner
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert torch.allclose(found(TradesKL(steps=40), affine, THREE)["trades_kl"], expected)
    one = found(TradesKL(steps=1, alpha=2.0), affine, THREE)["trades_kl"]
    assert torch.allclose(one, expected), "two eps reach the corner from anywhere"
