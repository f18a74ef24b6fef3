"""Tiny ImageNet is read from its archive or folder; bad files are named, and leave nothing."""

import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from miniatures import (
    TEST,
    TRAIN,
    WNIDS,
    jpeg,
    left_behind,
    pixels,
    prepared,
    tiny_files,
    write_tiny,
)

from bench import data
from bench.data import _pictures, tiny_imagenet


@pytest.fixture
def three_classes(monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "INFO", tiny_imagenet.INFO._replace(classes=3))


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
    busy, plain = threading.Lock(), zipfile.ZipExtFile.read

    def alone(self, n=-1):
        assert busy.acquire(blocking=False), "two threads at once"
        threading.Event().wait(0.005)
        content = plain(self, n)
        busy.release()
        return content

    write_tiny(tmp_path, tiny_files(), packed=True)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", alone)
    monkeypatch.setattr(_pictures, "_threads", lambda: ThreadPoolExecutor(4))
    assert len(prepared("tiny_imagenet", tmp_path).images.train_x) == 9


@packed_or_not
@pytest.mark.parametrize("content", [b"no picture", TRAIN["n01000000_2.JPEG"][:500]])
def test_an_unreadable_picture_is_named(tmp_path, three_classes, packed, content):
    files = tiny_files()
    files["tiny-imagenet-200/train/n01000000/images/n01000000_2.JPEG"] = content
    write_tiny(tmp_path, files, packed=packed)
    match = r"n01000000/images/n01000000_2\.JPEG cannot be read as a picture .*replace it"
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
        (
            "val/val_annotations.txt",
            b"val_2.JPEG",
            r"no class of wnids.txt, .* 1 of 4 pictures, .*val_2\.JPEG",
        ),
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
    with pytest.raises(ValueError, match=r"wnids\.txt is missing; put the official file there"):
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
