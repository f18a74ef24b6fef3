"""Official formats are read for real; what cannot be the data set is refused with its remedy."""

import hashlib
import importlib
import os
import pickle
import sys

import numpy as np
import pytest
import torch
from miniatures import said, write_cifar

from bench import data
from bench.data import Images, _cache, cifar10
from bench.runs import catalogue


@pytest.mark.parametrize(
    "dataset",
    [
        "imagenet100",
        "imagenet100_cmc",
        "mnist_5k",
        "pathmnist",
        "svhn",
        "tiny_imagenet",
        "tissuemnist",
    ],
)
def test_what_is_known_can_be_read_without_torch(dataset):
    info = data.info(dataset)
    for keyword in set(info._fields) - {"augment", "decoded"}:
        assert catalogue.argument(f"bench/data/{dataset}.py", "INFO", keyword) == getattr(
            info, keyword
        )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder)
    return folder


def test_digits_are_the_official_copy(digits):
    found = data.load("digits", digits)
    assert found.official
    assert (len(found.images.train_y), len(found.images.test_y)) == (1437, 360)
    assert found.images.test_y.bincount().tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    pixels = found.images.train_x.float() / 255
    assert pixels.mean().item() == pytest.approx(found.info.mean[0], abs=1e-3)
    assert pixels.std().item() == pytest.approx(found.info.std[0], abs=1e-3)


def test_cifar10_is_read_from_the_official_layout(tmp_path):
    batches = write_cifar(tmp_path)
    data.prepare("cifar10", tmp_path)
    found = data.load("cifar10", tmp_path)
    assert not found.official  # it is made up, and says so
    assert found.images.train_x.shape == (20, 3, 32, 32)
    raw = pickle.loads((batches / "data_batch_2").read_bytes(), encoding="bytes")
    assert torch.equal(found.images.train_x[4].flatten(), torch.from_numpy(raw[b"data"][0]))
    assert found.images.train_y[4:8].tolist() == raw[b"labels"]


def test_a_missing_batch_is_named(tmp_path):
    (write_cifar(tmp_path) / "data_batch_3").unlink()
    with pytest.raises(ValueError, match=r"data_batch_3 is missing; put the official file there"):
        data.prepare("cifar10", tmp_path)


def test_a_truncated_batch_is_named(tmp_path):
    path = write_cifar(tmp_path) / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"data_batch_3 cannot be read.*truncated.*replace it"):
        data.prepare("cifar10", tmp_path)


def test_a_batch_of_another_data_set_is_named(tmp_path):
    path = write_cifar(tmp_path) / "test_batch"
    path.write_bytes(pickle.dumps({b"fine_labels": [0], b"data": np.zeros((1, 3072), np.uint8)}))
    with pytest.raises(ValueError, match=r"test_batch is no batch of this data set"):
        data.prepare("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["test_batch", "data_batch_3"])
def test_a_batch_that_is_a_copy_of_another_is_refused(tmp_path, name):
    batches = write_cifar(tmp_path)
    (batches / name).write_bytes((batches / "data_batch_2").read_bytes())
    with pytest.raises(ValueError, match=rf"data_batch_2 and .*{name} hold the same images"):
        data.prepare("cifar10", tmp_path)


def test_test_images_that_are_training_images_are_counted(tmp_path, capsys):
    batches = write_cifar(tmp_path)
    content = pickle.loads((batches / "test_batch").read_bytes(), encoding="bytes")
    other = pickle.loads((batches / "data_batch_4").read_bytes(), encoding="bytes")
    content[b"data"][1] = other[b"data"][2]
    (batches / "test_batch").write_bytes(pickle.dumps(content))
    out, error = said(capsys, "cifar10", "--folder", tmp_path)
    assert "\ncifar10: warning: 1 of 4 test images are training images, too\n" in out
    assert not error


def test_labels_out_of_range_are_refused(tmp_path):
    write_cifar(tmp_path, per_batch=40, labels=13)
    with pytest.raises(ValueError, match=r"labels run from 0 to 12, not 0 to 9"):
        data.prepare("cifar10", tmp_path)
    assert not [*(tmp_path / "prepared").glob("*.safetensors*")]  # nothing half-written


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    path = write_cifar(tmp_path) / "data_batch_1"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"asks for .*open"):
        data.prepare("cifar10", tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_no_data_and_no_network_says_which_file_to_put_where(tmp_path, monkeypatch):
    import urllib.request

    def refuse(*args, **rest):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(OSError, match=r"Put cifar-10-python.tar.gz into .*data_dir"):
        data.prepare("cifar10", tmp_path)


# A file of one's own.


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("(0.3,)", "(122,)", r"mean of INFO is of pixels in \[0, 1\], not \(122,\)"),
        ("(0.3,)", "(0.3, 0.3)", "mean of INFO is a tuple of 1, one number a channel"),
        ("(0.4,)", "(0,)", r"std of INFO is of pixels in \[0, 1\], and above 0, not \(0,\)"),
        ("(0.4,)", "0.4", "std of INFO is a tuple of 1, .* not 0.4"),
        ("eps=8", "eps=0.031", "eps of INFO is in 1/255, from 1 to 255, not 0.031"),
        ("(1, 8, 8)", "(1, 8, 9)", "shape of INFO is .* a square, not"),
        ("eps=8,", "", "cannot be imported .*missing 1 required positional argument: 'eps'"),
        ("Augment()", "Augmint()", "cannot be imported .*'Augmint' is not defined"),
        ("Augment()", "Augment((", "cannot be imported .*syntax"),
        ("def read", "def raed", "odd.py has no read; CONTRIBUTING"),
    ],
)
def test_a_data_sets_file_that_cannot_be_right_is_told(tmp_path, monkeypatch, old, new, match):
    source = """
from bench.data import Info
from bench.view import Augment
INFO = Info(
    shape=(1, 8, 8), classes=2, train=4, test=2, mean=(0.3,), std=(0.4,), eps=8,
    augment=Augment(), files={}, download=0,
)


def read(folder):
    raise ValueError("read")
"""
    monkeypatch.setattr(data, "__path__", [*data.__path__, str(tmp_path)])
    for name, text, why in (("own", source, "^read$"), ("odd", source.replace(old, new), match)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"bench.data.{name}", raising=False)
        importlib.invalidate_caches()
        with pytest.raises(ValueError, match=why):
            data.prepare(name, tmp_path)


# The prepared copy.


@pytest.fixture
def prepared(digits, tmp_path):
    path = data.prepared("digits", tmp_path)
    path.parent.mkdir()
    path.write_bytes(data.prepared("digits", digits).read_bytes())
    return path


def test_what_a_killed_job_left_half_written_is_removed(tmp_path):
    left = tmp_path / "prepared/.digits.safetensors.abc"
    left.parent.mkdir()
    left.write_bytes(b"half")
    data.prepare("digits", tmp_path)
    assert not left.exists()


def test_a_copy_that_calls_itself_official_is_compared_with_the_known_sum(tmp_path):
    path = data.prepare("digits", tmp_path, say=lambda line: None)
    true = data.load("digits", tmp_path)
    assert true.official
    blank = {k: None if v is None else torch.zeros_like(v) if k.endswith("x") else v
             for k, v in true.images._asdict().items()}  # fmt: skip
    path.unlink()
    _cache.write(path, "digits", blank, official=True)
    assert not data.load("digits", tmp_path).official


def test_a_part_of_a_set_says_that_it_is_one(tmp_path, capsys):
    write_cifar(tmp_path, labels=3)
    out, _ = said(capsys, "cifar10", "--folder", tmp_path)
    assert "20 of 50000 (7 of 10 classes have none) training" in out
    assert "UNOFFICIAL (cifar-10-batches-py/data_batch_1, " in out
    assert "remove that file to prepare the set again" in out


def test_data_prepared_earlier_are_told_and_newer_files_warned_of(tmp_path, capsys):
    batches = write_cifar(tmp_path)
    words = "cifar10", "--folder", tmp_path
    first, again = said(capsys, *words)[0], said(capsys, *words)[0]
    assert "not read again" not in first
    assert ", prepared 20" in again and "and not read again; remove that file" in again
    assert "newer" not in again
    path = data.prepared("cifar10", tmp_path)
    long_ago = 10**9  # seconds, in 2001
    os.utime(path, (long_ago, long_ago))
    os.utime(batches, (long_ago - 1, long_ago - 1))
    out, _ = said(capsys, *words)
    name = batches / "data_batch_1"
    assert f"\ncifar10: warning: {name} is newer; to read it, remove {path} and run" in out


def test_a_set_that_fails_does_not_stop_the_others(tmp_path, capsys):
    (tmp_path / "cifar-10-batches-py").mkdir()
    out, error = said(capsys, "cifar10", "digits", "--folder", tmp_path)
    assert "digits: 1437 training and 360 test images, official copy" in out
    assert "data_batch_1 is missing" in error
    _, error = said(capsys, "cifar", "digit", "--folder", tmp_path)
    assert "did you mean cifar10 or cifar100?" in error
    assert "did you mean digits?" in error


def test_missing_prepared_data_say_how_to_prepare_them(tmp_path):
    with pytest.raises(ValueError, match=r"is missing; run: python -m bench data digits"):
        data.load("digits", tmp_path)


def test_truncated_prepared_data_are_refused(prepared):
    prepared.write_bytes(prepared.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"damaged.*remove it"):
        data.load("digits", prepared.parents[1])


def test_a_changed_pixel_in_prepared_data_is_refused(prepared):
    content = bytearray(prepared.read_bytes())
    content[-50_000] ^= 1
    prepared.write_bytes(content)
    with pytest.raises(ValueError, match="changed since it was prepared"):
        data.load("digits", prepared.parents[1])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def read(folder):\n    _cifar.raed(folder)", r"digits.py, line 2: .* failed .*raed"),
        ("def read():\n    pass", r"digits.py: read\(\) failed \(.*takes 0 positional arguments"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_data_sets_reader_is_told_with_its_line(tmp_path, monkeypatch, code, said):
    from bench.data import _cifar, digits

    read = {"_cifar": _cifar}
    exec(compile(code, digits.__file__, "exec"), read)
    monkeypatch.setattr(digits, "read", read["read"])
    with pytest.raises(ValueError, match=said):
        data.prepare("digits", tmp_path)


def test_prepared_data_that_info_no_longer_fits_say_so(prepared, monkeypatch):
    from bench.data import digits

    monkeypatch.setattr(digits, "INFO", digits.INFO._replace(shape=(1, 28, 28)))
    said = rf"not uint8 of \(1, 28, 28\), as INFO says now; if .* remove {prepared} and run: python"
    with pytest.raises(ValueError, match=said):
        data.load("digits", prepared.parents[1])


def test_prepared_data_of_another_set_are_refused(prepared):
    prepared.rename(prepared.with_name("cifar10.safetensors"))
    with pytest.raises(ValueError, match="holds 'digits', not 'cifar10'"):
        data.load("cifar10", prepared.parents[1])


def test_one_changed_byte_makes_data_unofficial(tmp_path, monkeypatch):
    path = write_cifar(tmp_path) / "test_batch"
    published = {
        name: "sha256:" + hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in cifar10.INFO.files
    }
    monkeypatch.setattr(cifar10, "INFO", cifar10.INFO._replace(files=published))
    assert cifar10.read(tmp_path).official
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert not cifar10.read(tmp_path).official


def test_wrong_channels_are_refused():
    grey, y = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"are torch.uint8 of shape \(1, 32, 32\), not uint8 of"):
        data.check("cifar10", Images(grey, y, grey, y))


def test_subset_is_fixed_and_sorted():
    rows = data.subset(1000, 50)
    assert torch.equal(rows, data.subset(1000, 50))
    assert torch.equal(rows, rows.sort().values)
    assert len(rows.unique()) == 50
    assert torch.equal(data.subset(10, None), torch.arange(10))


def test_the_validation_split_is_fixed_and_apart_from_the_rest():
    rest, held_out = data.split(1000, 100)
    assert torch.equal(held_out, data.split(1000, 100)[1])
    assert torch.equal(torch.cat([rest, held_out]).sort().values, torch.arange(1000))
    assert len(held_out) == 100
    assert held_out.max() > 500 > held_out.min()  # from all over, not the last ones
    with pytest.raises(ValueError, match="leaves none of 1000"):
        data.split(1000, 1000)
