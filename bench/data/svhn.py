"""SVHN: 99,289 house-number digits of 32x32 pixels, photographed from the street.

Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011.
Licence: non-commercial use only.
Splits: official, 73,257 and 26,032; the 531,131 easier extra digits are not used.
Files: train_32x32.mat and test_32x32.mat in the data folder.
Augmentation: cropped out of a border of 4 pixels but not mirrored, as in the code of GradAlign
    (data.py) and of N-FGSM (utils/data_utils.py).
Statistics: those of N-FGSM's code; GradAlign's does not normalise.
"""

from pathlib import Path

import torch
from torch import Tensor

from bench.data import Images, Info, Source
from bench.data._arrays import N, check_labels, count, labels
from bench.data._files import fetch, official, reading
from bench.view import Augment

INFO = Info(
    shape=(3, 32, 32),
    classes=10,
    train=73_257,
    test=26_032,
    mean=(0.4380, 0.4440, 0.4730),
    std=(0.1751, 0.1771, 0.1744),
    eps=8,
    augment=Augment(pad=4),
    files={
        "train_32x32.mat": (
            "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"
        ),
        "test_32x32.mat": (
            "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"
        ),
    },
    download=246_316_178,
)
URL = "http://ufldl.stanford.edu/housenumbers"
FLOATS = {"double": "float64", "single": "float32"}  # MATLAB's words and numpy's


def read(folder: Path) -> Source:
    """Read the official files, downloading those that are not there.

    Raises:
        ValueError: a file is truncated or not of this format.
        OSError: there is nothing to read and no network.
    """
    paths = [fetch(f"{URL}/{name}", folder / name, INFO.files[name]) for name in INFO.files]
    train, test = map(_split, paths)
    return Source(Images(*train, *test), official(folder, INFO.files))


def _split(path: Path) -> tuple[Tensor, Tensor]:
    """Read images (N, 3, 32, 32) uint8 and labels (N,) int64."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    with reading(path, MatReadError):
        heads = [(name, (FLOATS.get(kind, kind), shape)) for name, shape, kind in whosmat(path)]
    known: dict[str, tuple[str, tuple[int, ...]]] = dict(heads)
    if sorted(name for name, _ in heads if name in ("X", "y")) != ["X", "y"]:
        raise ValueError(f"{path} has no arrays X and y; replace it by the official file")
    n = count(f"X of {path}", *known["X"], [(32, 32, 3, N)], INFO.train)
    check_labels(f"y of {path}", *known["y"], n)
    with reading(path, MatReadError):
        content = loadmat(path, variable_names=("X", "y"))
    y = labels(f"y of {path}", content["y"], n)
    x = torch.from_numpy(content["X"]).permute(3, 2, 0, 1)
    return x, torch.where(y == 10, 0, y)  # 10 stands for 0
