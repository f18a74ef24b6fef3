"""Miniatures in the official layouts are read for real; bad files are named, and leave nothing."""

import errno
import hashlib
import io
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from bench import data
from bench.data import (
    _cache,
    _imagenet,
    _pictures,
    imagenet100,
    imagenet100_cmc,
    pathmnist,
    svhn,
    tiny_imagenet,
    tissuemnist,
)
from bench.data._files import fetch
from bench.data._pictures import Pictures
from bench.runs import catalogue

NEW = ["imagenet100", "imagenet100_cmc", "pathmnist", "svhn", "tiny_imagenet", "tissuemnist"]
CONTENT = np.random.default_rng(0).bytes(600_000)
SUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


def jpeg(seed, width=64, height=64, mode="RGB"):
    """A smooth random picture, as the bytes of a file."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 4) if mode == "L" else (5, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), 2).save(file, "JPEG", quality=90)
    return file.getvalue()


def pixels(content):
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB")).copy())


def left_behind(folder):
    """Half-written files."""
    return [*folder.rglob("*.safetensors*"), *folder.rglob("*.part")]


def prepared(name, folder):
    data.prepare(name, folder)
    return data.load(name, folder)


@pytest.mark.parametrize("dataset", NEW)
def test_what_is_known_can_be_read_without_torch(dataset):
    info = data.info(dataset)
    for keyword in set(info._fields) - {"augment"}:
        assert catalogue.argument(f"bench/data/{dataset}.py", "INFO", keyword) == getattr(
            info, keyword
        )


# Pictures.


def test_pictures_are_decoded_a_chunk_at_a_time():
    files, opened = {str(i): jpeg(i, 8, 8) for i in range(5)}, []

    def stream(name):
        opened.append(name)
        return io.BytesIO(files[name])

    chunks = Pictures(list(files), stream, lambda picture: picture, 8).chunks(2)
    first = next(chunks)
    assert len(opened) == 2
    found = torch.cat([first, *chunks])
    assert torch.equal(found, torch.stack([pixels(files[name]) for name in files]).movedim(3, 1))


# Tiny ImageNet: the archive has an entry for each folder, in no order.

WNIDS = ["n03000000", "n01000000", "n02000000"]  # wnids.txt is not sorted either
TRAIN = {f"{w}_{i}.JPEG": jpeg(10 * j + i) for j, w in enumerate(WNIDS) for i in (10, 0, 2)}
TRAIN["n02000000_2.JPEG"] = jpeg(99, mode="L")
TEST = {f"val_{i}.JPEG": jpeg(100 + i) for i in (2, 10, 0, 1)}
TEST_WNIDS = {"val_0.JPEG": 2, "val_1.JPEG": 0, "val_2.JPEG": 1, "val_10.JPEG": 2}


def tiny_files():
    """Every file of a miniature by its name."""
    lines = [f"{name}\t{WNIDS[j]}\t0\t32\t44\t62\n" for name, j in TEST_WNIDS.items()]
    files = {
        "wnids.txt": "".join(f"{wnid}\n" for wnid in WNIDS).encode(),
        "words.txt": b"n01000000\ta thing\n",
        "val/val_annotations.txt": "".join(lines).encode(),
        "test/images/test_0.JPEG": jpeg(3),
    }
    for name, content in TRAIN.items():
        wnid = name.partition("_")[0]
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        files[f"train/{wnid}/images/{name}"] = content
    files |= {f"val/images/{name}": content for name, content in TEST.items()}
    return {f"tiny-imagenet-200/{name}": content for name, content in files.items()}


def write_tiny(folder, files, *, packed):
    if packed:
        folders = {f"{parent}/" for name in files for parent in list(Path(name).parents)[:-1]}
        with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
            for name in sorted(folders):
                archive.writestr(name, b"")
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@pytest.fixture
def three_classes(monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(classes=3))
    monkeypatch.setattr(imagenet100, "CLASSES", tuple(WNIDS))


packed_or_not = pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])


@packed_or_not
def test_tiny_imagenet_is_read_in_the_official_order(tmp_path, three_classes, packed):
    write_tiny(tmp_path, tiny_files(), packed=packed)
    found = prepared("tiny_imagenet", tmp_path)
    order = [f"{wnid}_{i}.JPEG" for wnid in sorted(WNIDS) for i in (0, 2, 10)]
    wanted = torch.stack([pixels(TRAIN[name]) for name in order]).movedim(3, 1)
    assert torch.equal(found.images.train_x, wanted)
    assert found.images.train_y.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    wanted = torch.stack([pixels(TEST[f"val_{i}.JPEG"]) for i in (0, 1, 2, 10)]).movedim(3, 1)
    assert torch.equal(found.images.test_x, wanted)
    assert found.images.test_y.tolist() == [1, 2, 0, 1]
    grey = found.images.train_x[4]
    assert torch.equal(grey[0], grey[1])
    assert not found.official


def test_of_archive_and_folder_the_archive_is_read(tmp_path, three_classes):
    write_tiny(tmp_path, tiny_files(), packed=True)
    (tmp_path / "tiny-imagenet-200").mkdir()
    assert len(tiny_imagenet.read(tmp_path).images.train_x) == 9


def test_an_archive_is_read_by_one_thread_at_a_time(tmp_path, three_classes, monkeypatch):
    busy, plain = threading.Lock(), zipfile.ZipFile.read

    def alone(self, name):
        assert busy.acquire(blocking=False), "two threads at once"
        threading.Event().wait(0.005)
        content = plain(self, name)
        busy.release()
        return content

    write_tiny(tmp_path, tiny_files(), packed=True)
    monkeypatch.setattr(zipfile.ZipFile, "read", alone)
    monkeypatch.setattr(_pictures, "_threads", lambda: ThreadPoolExecutor(4))
    assert len(prepared("tiny_imagenet", tmp_path).images.train_x) == 9


@packed_or_not
@pytest.mark.parametrize("content", [b"no picture", TRAIN["n01000000_2.JPEG"][:500]])
def test_an_unreadable_picture_is_named(tmp_path, three_classes, packed, content):
    files = tiny_files()
    files["tiny-imagenet-200/train/n01000000/images/n01000000_2.JPEG"] = content
    write_tiny(tmp_path, files, packed=packed)
    match = r"n01000000/images/n01000000_2\.JPEG cannot be read as a picture .*official file"
    with pytest.raises(ValueError, match=match):
        data.prepare("tiny_imagenet", tmp_path)
    assert not left_behind(tmp_path)


def test_a_picture_damaged_inside_the_archive_is_named(tmp_path, three_classes):
    write_tiny(tmp_path, tiny_files(), packed=True)
    archive = tmp_path / "tiny-imagenet-200.zip"
    content = archive.read_bytes()
    picture = TEST["val_2.JPEG"]
    archive.write_bytes(content.replace(picture, picture[:300] + b"damaged" + picture[307:]))
    match = r"tiny-imagenet-200\.zip/.*/val_2\.JPEG cannot be read as a picture \(Bad CRC-32"
    with pytest.raises(ValueError, match=match):
        data.prepare("tiny_imagenet", tmp_path)
    assert not left_behind(tmp_path)


def test_a_picture_of_another_size_is_named(tmp_path, three_classes):
    files = tiny_files()
    files["tiny-imagenet-200/val/images/val_1.JPEG"] = jpeg(0, 32, 64)
    write_tiny(tmp_path, files, packed=True)
    with pytest.raises(ValueError, match=r"val_1\.JPEG has 32x64 pixels, not 64x64"):
        data.prepare("tiny_imagenet", tmp_path)
    assert not left_behind(tmp_path)


def test_a_truncated_archive_is_refused(tmp_path, three_classes):
    write_tiny(tmp_path, tiny_files(), packed=True)
    archive = tmp_path / "tiny-imagenet-200.zip"
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"200\.zip cannot be read .*truncated.*remove it"):
        data.prepare("tiny_imagenet", tmp_path)
    assert not left_behind(tmp_path)


@packed_or_not
@pytest.mark.parametrize(
    ("file", "line", "match"),
    [
        ("val/val_annotations.txt", b"val_2.JPEG", r"class of wnids.txt for 1 of 4 .* val_2\.JPEG"),
        ("wnids.txt", b"n02000000", r"wnids\.txt names 2 classes, not 3"),
    ],
)
def test_a_missing_line_is_refused(tmp_path, three_classes, packed, file, line, match):
    files = tiny_files()
    lines = files[f"tiny-imagenet-200/{file}"].splitlines(keepends=True)
    kept = [each for each in lines if not each.startswith(line)]
    files[f"tiny-imagenet-200/{file}"] = b"".join(kept)
    write_tiny(tmp_path, files, packed=packed)
    with pytest.raises(ValueError, match=match):
        data.prepare("tiny_imagenet", tmp_path)


@packed_or_not
def test_a_missing_list_is_named(tmp_path, three_classes, packed):
    files = tiny_files()
    del files["tiny-imagenet-200/wnids.txt"]
    write_tiny(tmp_path, files, packed=packed)
    with pytest.raises(ValueError, match=r"wnids\.txt cannot be read .*put the official file"):
        data.prepare("tiny_imagenet", tmp_path)


def test_a_training_class_that_no_list_names_is_refused(tmp_path, three_classes):
    files = tiny_files()
    files["tiny-imagenet-200/train/n04/images/n04_0.JPEG"] = jpeg(0)
    write_tiny(tmp_path, files, packed=False)
    with pytest.raises(ValueError, match=r"wnids\.txt lacks 1 classes of train/: \['n04'\]"):
        data.prepare("tiny_imagenet", tmp_path)


def test_a_data_folder_one_level_too_deep_is_told(tmp_path):
    write_tiny(tmp_path, tiny_files(), packed=False)
    with pytest.raises(ValueError, match=r"name the folder that holds tiny-imagenet-200, which is"):
        tiny_imagenet.read(tmp_path / "tiny-imagenet-200")


# ImageNet-100.


def test_the_lists_name_100_classes_each():
    for name, first, last in (
        (imagenet100, "n01440764", "n02077923"),
        (imagenet100_cmc, "n01558993", "n13040303"),
    ):
        assert len(set(name.CLASSES)) == name.INFO.classes == 100
        assert list(name.CLASSES) == sorted(name.CLASSES)
        assert (name.CLASSES[0], name.CLASSES[-1]) == (first, last)
    assert len({*imagenet100.CLASSES} & {*imagenet100_cmc.CLASSES}) == 8


PHOTOS = {
    f"{wnid}_{i}.JPEG": jpeg(10 * j + i, width=300 + i, height=280 + 10 * j)
    for j, wnid in enumerate(WNIDS)
    for i in (7, 30)
}
HELD_OUT = {f"ILSVRC2012_val_0000000{i}": (WNIDS[i % 3], jpeg(i, 230, 400)) for i in range(6)}


def write_imagenet(folder, place="imagenet", flat=None, but=()):
    """Write train/ and val/ at a place; val/ is flat if ``flat`` is the folder of the solution."""
    for name, content in PHOTOS.items():
        path = folder / place / "train" / name.partition("_")[0] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (path.parent / "._hidden.JPEG").write_bytes(b"what macOS leaves")
    held_out = HELD_OUT | {"ILSVRC2012_val_00000099": ("n09999999", jpeg(9))}  # of another class
    for name, (wnid, content) in held_out.items():
        path = folder / place / "val" / ("" if flat else wnid) / f"{name}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if flat:
        rows = [
            f"{name},{wnid} 85 1 499 272 {wnid} 1 2 3 4 \n" for name, (wnid, _) in held_out.items()
        ]
        kept = [row for row in rows if not row.startswith(tuple(but))]
        text = "".join(["ImageId,PredictionString\n", *reversed(kept)])
        (folder / flat / "LOC_val_solution.csv").write_text(text)


def test_imagenet_is_read_in_order_with_its_proportions(tmp_path, three_classes):
    write_imagenet(tmp_path)
    found = prepared("imagenet100", tmp_path)
    order = sorted(PHOTOS)  # by class, then name: 30 before 7
    assert found.images.train_y.tolist() == [0, 0, 1, 1, 2, 2]
    sizes = [pixels(PHOTOS[name]).shape[:2] for name in order]
    assert found.images.train_size.tolist() == [list(size) for size in sizes]
    whole = Image.open(io.BytesIO(PHOTOS[order[3]])).resize((256, 256), Image.Resampling.BILINEAR)
    assert torch.equal(found.images.train_x[3], torch.from_numpy(np.array(whole)).permute(2, 0, 1))
    assert found.images.test_y.tolist() == [2, 0, 1, 2, 0, 1]  # the order of the numbers
    assert found.images.test_x.shape == (6, 3, 224, 224)
    assert not found.official


def test_every_layout_gives_the_same_data(tmp_path, three_classes):
    sums = set()
    kaggle = "ILSVRC/Data/CLS-LOC"
    for number, (place, flat) in enumerate(
        [
            ("imagenet", None),
            ("ILSVRC2012", None),
            ("imagenet100", None),
            (kaggle, None),
            (kaggle, "."),
            ("imagenet", "imagenet"),
        ]
    ):
        folder = tmp_path / str(number)
        write_imagenet(folder, place, flat)
        sums.add(prepared("imagenet100", folder).checksum)
    assert len(sums) == 1


def test_a_folder_of_just_these_classes_comes_first(tmp_path, three_classes):
    for split in ("train", "val"):
        (tmp_path / "imagenet" / split).mkdir(parents=True)
    write_imagenet(tmp_path, "imagenet100")
    assert len(imagenet100.read(tmp_path).images.test_x) == len(HELD_OUT)


def test_without_imagenet_it_is_said_where_it_was_looked_for(tmp_path):
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    with pytest.raises(OSError, match="there is no ImageNet below") as error:
        data.prepare("imagenet100_cmc", tmp_path)
    for place in ("imagenet100_cmc", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"):
        assert str(tmp_path / place) in str(error.value)
    assert "registration" in str(error.value)
    assert "LOC_val_solution.csv" in str(error.value)


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_classes_are_counted_and_the_first_are_named(tmp_path, three_classes, split):
    write_imagenet(tmp_path)
    shutil.rmtree(tmp_path / "imagenet" / split / "n03000000")
    for path in (tmp_path / "imagenet" / split / "n01000000").iterdir():
        path.unlink()
    match = rf"{split} has no pictures of 2 of 3 classes, the first of them n01000000, n03000000;"
    with pytest.raises(ValueError, match=match):
        data.prepare("imagenet100", tmp_path)


def test_flat_validation_pictures_need_the_solution(tmp_path, three_classes):
    write_imagenet(tmp_path, flat=".")
    (tmp_path / "LOC_val_solution.csv").unlink()
    with pytest.raises(
        ValueError, match=r"no class folders, and .* neither .* nor .*solution\.csv"
    ):
        data.prepare("imagenet100", tmp_path)


def test_a_picture_that_the_solution_lacks_is_named(tmp_path, three_classes):
    write_imagenet(tmp_path, flat=".", but=["ILSVRC2012_val_00000003"])
    match = r"solution\.csv does not name 1 pictures of .*: \['ILSVRC2012_val_00000003.JPEG'\]"
    with pytest.raises(ValueError, match=match):
        data.prepare("imagenet100", tmp_path)


def test_a_damaged_solution_is_named(tmp_path, three_classes):
    write_imagenet(tmp_path, flat=".")
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_0\n")
    with pytest.raises(ValueError, match=r"solution\.csv has lines without a picture"):
        data.prepare("imagenet100", tmp_path)


def test_an_unreadable_photograph_in_the_middle_is_named(tmp_path, three_classes):
    write_imagenet(tmp_path)
    path = tmp_path / "imagenet/train/n02000000/n02000000_30.JPEG"
    path.write_bytes(path.read_bytes()[:2000])  # its head, and so its size, can still be read
    with pytest.raises(ValueError, match=r"n02000000_30\.JPEG cannot be read as a picture"):
        data.prepare("imagenet100", tmp_path)
    assert not left_behind(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_test_pictures_are_resized_and_cropped_as_by_torchvision():
    import sklearn
    from torchvision.transforms import CenterCrop, Compose, Resize

    theirs = Compose([Resize(256), CenterCrop(224)])
    photos = Path(sklearn.__file__).parent / "datasets/images"
    for name in ("china.jpg", "flower.jpg"):
        photo = Image.open(photos / name)
        for size in (photo.size, (427, 640), (500, 333), (375, 500), (61, 47), (256, 300), (2, 9)):
            given = photo if size == photo.size else photo.resize(size)
            assert _imagenet.middle(given).tobytes() == theirs(given).tobytes(), size
            assert _imagenet.squashed(given).tobytes() == Resize((256, 256))(given).tobytes()


# MedMNIST.


def write_med(folder, name="pathmnist", n=12, **changed):
    """Write a file with all keys of the official one; ``changed`` arrays replace theirs."""
    rng = np.random.default_rng(0)
    info = data.info(name)
    arrays = {}
    for split in ("train", "val", "test"):
        shape = (n, 28, 28, 3) if info.shape[0] == 3 else (n, 28, 28)
        arrays[f"{split}_images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = rng.integers(0, info.classes, (n, 1)).astype(np.uint8)
    arrays |= changed
    np.savez_compressed(
        folder / f"{name}.npz", **{key: a for key, a in arrays.items() if a is not None}
    )
    return arrays


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
        ("pathmnist", {"train_images": np.zeros((12, 64, 64, 3), np.uint8)}, r"of 28x28 pixels"),
        (
            "pathmnist",
            {"train_images": np.zeros((12, 28, 28, 3))},
            r"train_images of .* are float64",
        ),
        ("pathmnist", {"train_labels": np.zeros((12, 14), np.uint8)}, r"not one whole number"),
        ("pathmnist", {"train_labels": np.zeros((11, 1), np.uint8)}, r"each of 12 images"),
        ("pathmnist", {"train_labels": np.zeros((12, 1))}, r"train_labels .* are float64"),
        ("pathmnist", {"test_labels": np.full((12, 1), 9)}, r"run from 9 to 9, not 0 to 8"),
        ("pathmnist", {"test_labels": None}, r"pathmnist\.npz has no array test_labels"),
        (
            "pathmnist",
            {"train_labels": np.array([[None]] * 12)},
            r"npz cannot be read \(Object arr",
        ),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, dataset, changed, match):
    write_med(tmp_path, dataset, **changed)
    with pytest.raises(ValueError, match=match):
        data.prepare(dataset, tmp_path)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("kept", [0, 2000, -50])
def test_a_truncated_medmnist_file_is_refused(tmp_path, kept):
    write_med(tmp_path)
    path = tmp_path / "pathmnist.npz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"pathmnist\.npz cannot be read .*truncated.*remove it"):
        data.prepare("pathmnist", tmp_path)
    assert not left_behind(tmp_path)


# SVHN.


def write_svhn(folder, n=12, **changed):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        content = {
            "X": rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8),
            "y": (np.arange(n) % 10 + 1).astype(np.uint8)[:, None],
        } | changed
        kept = {key: value for key, value in content.items() if value is not None}
        scipy.io.savemat(folder / f"{split}_32x32.mat", kept, do_compression=True)
    return content


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
        ({"y": np.full((9, 1), 1)}, r"12 images and 9 labels"),
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


# The decoded copy.


def test_a_disk_without_room_is_refused_with_what_is_needed(tmp_path, monkeypatch):
    pictures = Pictures(["n01440764_18.JPEG"] * 130_000, pytest.fail, pytest.fail, 256)
    full = shutil.disk_usage(tmp_path)._replace(free=10**10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(OSError, match=r"^all\.safetensors needs 25\.6 GB and .* has 10\.0 GB left"):
        _cache.write(tmp_path / "all.safetensors", "all", {"train_x": pictures}, official=False)
    assert not left_behind(tmp_path)


def test_a_disk_that_fills_while_writing_is_left_clean(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, content):
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    write_svhn(tmp_path)
    monkeypatch.setattr(_cache.os, "fdopen", lambda handle, mode: Full(handle, mode))
    with pytest.raises(OSError, match=r"svhn\.safetensors needs .* make room"):
        data.prepare("svhn", tmp_path)
    assert not left_behind(tmp_path)


SLOW = """
import sys
from pathlib import Path
from time import monotonic, sleep
from bench import data
from bench.data import svhn

folder, plain = Path(sys.argv[1]), svhn.read

def read(given):
    (folder / "reads").touch()
    until = monotonic() + 30
    while not (folder / "waits").exists() and monotonic() < until:  # for the other to come
        sleep(0.01)
    return plain(given)

svhn.read = read
data.prepare("svhn", folder)
print(data.load("svhn", folder).checksum)
"""


def test_of_two_processes_one_decodes_and_the_other_waits(tmp_path, monkeypatch):
    write_svhn(tmp_path)
    monkeypatch.setattr(svhn, "read", lambda folder: pytest.fail("decoded twice"))
    said = []

    def say(line):
        said.append(line)
        (tmp_path / "waits").touch()

    with subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path],
        cwd=catalogue.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        while not (tmp_path / "reads").exists() and other.poll() is None:
            time.sleep(0.01)
        path = data.prepare("svhn", tmp_path, say)
        checksum = other.communicate(timeout=30)[0].strip()
    assert ["svhn belongs to another running job" in line for line in said] == [True]
    assert path == data.prepared("svhn", tmp_path)
    assert data.load("svhn", tmp_path).checksum == checksum


# Downloads.


class Server(ThreadingHTTPServer):
    """Serves one content under every name, and may break off or know no ranges."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.status = content, True, 200
        self.breaks = []  # bytes after which each next connection breaks off
        self.asked, self.sent = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers["Range"])
        start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        body = server.content[start if server.ranges else 0 :]
        status = server.status
        if status == 200 and server.ranges:
            status = 206 if body else 416
        if status not in (200, 206):
            self.send_error(status)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: server.breaks.pop(0)] if server.breaks else body
        server.sent.append(len(body))
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(CONTENT) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_once(tmp_path, server):
    path = fetch(server.url, tmp_path / "new" / "file", SUM)
    assert fetch(server.url, path, SUM) == path
    assert path.read_bytes() == CONTENT
    assert server.sent == [len(CONTENT)]
    assert not left_behind(tmp_path)


def test_a_broken_download_goes_on_where_it_stopped(tmp_path, server):
    server.breaks = [250_000, 100_000]
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", "bytes=250000-", "bytes=350000-"]
    assert sum(server.sent) == len(CONTENT)
    assert not left_behind(tmp_path)


def test_a_download_given_up_is_kept_for_the_next_try(tmp_path, server):
    server.breaks = [250_000, 0, 0, 0, 0, 0]
    with pytest.raises(OSError, match=r"broke off\)\. Put file into .*goes on where it stopped"):
        fetch(server.url, tmp_path / "file", SUM)
    assert (tmp_path / "file.part").stat().st_size == 250_000
    assert not (tmp_path / "file").exists()
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_a_server_that_cannot_go_on_starts_again(tmp_path, server):
    server.ranges, server.breaks = False, [250_000]
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert server.sent == [250_000, len(CONTENT)]


def test_a_download_that_is_complete_is_not_asked_for_again(tmp_path, server):
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert fetch(server.url, tmp_path / "file", SUM).read_bytes() == CONTENT
    assert (server.asked, server.sent) == ([f"bytes={len(CONTENT)}-"], [])
    assert not left_behind(tmp_path)


def test_a_file_that_is_not_served_says_what_to_put_where(tmp_path, server):
    server.status = 404
    match = rf"failed \(HTTP Error 404.*\)\. Put file into {tmp_path}, or name .*ONESTEP_DATA"
    with pytest.raises(OSError, match=match):
        fetch(server.url, tmp_path / "file", SUM)
    assert len(server.asked) == 1
    assert not left_behind(tmp_path)


def test_a_download_with_another_sum_is_removed(tmp_path, server):
    wrong = "sha256:" + 64 * "0"
    with pytest.raises(ValueError, match=rf"has not the published {wrong}; try again"):
        fetch(server.url, tmp_path / "file", wrong)
    assert not [*tmp_path.iterdir()]


def test_a_downloaded_archive_is_official(tmp_path, server, monkeypatch, three_classes):
    write_tiny(tmp_path, tiny_files(), packed=True)
    server.content = (tmp_path / "tiny-imagenet-200.zip").read_bytes()
    sums = {"tiny-imagenet-200.zip": "sha256:" + hashlib.sha256(server.content).hexdigest()}
    monkeypatch.setattr(tiny_imagenet, "URL", server.url)
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(files=sums))
    assert prepared("tiny_imagenet", tmp_path / "elsewhere").official


def test_a_downloaded_npz_is_official(tmp_path, server, monkeypatch):
    import medmnist

    write_med(tmp_path, "tissuemnist")
    server.content = (tmp_path / "tissuemnist.npz").read_bytes()
    md5 = hashlib.md5(server.content).hexdigest()
    monkeypatch.setitem(medmnist.INFO, "tissuemnist", {"url": server.url, "MD5": md5})
    sums = {"tissuemnist.npz": f"md5:{md5}"}
    monkeypatch.setattr(tissuemnist, "INFO", tissuemnist.INFO._replace(files=sums))
    assert prepared("tissuemnist", tmp_path / "elsewhere").official


def test_downloaded_matlab_files_are_official(tmp_path, server, monkeypatch):
    write_svhn(tmp_path)
    server.content = (tmp_path / "train_32x32.mat").read_bytes()  # for both names
    sums = dict.fromkeys(svhn.INFO.files, "sha256:" + hashlib.sha256(server.content).hexdigest())
    monkeypatch.setattr(svhn, "URL", server.url)
    monkeypatch.setattr(svhn, "INFO", svhn.INFO._replace(files=sums))
    assert prepared("svhn", tmp_path / "elsewhere").official


@pytest.mark.parametrize(
    ("dataset", "file"),
    [
        ("tiny_imagenet", "tiny-imagenet-200.zip"),
        ("svhn", "train_32x32.mat"),
        ("pathmnist", "pathmnist.npz"),
        ("tissuemnist", "tissuemnist.npz"),
    ],
)
def test_without_network_it_is_said_which_file_to_put_where(tmp_path, monkeypatch, dataset, file):
    def refuse(*args, **rest):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(OSError, match=rf"no route to host\)\. Put {file} into {tmp_path}, or"):
        data.prepare(dataset, tmp_path)
    assert not left_behind(tmp_path)
