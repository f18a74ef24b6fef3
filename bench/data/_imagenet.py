"""What the two choices of 100 ImageNet classes share: where the pictures are, and their sizes."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data import Images, Source
from bench.data._files import reading
from bench.data._pictures import Pictures, listed, opened

if TYPE_CHECKING:
    from PIL.Image import Image

ROOTS = ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")  # below the data folder
SOLUTION = "LOC_val_solution.csv"  # Kaggle's: the class of each validation picture
SQUASHED, SHORTER, MIDDLE = 256, 256, 224  # pixels

Found = list[tuple[Path, str]]  # a picture and its WordNet id


def read(folder: Path, name: str, wnids: Sequence[str]) -> Source:
    """List the pictures of some classes; labels count the sorted WordNet ids.

    Training pictures stand by label, then file name. Test pictures stand by file name alone, which
    is the order of the official numbers in every layout, and mixes the classes.

    Raises:
        ValueError: there are no pictures of a class, or it is not known which picture has which.
        OSError: there is no ImageNet below the folder; says where it was looked for.
    """
    root = _root(folder, name)
    train = sorted(_by_class(root / "train", wnids), key=lambda found: (found[1], found[0].name))
    if any((root / "val" / wnid).is_dir() for wnid in wnids):
        test = _by_class(root / "val", wnids)
    else:
        test = _by_solution(root / "val", wnids, (root / SOLUTION, folder / SOLUTION))
    test.sort(key=lambda found: (found[0].name, found[1]))
    train_x = Pictures([str(path) for path, _ in train], opened, squashed, SQUASHED)
    test_x = Pictures([str(path) for path, _ in test], opened, middle, MIDDLE)
    train_y, test_y = (_labels(found, wnids) for found in (train, test))
    images = Images(train_x, train_y, test_x, test_y, train_x.sizes())
    return Source(images, official=False)


def squashed(picture: "Image") -> "Image":
    """Make the whole picture a square, whatever its proportions."""
    from PIL.Image import Resampling

    return picture.resize((SQUASHED, SQUASHED), Resampling.BILINEAR)


def middle(picture: "Image") -> "Image":
    """Resize the shorter side and take the middle, as torchvision's Resize and CenterCrop do."""
    from PIL.Image import Resampling

    width, height = (int(SHORTER * side / min(picture.size)) for side in picture.size)
    left, top = round((width - MIDDLE) / 2), round((height - MIDDLE) / 2)
    whole = picture.resize((width, height), Resampling.BILINEAR)
    return whole.crop((left, top, left + MIDDLE, top + MIDDLE))


def _root(folder: Path, name: str) -> Path:
    """Find the folder of train/ and val/; one of just these classes comes first."""
    places = [folder / place for place in (name, *ROOTS)]
    for place in places:
        if (place / "train").is_dir() and (place / "val").is_dir():
            return place
    raise OSError(
        f"there is no ImageNet below {folder}: looked for train/ and val/ with a folder a class in "
        f"{', '.join(map(str, places))}; val/ may be flat where {SOLUTION} is beside it or in "
        f"{folder}. ImageNet asks for registration (image-net.org), so nothing is downloaded: put "
        "it there, or name the folder that holds it by --config data_dir=FOLDER or ONESTEP_DATA"
    )


def _by_class(split: Path, wnids: Sequence[str]) -> Found:
    found = [(path, wnid) for wnid in wnids for path in listed(split / wnid)]
    return _complete(found, split, wnids)


def _by_solution(split: Path, wnids: Sequence[str], places: Sequence[Path]) -> Found:
    solution = next((path for path in places if path.is_file()), None)
    if solution is None:
        raise ValueError(
            f"{split} has no class folders, and the file that says which picture is of which "
            f"class is neither {' nor '.join(map(str, places))}"
        )
    classes = _solved(solution)
    pictures = listed(split)
    strange = sorted(path.name for path in pictures if path.stem not in classes)
    if strange:
        raise ValueError(
            f"{solution} does not name {len(strange)} pictures of {split}: {strange[:3]}"
        )
    wanted = set(wnids)
    found = [(path, classes[path.stem]) for path in pictures if classes[path.stem] in wanted]
    return _complete(found, split, wnids)


def _solved(solution: Path) -> Mapping[str, str]:
    """Map pictures to WordNet ids: the first word of the second column."""
    with reading(solution), solution.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    try:
        return {row[0]: row[1].split()[0] for row in rows}
    except IndexError:
        raise ValueError(
            f"{solution} has lines without a picture and its class; replace it by the official file"
        ) from None


def _complete(found: Found, split: Path, wnids: Sequence[str]) -> Found:
    missing = sorted(set(wnids) - {wnid for _, wnid in found})
    if missing:
        first = ", ".join(missing[:3])
        raise ValueError(
            f"{split} has no pictures of {len(missing)} of {len(wnids)} classes, the first of them "
            f"{first}; unpack them there"
        )
    return found


def _labels(found: Found, wnids: Sequence[str]) -> Tensor:
    label = {wnid: i for i, wnid in enumerate(sorted(wnids))}
    return torch.tensor([label[wnid] for _, wnid in found])
