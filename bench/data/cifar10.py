"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
Licence: none stated; the authors ask for a citation of the report.
Splits: official, 50,000 and 10,000.
Files: cifar-10-batches-py/ below the data folder, as in the official archive, python version; or
    its pickles saved again by Python 3, with images as arrays (N, 32, 32, 3) or (N, 3, 32, 32).
"""

from pathlib import Path

import torch

from bench.data import Images, Info, Source
from bench.data._arrays import check_distinct
from bench.data._cifar import batch, unpacked
from bench.data._files import official
from bench.view import Augment

INFO = Info(
    shape=(3, 32, 32),
    classes=10,
    train=50_000,
    test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2471, 0.2435, 0.2616),
    eps=8,
    augment=Augment(pad=4, flip=True),
    files={
        "cifar-10-batches-py/data_batch_1": (
            "sha256:54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"
        ),
        "cifar-10-batches-py/data_batch_2": (
            "sha256:766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"
        ),
        "cifar-10-batches-py/data_batch_3": (
            "sha256:0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"
        ),
        "cifar-10-batches-py/data_batch_4": (
            "sha256:3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"
        ),
        "cifar-10-batches-py/data_batch_5": (
            "sha256:d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"
        ),
        "cifar-10-batches-py/test_batch": (
            "sha256:f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"
        ),
    },
    download=170_498_071,
    decoded="cb85cdd084bdd7718e8e746014bbc16f32cbe9ab4e0757d9f59e641b39f8f958",
)
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
PUBLISHED = "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def read(folder: Path) -> Source:
    """Read the official files, downloading them if the folder of batches is not there.

    Raises:
        ValueError: a file is missing, truncated, not of this format or a copy of another.
        OSError: there is nothing to read and no network.
    """
    unpacked(URL, PUBLISHED, folder, "cifar-10-batches-py", "data_batch_1")
    batches = {name: batch(folder / name, "labels", INFO.train) for name in INFO.files}
    check_distinct({str(folder / name): x for name, (x, _) in batches.items()})
    *parts, (test_x, test_y) = batches.values()
    train_x, train_y = (torch.cat(part) for part in zip(*parts, strict=True))
    return Source(Images(train_x, train_y, test_x, test_y), official(folder, INFO.files))
