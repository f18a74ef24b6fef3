"""CIFAR-100: 60,000 colour photographs of 32x32 pixels in 100 classes, with fine labels.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
Licence: none stated; the authors ask for a citation of the report.
Splits: official, 50,000 and 10,000.
Files: cifar-100-python/ below the data folder, as in the official archive, python version; or
    its pickles saved again by Python 3, as of ``cifar10``.
"""

from pathlib import Path

from bench.data import Images, Info, Source
from bench.data._cifar import batch, unpacked
from bench.data._files import official
from bench.view import Augment

INFO = Info(
    shape=(3, 32, 32),
    classes=100,
    train=50_000,
    test=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    eps=8,
    augment=Augment(pad=4, flip=True),
    # of the unpacked files only these sums are published, as in torchvision
    files={
        "cifar-100-python/train": "md5:16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
    download=169_001_437,
)
URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
PUBLISHED = "sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"


def read(folder: Path) -> Source:
    """Read the official files, downloading them if the folder is not there.

    Raises:
        ValueError: a file is missing, truncated or not of this format.
        OSError: there is nothing to read and no network.
    """
    unpacked(URL, PUBLISHED, folder, "cifar-100-python", "train")
    train, test = (batch(folder / name, "fine_labels", INFO.train) for name in INFO.files)
    return Source(Images(*train, *test), official(folder, INFO.files))
