"""Digits: 1,797 real handwritten digits of 8x8 pixels that ship inside scikit-learn.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (its test part), UCI.
Licence: CC BY 4.0.
Splits: none is official; 360 test digits are drawn evenly over the classes with a fixed seed.
Pixels: 0 to 16 in the file, scaled to 0 to 255.
"""

from pathlib import Path

import torch

from bench.data import Images, Info, Source
from bench.data._files import official
from bench.view import Augment

INFO = Info(
    shape=(1, 8, 8),
    classes=10,
    train=1437,
    test=360,
    mean=(0.305,),
    std=(0.376,),
    eps=51,
    augment=Augment(pad=1),
    # below scikit-learn's own folder
    files={
        "datasets/data/digits.csv.gz": (
            "sha256:09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
        )
    },
    download=0,
    decoded="74d6251a2a784939698692866d57469f719bf73f8c3a09cde6d0852f846544c4",
)


def read(folder: Path) -> Source:
    """Read the copy inside scikit-learn; the folder is not used."""
    import sklearn
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    y = torch.from_numpy(digits.target).long()
    rows = range(len(y))
    train, test = train_test_split(rows, test_size=INFO.test, random_state=0, stratify=y)
    inside = Path(sklearn.__file__).parent
    return Source(Images(x[train], y[train], x[test], y[test]), official(inside, INFO.files))
