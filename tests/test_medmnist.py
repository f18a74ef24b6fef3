"""MedMNIST's npz files are read; arrays of another kind are refused, and leave nothing."""

import numpy as np
import pytest
import torch
from miniatures import left_behind, prepared, write_med

from bench import data
from bench.data import _medmnist, pathmnist, tissuemnist


@pytest.mark.parametrize("dataset", ["pathmnist", "tissuemnist"])
def test_medmnist_is_read_from_the_official_file(tmp_path, dataset):
    arrays = write_med(tmp_path, dataset)
    found = prepared(dataset, tmp_path)
    for split, x, y in (
        ("train", found.images.train_x, found.images.train_y),
        ("test", found.images.test_x, found.images.test_y),
    ):
        images = arrays[f"{split}_images"].reshape(12, 28, 28, -1)
        assert torch.equal(x, torch.from_numpy(images).permute(0, 3, 1, 2))
        assert y.tolist() == arrays[f"{split}_labels"][:, 0].tolist()
    assert not found.official


@pytest.mark.parametrize("module", [pathmnist, tissuemnist])
def test_what_is_known_is_what_the_medmnist_package_says(module):
    from medmnist import INFO

    name = module.__name__.rpartition(".")[2]
    card = INFO[name]
    assert module.INFO.files == {f"{name}.npz": f"md5:{card['MD5']}"}
    assert (module.INFO.train, module.INFO.test) == (
        card["n_samples"]["train"],
        card["n_samples"]["test"],
    )
    assert module.INFO.shape == (card["n_channels"], 28, 28)
    assert module.INFO.classes == len(card["label"])


@pytest.mark.parametrize(
    ("dataset", "changed", "match"),
    [
        (
            "tissuemnist",
            {"train_images": np.zeros((12, 28, 28, 3), np.uint8)},
            r"\(12, 28, 28, 3\)",
        ),
        ("pathmnist", {"test_images": np.zeros((12, 28, 28), np.uint8)}, r"test_images .*\(12, 28"),
        (
            "pathmnist",
            {"train_images": np.zeros((12, 64, 64, 3), np.uint8)},
            r"of shape \(N, 28, 28, 3\)",
        ),
        (
            "pathmnist",
            {"train_images": np.zeros((12, 28, 28, 3))},
            r"train_images of .* is float64",
        ),
        ("pathmnist", {"train_labels": np.zeros((12, 14), np.uint8)}, r"not one whole number"),
        ("pathmnist", {"train_labels": np.zeros((11, 1), np.uint8)}, r"each of 12 images"),
        ("pathmnist", {"train_labels": np.full((12, 1), 1.5)}, r"train_labels .* holds 1\.5"),
        ("pathmnist", {"test_labels": np.full((12, 1), 9)}, r"run from 9 to 9, not 0 to 8"),
        ("pathmnist", {"test_labels": None}, r"pathmnist\.npz has no array test_labels"),
        (
            "pathmnist",
            {"train_labels": np.array([[None]] * 12)},
            r"train_labels of .* is object",
        ),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, dataset, changed, match):
    write_med(tmp_path, dataset, **changed)
    with pytest.raises(ValueError, match=match):
        data.prepare(dataset, tmp_path)
    assert not left_behind(tmp_path)


def test_a_file_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*own\.npz; put it there"):
        _medmnist.split(tmp_path / "own.npz", "train", pathmnist.INFO)


def test_a_file_of_another_set_is_named(tmp_path):
    x, y = np.zeros((5000, 28, 28), np.uint8), np.zeros((5000, 1), np.uint8)
    write_med(
        tmp_path, "tissuemnist", train_images=x[:4708], train_labels=y[:4708],
        test_images=x[:624], test_labels=y[:624],
    )  # fmt: skip
    match = r"tissuemnist\.npz has the 4708 and 624 images of pneumoniamnist"
    with pytest.raises(ValueError, match=match):
        data.prepare("tissuemnist", tmp_path)


def test_a_test_split_that_is_a_copy_of_the_training_split_is_refused(tmp_path):
    images = np.ones((12, 28, 28, 3), np.uint8)
    write_med(tmp_path, train_images=images, test_images=images)
    with pytest.raises(ValueError, match=r"pathmnist train and pathmnist test hold the same"):
        data.prepare("pathmnist", tmp_path)


@pytest.mark.parametrize("kept", [0, 2000, -50])
def test_a_truncated_medmnist_file_is_refused(tmp_path, kept):
    write_med(tmp_path)
    path = tmp_path / "pathmnist.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"pathmnist\.npz cannot be read .*truncated.*remove it"):
        data.prepare("pathmnist", tmp_path)
    assert not left_behind(tmp_path)
