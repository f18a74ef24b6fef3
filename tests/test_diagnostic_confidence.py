"""Confidence where it is known: an affine loss l gives class 0 the probability exp(-l)."""

import pytest
import torch
from known import LINF, THREE, B, affine, drawn, found

from evaluation.diagnostics.confidence import Confidence


@pytest.mark.parametrize("q", [0.5, 1.0])
def test_on_an_affine_loss(q):
    random, start = drawn(THREE, LINF.uniform, lambda like: LINF.uniform(like, q))
    pgd1 = (start.flatten(1) + q * 0.1 * B.sign()).clamp(-q * 0.1, q * 0.1)
    loss = lambda z: affine(z) - 2.2  # noqa: E731  from 0.5 to 1.1, on both sides of log 2
    measured = found(Confidence(q=q), loss, THREE)
    x = THREE.flatten(1)
    for name, z in [("clean", x), ("random", x + random.flatten(1)), ("pgd1", x + pgd1)]:
        p = (-loss(z)).exp()
        assert torch.allclose(measured[f"confidence_{name}"], 100 * torch.maximum(p, 1 - p)), name
    assert (measured["confidence_clean"] != 100 * (-loss(x)).exp()).any(), "the other class, too"
