"""ImageNet-100 is read from every layout of ImageNet; bad files are named, and leave nothing."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import WNIDS, jpeg, left_behind, pixels, prepared
from PIL import Image

from bench import data
from bench.data import _imagenet, imagenet100, imagenet100_cmc

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


@pytest.fixture
def three_classes(monkeypatch):
    monkeypatch.setattr(imagenet100, "CLASSES", tuple(WNIDS))


def test_the_lists_name_100_classes_each():
    for name, first, last in (
        (imagenet100, "n01440764", "n02077923"),
        (imagenet100_cmc, "n01558993", "n13040303"),
    ):
        assert len(set(name.CLASSES)) == name.INFO.classes == 100
        assert list(name.CLASSES) == sorted(name.CLASSES)
        assert (name.CLASSES[0], name.CLASSES[-1]) == (first, last)
    assert len({*imagenet100.CLASSES} & {*imagenet100_cmc.CLASSES}) == 8


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
