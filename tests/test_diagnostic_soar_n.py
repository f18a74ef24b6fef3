"""SOAR's objective where it is known: with the matrix itself on a quadratic loss."""

import pytest
import torch
from known import L2, LINF, THREE, A, B, affine, drawn, found, quadratic

from evaluation.diagnostics.soar_n import SoarN


@pytest.mark.parametrize("threat", [LINF, L2])
@pytest.mark.parametrize("clip", [1000.0, 2.0])
def test_a_quadratic_loss_gives_its_matrix(threat, clip):
    x, r = THREE.flatten(1), 0.05
    normal = lambda like: torch.randn(len(like), 4, dtype=like.dtype)  # noqa: E731
    start, *zs = drawn(THREE, lambda like: threat.uniform(like, 0.5), *[normal] * 100)
    g = (x + start.flatten(1)) @ A + B
    d = start.flatten(1) + r * threat.steepest(g.view_as(THREE)).flatten(1)
    d = threat.project(d.view_as(THREE), THREE, 0.5).flatten(1)
    g, loss = (x + d) @ A + B, quadratic(x + d)
    weight = ((3 if threat is LINF else 1) * r**2 + 1) / 2
    terms = []
    for z in zs:
        z_d, z_1 = z[:, :3], z[:, 3:]
        rows = torch.cat([z_d @ A + z_1 * g, (g * z_d).sum(1, keepdim=True) + z_1], 1)
        terms.append(rows.norm(dim=1).clamp(max=clip))
    measured = found(SoarN(clip=clip), quadratic, THREE, threat)
    for n in (1, 10, 100):
        expected = loss + weight * torch.stack(terms[:n]).mean(0)
        assert torch.allclose(measured[f"soar_{n}"], expected), n


def test_an_affine_loss_has_no_curvature():
    z = drawn(THREE, LINF.uniform, lambda like: torch.randn(len(like), 4, dtype=like.dtype))[1]
    last = (B * z[:, :3]).sum(1) + z[:, 3]
    term = (z[:, 3].square() * B.square().sum() + last.square()).sqrt()
    measured, d = found(SoarN(), affine, THREE), (0.025 * B.abs().sum())
    at = measured["soar_1"] - (3 * 0.05**2 + 1) / 2 * term.clamp(max=10)
    assert (at > affine(THREE.flatten(1)) + d - 0.05 * B.abs().sum()).all()
    assert (at <= affine(THREE.flatten(1)) + 0.05 * B.abs().sum() + 1e-9).all()
