"""Data as people have them: each layout that is read gives the data of the official one."""

import hashlib
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from miniatures import (
    TEST_WNIDS,
    WNIDS,
    jpeg,
    prepared,
    said,
    tiny_files,
    write_cifar,
    write_med,
    write_svhn,
    write_tiny,
)
from PIL import Image

from bench.data import Info, _folders, cifar10, svhn, tiny_imagenet
from bench.data._pictures import Pictures, opened
from bench.view import Augment


def labelled(convert):
    return lambda content: content | {b"labels": convert(content[b"labels"])}


def pictured(convert):
    return lambda content: content | {b"data": convert(content[b"data"].reshape(-1, 3, 32, 32))}


CIFAR = {
    "text keys": lambda content: {key.decode(): value for key, value in content.items()},
    "int32 labels": labelled(lambda y: np.array(y, np.int32)),
    "float labels": labelled(lambda y: np.array(y, np.float32)),
    "a column of labels": labelled(lambda y: np.array(y)[:, None]),
    "a list of numpy's numbers": labelled(lambda y: [np.int64(i) for i in y]),
    "channels first": pictured(lambda x: x),
    "channels last": pictured(lambda x: x.transpose(0, 2, 3, 1)),
    "columns in memory": lambda content: content | {b"data": np.asfortranarray(content[b"data"])},
}


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("layout", CIFAR)
def test_cifar_saved_again_is_the_same_data(tmp_path, layout, protocol):
    write_cifar(tmp_path / "official")
    write_cifar(tmp_path / "again", change=CIFAR[layout], protocol=protocol)
    same = {prepared("cifar10", tmp_path / folder).checksum for folder in ("official", "again")}
    assert len(same) == 1


@pytest.mark.parametrize("convert", [np.ravel, np.int32, np.float64, np.transpose])
def test_labels_of_medmnist_and_svhn_may_have_other_types_and_shapes(tmp_path, convert):
    for name, write, keys in (
        ("pathmnist", write_med, ["train_labels", "test_labels"]),
        ("svhn", write_svhn, ["y"]),
    ):
        folders = tmp_path / name / "official", tmp_path / name / "again"
        for folder in folders:
            folder.mkdir(parents=True)
        content = write(folders[0])
        write(folders[1], **{key: convert(content[key]) for key in keys})
        assert len({prepared(name, folder).checksum for folder in folders}) == 1


@pytest.fixture
def three_classes(monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(classes=3))


def by_class(name, between=""):
    """Move a test picture into its class."""
    head, _, file = name.rpartition("/")
    if not head.endswith("val/images"):
        return name
    return f"tiny-imagenet-200/val/{WNIDS[TEST_WNIDS[file]]}/{between}{file}"


def half(name):
    return by_class(name) if name.endswith(("_1.JPEG", "_10.JPEG")) else name


def bare(name):
    return by_class(name).replace("/images/", "/").replace(".JPEG", ".jpg")


TINY = {
    "val in classes": by_class,
    "val in classes with images": lambda name: by_class(name, "images/"),
    "val half in classes": half,
    "no images folders": lambda name: name.replace("/images/", "/"),
    "jpg": lambda name: name.replace(".JPEG", ".jpg"),
    "all of these": bare,
}


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
@pytest.mark.parametrize("layout", TINY)
def test_tiny_imagenet_moved_about_is_the_same_data(tmp_path, three_classes, layout, packed):
    files = tiny_files()
    moved = {TINY[layout](name): content for name, content in files.items()}
    hidden = "tiny-imagenet-200/train/n01000000/images/._n01000000_0.JPEG"
    for folder, found in (("official", files), ("again", moved | {hidden: b"of macOS"})):
        (tmp_path / folder).mkdir()
        write_tiny(tmp_path / folder, found, packed=packed)
    folders = ("official", "again")
    assert len({prepared("tiny_imagenet", tmp_path / folder).checksum for folder in folders}) == 1


@pytest.mark.parametrize("layout", ["val in classes", "val in classes with images", "all of these"])
def test_a_sorted_val_needs_no_annotations(tmp_path, three_classes, layout):
    files = {TINY[layout](name): content for name, content in tiny_files().items()}
    del files["tiny-imagenet-200/val/val_annotations.txt"]
    write_tiny(tmp_path, files, packed=False)
    assert prepared("tiny_imagenet", tmp_path).images.test_y.tolist() == [1, 2, 0, 1]


def with_archive(folder, monkeypatch, published):
    """Pack the official folder, and remove it."""
    inside = write_cifar(folder)
    sums = {
        f"{inside.name}/{path.name}": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in inside.iterdir()
    }
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inside, inside.name)
    shutil.rmtree(inside)
    content = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "PUBLISHED", f"sha256:{published or content}")
    order = {name: sums[name] for name in cifar10.INFO.files}
    monkeypatch.setattr(cifar10, "INFO", cifar10.INFO._replace(files=order, decoded=None))


def test_an_archive_with_the_published_sum_is_unpacked(tmp_path, monkeypatch):
    with_archive(tmp_path, monkeypatch, None)
    (tmp_path / ".cifar-10-batches-py.abc/cifar-10-batches-py").mkdir(
        parents=True
    )  # of a killed job
    assert prepared("cifar10", tmp_path).official
    assert {path.name for path in tmp_path.iterdir()} == {
        "cifar-10-batches-py", "cifar-10-python.tar.gz", "prepared"
    }  # fmt: skip


def test_an_archive_with_another_sum_is_not_unpacked(tmp_path, monkeypatch, capsys):
    with_archive(tmp_path, monkeypatch, "0" * 64)
    monkeypatch.setattr(tarfile, "open", lambda *_: pytest.fail("opened"))
    _, error = said(capsys, "cifar10", "--folder", tmp_path)
    assert "cifar-10-python.tar.gz has not the published sha256:0000" in error
    assert "put its cifar-10-batches-py into" in error


OWN = Info(
    shape=(3, 8, 8), classes=2, train=4, test=2, mean=(0.5,) * 3, std=(0.25,) * 3, eps=8,
    augment=Augment(), files={}, download=0,
)  # fmt: skip


def write_own(root, **counts):
    """Write pictures of a folder a class: ``train_cat=2`` of them."""
    for name, count in counts.items():
        folder = root / name.replace("_", "/")
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{i}.jpg").write_bytes(jpeg(i, width=30, height=20))


def test_class_folders_take_turns_and_pictures_lose_their_edges(tmp_path):
    write_own(tmp_path, train_cat=2, train_dog=2, test_cat=1, test_dog=1)
    Image.fromarray(
        np.tile(np.uint8([[0] * 5 + [200] * 10 + [0] * 5])[:, :, None], (10, 1, 3))
    ).save(tmp_path / "train/cat/0.jpg", "PNG")
    found = _folders.read(tmp_path, OWN).images
    assert found.train_y.tolist() == [0, 1, 0, 1]
    assert found.test_y.tolist() == [0, 1]
    (x,) = found.train_x.chunks(4)
    assert x.shape == (4, 3, 8, 8)
    assert (x[0, :, :, 1:-1] == 200).all()
    assert (x[0] > 150).all()  # Pillow looks a pixel beyond what it cuts


def test_sixteen_bits_a_pixel_are_refused(tmp_path):
    path = tmp_path / "grey.png"
    Image.fromarray(np.full((8, 8), 12_000, np.uint16)).save(path)
    pictures = Pictures([str(path)], opened, lambda picture: picture, 8)
    with pytest.raises(ValueError, match=r"grey\.png cannot .* 16 bits a pixel.* save it with 8"):
        [*pictures.chunks(1)]


@pytest.mark.parametrize(
    ("counts", "match"),
    [
        ({"train_cat": 4, "test_cat": 2}, r"train has 4 pictures in 1 folders.* says 4 in 2"),
        ({"train_cat": 2, "train_dog": 3, "test_cat": 1, "test_dog": 1}, r"has 5 pictures in 2"),
        (
            {"train_cat": 2, "train_dog": 2, "test_cat": 1, "test_cow": 1},
            r"train lacks 1 .*first of them cow",
        ),
        ({"train_cat": 2, "train_dog": 2, "test_cat": 2}, r"test lacks 1 .*first of them dog"),
        ({"train_cat": 4, "train_dog": 0, "test_cat": 1, "test_dog": 1}, r"train.dog has no pict"),
        ({"train_cat": 2, "train_dog": 2}, r"there is no .*test; put a folder a class there"),
    ],
)
def test_class_folders_that_are_not_as_said_are_refused(tmp_path, counts, match):
    write_own(tmp_path, **counts)
    with pytest.raises(ValueError, match=match):
        _folders.read(tmp_path, OWN)


@pytest.mark.parametrize("cats", [0, 1])
def test_pictures_of_another_format_are_told(tmp_path, cats):
    write_own(tmp_path, train_cat=cats, train_dog=2, test_cat=1, test_dog=1)
    (tmp_path / "train/cat/7.gif").touch()
    with pytest.raises(ValueError, match=r"7\.gif is not read, only \.jpeg, \.jpg, \.png"):
        _folders.read(tmp_path, OWN)


def test_a_label_of_ten_is_svhns_zero(tmp_path):
    write_svhn(tmp_path, y=np.full((12, 1), 10.0))
    assert svhn.read(tmp_path).images.train_y.tolist() == [0] * 12
