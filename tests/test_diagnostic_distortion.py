"""Boundary distortion where it is known: none on an affine loss, a dip that the step jumps over."""

import torch
from known import THREE, affine, found, images

from evaluation.diagnostics.distortion import Distortion

LOG2 = torch.tensor(2.0, dtype=THREE.dtype).log()  # the loss at which the other class takes over


def test_an_affine_boundary_is_not_distorted():
    share = found(Distortion(), lambda z: 0.2 * affine(z), THREE)["distortion"]
    assert share.tolist() == [0] * int((0.2 * affine(THREE.flatten(1)) + 0.07 < LOG2).sum())
    assert 0 < len(share) < len(THREE)


def test_a_step_over_a_wrong_stretch_counts():
    """Wrong within 0.02 of 0.5; the step of 0.1 climbs towards 0.5."""
    x = images([-0.15], [-0.11], [-0.05], [-0.03], [-0.021], [-0.01], [0.06])
    wrong_between = lambda z: LOG2 + 4e-4 - (z[:, 0] - 0.5).square()  # noqa: E731
    share = found(Distortion(), wrong_between, x)["distortion"]
    # the first stops short; the second ends inside, the sixth begins there: they do not count
    assert share.tolist() == [0, 100, 100, 100, 100]


def test_as_many_points_are_tried_as_said():
    x = images([-0.05])
    narrow = lambda z: LOG2 + 1e-6 - (z[:, 0] - 0.489).square()  # noqa: E731  after 39 of 100
    assert found(Distortion(points=100), narrow, x)["distortion"].tolist() == [100]
    assert found(Distortion(points=10), narrow, x)["distortion"].tolist() == [0]
