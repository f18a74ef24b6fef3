"""The share of abnormal examples where it is known: steps that cross a hill by more than half."""

import torch
from known import LINF, THREE, affine, drawn, found, hill, images

from evaluation.diagnostics.aae_share import AAEShare


def test_a_step_is_abnormal_that_ends_farther_from_the_top_than_it_began():
    x = images(*([k / 100] for k in range(-25, 26)))
    (eta,) = drawn(x, lambda like: LINF.uniform(like, 2))
    from_top = (x + eta - 0.5).flatten().abs()
    share = found(AAEShare(), hill, x)["aae_share"]
    assert torch.equal(share, 100.0 * (from_top < 0.05))
    assert 0 < share.mean() < 100


def test_an_affine_loss_has_none():
    assert found(AAEShare(), affine, THREE)["aae_share"].tolist() == [0] * len(THREE)
