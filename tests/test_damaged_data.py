"""Damaged, odd and hostile data files: one sentence, exit 1, and nothing half-written."""

import pickle
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from miniatures import (
    jpeg,
    left_behind,
    said,
    tiny_files,
    write_cifar,
    write_med,
    write_svhn,
    write_tiny,
)
from PIL import Image

from bench.data import imagenet100, tiny_imagenet

ROUNDS = 25  # of every kind of file
LONGEST = 800  # characters of a sentence


@pytest.fixture(autouse=True)
def three_classes(monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(classes=3))
    monkeypatch.setattr(imagenet100, "CLASSES", ("n01000000",))


@pytest.fixture
def refused(tmp_path, capsys):
    """What the program says of a data set that it refuses."""

    def run(name):
        _, error = said(capsys, name, "--folder", tmp_path)
        assert error.startswith(f"data set {name}: ")
        assert len(error.splitlines()) == 1 and len(error) < LONGEST, error
        assert not left_behind(tmp_path)
        return error

    return run


# Files damaged at random.


def write_imagenet(folder):
    for split in ("train/n01000000", "val"):
        (folder / "imagenet" / split).mkdir(parents=True)
        (folder / "imagenet" / split / "n1.JPEG").write_bytes(jpeg(len(split)))
    (folder / "imagenet/LOC_val_solution.csv").write_text("ImageId,Class\nn1,n01000000 1 2 3 4\n")


WRITERS = {
    "cifar10": write_cifar,
    "cifar10 of Python 3": lambda folder: write_cifar(folder, protocol=pickle.HIGHEST_PROTOCOL),
    "pathmnist": write_med,
    "svhn": write_svhn,
    "tiny_imagenet": lambda folder: write_tiny(folder, tiny_files(), packed=True),
    "tiny_imagenet unpacked": lambda folder: write_tiny(folder, tiny_files(), packed=False),
    "imagenet100": write_imagenet,
}


def damaged(draw, content):
    """Change some bytes, cut some out, double some, or replace all."""
    kind, at = draw.random(), draw.randrange(max(1, len(content)))
    end = min(len(content), at + draw.choice((1, 4, 30, 1000)))
    if kind < 0.4:  # near the head, where formats have their structure
        at = draw.randrange(max(1, min(300, len(content)))) if draw.random() < 0.7 else at
        new = draw.choice((b"\0", b"\xff", b"\x7f\xff\xff\xff", draw.randbytes(3)))
        return content[:at] + new + content[at + len(new) :]
    if kind < 0.55:
        return content[:at] + content[end:]
    if kind < 0.7:
        return content[:end] + content[at:]
    if kind < 0.85:
        return content[:at]
    return draw.choice((b"", b"[" * 9999, b"PK\x05\x06" + bytes(18), b"\x80\x02}.", b"\xff" * 300))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_damaged_at_random_is_read_or_refused_in_a_sentence(tmp_path, capsys, kind):
    name, read = kind.partition(" ")[0], 0
    for i in range(ROUNDS):
        draw, folder = random.Random(f"{kind} {i}"), tmp_path / str(i)
        folder.mkdir()
        WRITERS[kind](folder)
        path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        path.write_bytes(damaged(draw, path.read_bytes()))
        _, error = said(capsys, name, "--folder", folder)
        if error:
            assert error.startswith(f"data set {name}: "), error
            assert len(error.splitlines()) == 1 and len(error) < LONGEST, error
            assert not left_behind(folder)
        read += not error
    assert read < ROUNDS  # the damage is damage


# Pickles made by hand.

FIRST = pickle.dumps({b"labels": [0], b"data": np.zeros((1, 3072), np.uint8)}, protocol=2)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"cos\nsystem\n(S'false'\ntR.", "it asks for os.system, which no image batch needs"),
        (b"cnumpy\nload\n(S'x'\ntR.", "it asks for numpy.load, which"),
        (b"c_codecs\nencode\n(Vx\nVzlib\ntR.", "it asks for the codec zlib"),
        (b"c" + b"m" * 100_000 + b"\nx\n.", "mmm..."),
        (b"c\x1b[31mred\nx\n.", r"asks for ?[31mred.x"),
        (b"\x80\x02})\x85K\x01s.", "it has a tuple for a key"),
        (b"\x80\x02}()\x85K\x01u.", "it has a tuple for a key"),
        (b"()\x85K\x01d.", "it has a tuple for a key"),
        (b"\x80\x04\x8f()\x85\x90.", "it has no use for 144"),
        (b"\x80\x02" + b"]" * 9999 + b"a" * 9998 + b".", "holds a list, not a dict"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.", "cannot be read (MemoryError)"),
        (
            FIRST.replace(b"K\x01M\x00\x0c\x86", b"J\0\0\0\x01M\x00\x0c\x86"),
            "cannot be read (buffer",
        ),
        (FIRST + b"x", ""),  # what follows the end is not read
        (b"PK\x03\x04", "cannot be read"),
        (b"\x1f\x8b\x08", "it has no use for 31"),
    ],
)
def test_a_pickle_by_hand_is_refused(tmp_path, refused, content, match):
    path = write_cifar(tmp_path) / "data_batch_1"
    if not match:
        content, match = FIRST.replace(b"labels", b"lapels") + b"x", "is no batch of this data set"
    path.write_bytes(content)
    error = refused("cifar10")
    assert match in error
    assert str(path) in error


def test_a_pickle_too_large_for_a_batch_is_not_read(tmp_path, refused):
    path = write_cifar(tmp_path) / "data_batch_1"
    with path.open("r+b") as file:
        file.truncate(2**29)  # takes no room
    assert "data_batch_1 has 0.5 GB, which no batch has" in refused("cifar10")


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("labels", [0.5] * 4, "'labels' of .* holds 0.5, and labels are whole numbers"),
        ("labels", [float("nan")] * 4, "holds nan"),
        ("labels", [1e300] * 4, "holds 1e+300"),
        ("labels", [10**400] * 4, "is object of shape (4,), not one whole number for each of 4"),
        ("labels", [0] * 3, "is int64 of shape (3,), not one whole number for each of 4 images"),
        ("labels", [[1], [1, 2], [], []], "is object of shape ()"),
        ("labels", [True] * 4, "is bool of shape (4,)"),
        ("labels", np.eye(4), "is float64 of shape (4, 4)"),
        (
            "data",
            np.zeros((4, 28, 28, 3), np.uint8),
            "not uint8 of shape (N, 3072) or (N, 3, 32, 32)",
        ),
        ("data", np.zeros((4, 3072)), "is float64 of shape (4, 3072), not uint8"),
        ("data", np.zeros((0, 3072), np.uint8)[:, :], "has 0 images, and the set has 50000"),
        ("data", [[0] * 3072] * 4, "is no batch of this data set"),
    ],
)
def test_a_batch_of_another_kind_is_refused(tmp_path, refused, key, value, match):
    write_cifar(tmp_path, change=lambda content: content | {key.encode(): value}, protocol=4)
    error = refused("cifar10")
    for part in match.split(" .* "):
        assert part in error


# Arrays and pictures by hand.


def npy(*shape, body=b""):
    head = str({"descr": "|u1", "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


@pytest.mark.parametrize(
    ("key", "content", "match"),
    [
        ("train_images", npy(200_000, 28, 28, 3), "has 200000 images, and the set has 89996"),
        ("train_images", npy(-1, 28, 28, 3), "has -1 images"),
        ("train_images", npy(12, 64, 64, 3), "not uint8 of shape (N, 28, 28, 3); replace it"),
        (
            "train_labels",
            npy(2**40, 1),
            "is uint8 of shape (1099511627776, 1), not one whole number",
        ),
        ("train_images", npy(12, 28, 28, 3, body=b"few"), "cannot be read (EOF"),
        ("train_images", b"\x93NUMPY\x01\x00\x28\x23" + b"(" * 9000, "cannot be read"),
        ("train_images", b"\x93NUMPY\x09\x00" + bytes(99), "cannot be read"),
        ("train_images", b"hello", "cannot be read (EOF: reading magic string"),
    ],
)
def test_an_array_is_judged_by_its_head(tmp_path, refused, key, content, match):
    write_med(tmp_path, **{key: None})
    with zipfile.ZipFile(tmp_path / "pathmnist.npz", "a") as archive:
        archive.writestr(f"{key}.npy", content)
    assert match in refused("pathmnist")


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"y": np.full((12, 1), 1.5)}, "y of .* holds 1.5, and labels are whole numbers"),
        ({"y": np.array([[1]] * 12, dtype=object)}, "is cell of shape (12, 1), not one whole"),
        ({"y": np.ones((10**6, 1), np.uint8)}, "is uint8 of shape (1000000, 1), not one whole"),
        ({"X": np.zeros((12, 3, 32, 32), np.uint8)}, "not uint8 of shape (32, 32, 3, N)"),
        ({"X": {"a": 1}}, "X of .* is struct of shape (1, 1)"),
    ],
)
def test_a_matlab_file_is_judged_by_its_head(tmp_path, refused, monkeypatch, changed, match):
    write_svhn(tmp_path, **changed)
    error = refused("svhn")
    for part in match.split(" .* "):
        assert part in error


def test_a_matlab_array_of_too_many_is_not_read(tmp_path, refused, monkeypatch):
    from bench.data import svhn

    write_svhn(tmp_path)
    monkeypatch.setattr(svhn, "INFO", svhn.INFO._replace(train=11))
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.fail("read"))
    assert "has 12 images, and the set has 11" in refused("svhn")


def packed(folder, content, *, claim=None):
    """Pack Tiny ImageNet with one picture replaced, whose size the archive may not tell."""
    files = tiny_files()
    files["tiny-imagenet-200/val/images/val_1.JPEG"] = content
    path = folder / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    if claim:
        size = struct.pack("<I", len(content))
        assert path.read_bytes().count(size) == 2
        path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", claim)))


def test_a_member_that_unpacks_to_much_is_not_unpacked(tmp_path, refused):
    packed(tmp_path, bytes(5_000_000))
    assert "val_1.JPEG cannot be read as a picture (it unpacks to 5000000" in refused(
        "tiny_imagenet"
    )


def test_a_member_unpacks_to_no_more_than_it_says(tmp_path, refused):
    packed(tmp_path, bytes(60_000_000), claim=5000)
    tracemalloc.start()
    error = refused("tiny_imagenet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "val_1.JPEG cannot be read as a picture" in error
    assert peak < 30_000_000


def saved(kind, *size):
    import io

    file = io.BytesIO()
    Image.new("L", size).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (saved("GIF", 64, 64), "(it is no JPEG or PNG)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n", "(it is no JPEG or PNG)"),
        (saved("PNG", 10_000, 9_000), "exceeds limit of 89478485 pixels"),
        (saved("PNG", 32, 64), "has 32x64 pixels, not 64x64"),
    ],
    ids=["gif", "eps", "bomb", "small"],
)
def test_a_picture_of_another_kind_is_refused(tmp_path, refused, content, match):
    packed(tmp_path, content)
    assert match in refused("tiny_imagenet")


VAL = "tiny-imagenet-200/val/"
CLASS = "tiny-imagenet-200/train/n01000000/"


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "unpacked"])
@pytest.mark.parametrize(
    ("new", "gone", "match"),
    [
        (f"{CLASS}images/cat.JPEG", "", "elsewhere than train/WNID/images/WNID_NUMBER.JPEG: 1"),
        (f"{CLASS}images/n02000000_7.JPEG", "", "elsewhere than train/"),
        (f"{CLASS}images/deep/n01000000_7.JPEG", "", "elsewhere than train/"),
        (f"{CLASS}n01000000_7.png", "", "elsewhere than train/"),
        (f"{VAL}cat.JPEG", "", "elsewhere than val/images/val_NUMBER.JPEG or val/WNID/val_NUMBER"),
        (f"{CLASS}n01000000_10.JPEG", "", "train has 1 pictures twice, such as n01000000_10"),
        (f"{VAL}n01000000/val_1.jpg", "", "val has 1 pictures twice, such as val_1"),
        (f"{VAL}n01000000/val_1.JPEG", f"{VAL}images/val_1.JPEG", "or two, for 1 of 4 pictures"),
        (f"{VAL}n09/val_9.JPEG", "", "name no class of wnids.txt, or two, for 1 of 5 pictures"),
        ("", f"{VAL}val_annotations.txt", "val_annotations.txt is missing; put the official file"),
        ("", VAL, "has no pictures val/images/val_NUMBER.JPEG or val/WNID/val_NUMBER.JPEG"),
        ("", "tiny-imagenet-200/train", "has no pictures train/WNID/images/WNID_NUMBER.JPEG"),
    ],
)  # fmt: skip
def test_tiny_imagenet_in_another_layout_is_refused(tmp_path, refused, new, gone, match, pack):
    files = {k: v for k, v in tiny_files().items() if not (gone and k.startswith(gone))}
    write_tiny(tmp_path, files | ({new: jpeg(0)} if new else {}), packed=pack)
    assert match in refused("tiny_imagenet")


def test_more_pictures_than_the_set_has_are_refused(tmp_path, refused, monkeypatch):
    write_tiny(tmp_path, tiny_files(), packed=True)
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(train=8))
    assert "train has 9 pictures, and the set has 8" in refused("tiny_imagenet")


@pytest.mark.parametrize("content", [b"n01\n" * 1_500_000, b"\xff\xfe"], ids=["huge", "binary"])
def test_a_list_of_classes_of_another_kind_is_refused(tmp_path, refused, content):
    files = tiny_files() | {"tiny-imagenet-200/wnids.txt": content}
    write_tiny(tmp_path, files, packed=False)
    assert "wnids.txt cannot be read" in refused("tiny_imagenet")


# Things in the wrong place.


def test_files_that_lie_loosely_are_told_where_they_belong(tmp_path, refused):
    for path in write_cifar(tmp_path).iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "cifar-10-batches-py").rmdir()
    assert "data_batch_1 is looked for in" in refused("cifar10")
    (tmp_path / "cifar-10-python.tar.gz").touch()
    assert "cifar-10-python.tar.gz has not the published" in refused("cifar10")


@pytest.mark.parametrize("place", ["mine", "cifar-10-batches-py"])
def test_a_folder_that_lies_one_level_deeper_is_told(tmp_path, refused, place):
    write_cifar(tmp_path / place)
    inside = tmp_path / place / "cifar-10-batches-py"
    assert f"{inside} is looked for as {tmp_path / inside.name}" in refused("cifar10")


def test_a_file_in_other_capitals_is_told(tmp_path, refused):
    write_med(tmp_path)
    (tmp_path / "pathmnist.npz").rename(tmp_path / "PathMNIST.npz")
    assert "PathMNIST.npz is looked for as pathmnist.npz; rename it" in refused("pathmnist")


def test_a_data_folder_one_level_too_deep_is_told_wherever_one_stands(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(write_cifar(tmp_path))
    _, error = said(capsys, "cifar10", "--folder", ".")
    assert f"name the folder that holds cifar-10-batches-py, which is {tmp_path}" in error


@pytest.mark.parametrize(
    ("name", "file"),
    [("cifar10", "cifar-10-python.tar.gz"), ("svhn", "train_32x32.mat")],
)
def test_a_folder_by_a_files_name_is_told(tmp_path, refused, name, file):
    (tmp_path / file).mkdir()
    assert f"{file} is a folder, and a file of this name is looked for" in refused(name)


def test_a_file_of_medmnist_in_another_size_is_told(tmp_path, refused, monkeypatch):
    def refuse(*args, **rest):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    (tmp_path / "pathmnist_64.npz").touch()
    assert "pathmnist_64.npz, which is there, is of another size" in refused("pathmnist")


def test_what_the_system_forbids_is_told_in_its_words(tmp_path, refused, monkeypatch):
    write_svhn(tmp_path)

    def forbid(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("scipy.io.whosmat", forbid)
    error = refused("svhn")
    assert "Permission denied" in error
    assert "remove it" not in error
