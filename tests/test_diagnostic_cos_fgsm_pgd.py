"""cos(FGSM, PGD) where it is known: 1 on an affine loss, and by hand where PGD turns back."""

import pytest
import torch
from known import L2, LINF, THREE, affine, climbed, drawn, found, hill, images

from evaluation.diagnostics.cos_fgsm_pgd import CosFGSMPGD


@pytest.mark.parametrize("threat", [LINF, L2])
def test_an_affine_loss_moves_both_the_same_way(threat):
    cosine = found(CosFGSMPGD(steps=40), affine, THREE, threat)["cos_fgsm_pgd"]
    assert torch.allclose(cosine, torch.ones_like(cosine), atol=1e-3)


def test_pgd_turns_back_at_a_hill_that_fgsm_steps_over():
    x = images([0.03, 0.1], [-0.02, -0.1], [0.01, 0.0], [0.2, 0.0])
    (start,) = drawn(x, LINF.uniform)
    offset, up = (x - 0.5).flatten(1)[:, 0], torch.full((4,), 0.1, dtype=x.dtype)
    one = torch.stack([-0.1 * offset.sign(), up], 1)
    many = torch.stack([climbed(offset, start.flatten(1)[:, 0]), up], 1)
    cosine = found(CosFGSMPGD(), hill, x)["cos_fgsm_pgd"]
    assert torch.allclose(cosine, torch.cosine_similarity(one, many, dim=1))
    assert cosine[:3].max() < 0.99 < cosine[3]
