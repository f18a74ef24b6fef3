"""SVHN's MATLAB files are read; those of another kind are refused, and leave nothing."""

import numpy as np
import pytest
import torch
from miniatures import left_behind, prepared, write_svhn

from bench import data


def test_svhn_is_read_from_the_official_files(tmp_path):
    test = write_svhn(tmp_path)
    found = prepared("svhn", tmp_path)
    assert torch.equal(found.images.test_x, torch.from_numpy(test["X"]).permute(3, 2, 0, 1))
    assert found.images.test_y.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    assert not found.official


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (
            {"X": np.zeros((32, 32, 4, 12), np.uint8)},
            r"X of .*mat is uint8 of shape \(32, 32, 4, 12",
        ),
        ({"X": np.zeros((32, 32, 3, 12))}, r"X of .*mat is float64"),
        ({"X": None}, r"train_32x32\.mat has no arrays X and y"),
        ({"y": np.full((12, 1), 11)}, r"labels run from 11 to 11, not 0 to 9"),
        (
            {"y": np.full((9, 1), 1)},
            r"y of .* is int64 of shape \(9, 1\), not one .* each of 12 images",
        ),
    ],
)
def test_a_matlab_file_of_another_kind_is_refused(tmp_path, changed, match):
    write_svhn(tmp_path, **changed)
    with pytest.raises(ValueError, match=match):
        data.prepare("svhn", tmp_path)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, 150, 5000, -1])
def test_a_truncated_matlab_file_is_refused(tmp_path, kept):
    write_svhn(tmp_path)
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"test_32x32\.mat (cannot be read|has no arrays)"):
        data.prepare("svhn", tmp_path)
    assert not left_behind(tmp_path)
