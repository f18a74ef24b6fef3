"""What arrays in files have to be: uint8 pictures in a known layout, and a whole number for each.

Both are told from an array's head, before it is read: a small file may unpack to a large array.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

N = -1  # in a layout, the number of images
WHOLE = 2**53  # float64 has every whole number up to here


def count(
    where: str, kind: str, shape: tuple[int, ...], layouts: Sequence[tuple[int, ...]], most: int
) -> int:
    """Count the images of an array.

    Args:
        where: says which array of which file, for messages.
        kind: the name of its dtype.
        layouts: shapes that it may have.
        most: images that the set has.

    Raises:
        ValueError: it has another type or shape, no images or more; says what is read.
    """
    fits = [layout for layout in layouts if len(layout) == len(shape) and all(
        size in (N, given) for size, given in zip(layout, shape, strict=True))]  # fmt: skip
    if kind != "uint8" or not fits:
        wanted = " or ".join(str(layout).replace(str(N), "N") for layout in layouts)
        raise ValueError(
            f"{where} is {kind} of shape {shape}, not uint8 of shape {wanted}; replace it"
        )
    found = shape[fits[0].index(N)]
    if not 0 < found <= most:
        raise ValueError(f"{where} has {found} images, and the set has {most}; replace it")
    return found


def check_labels(where: str, kind: str, shape: tuple[int, ...], images: int) -> None:
    """Refuse an array that cannot hold a label for each image.

    Raises:
        ValueError: it holds no numbers, or more or fewer than there are images.
    """
    number = kind.rstrip("0123456789") in ("int", "uint", "float")
    if not number or math.prod(shape) != images or max(shape, default=0) != images:
        raise ValueError(
            f"{where} is {kind} of shape {shape}, not one whole number for each of {images} images"
        )


def check_distinct(stacks: Mapping[str, Tensor]) -> None:
    """Refuse a stack of images that is a copy of another; single images may be in several.

    Raises:
        ValueError: names both.
    """
    for (name, x), (other, same) in combinations(stacks.items(), 2):
        if torch.equal(x, same):
            raise ValueError(f"{name} and {other} hold the same images; replace the wrong one")


def labels(where: str, values: object, images: int) -> Tensor:
    """Read labels (N,) int64 from a list, or an array (N,), (N, 1) or (1, N), of whole numbers.

    Raises:
        ValueError: they are no whole numbers, or more or fewer than there are images.
    """
    try:
        given = np.asarray(values)
    except ValueError:  # lists of several lengths in a list
        given = np.array(None)
    check_labels(where, given.dtype.name, given.shape, images)
    numbers = given.ravel().astype(np.float64)
    strange = numbers[~((numbers == np.trunc(numbers)) & (np.abs(numbers) < WHOLE))]
    if len(strange):
        raise ValueError(f"{where} holds {strange[0]:g}, and labels are whole numbers")
    return torch.from_numpy(numbers.astype(np.int64))
