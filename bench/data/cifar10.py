"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
Licence: none stated; the authors ask for a citation of the report.
Splits: official, 50,000 and 10,000.
Files: cifar-10-batches-py/ below the data folder, as in the official archive, python version.
"""

from pathlib import Path

import torch

from bench.data import Images, Info
from bench.data._pickles import unpickle

INFO = Info(
    shape=(3, 32, 32),
    classes=10,
    train=50_000,
    test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2471, 0.2435, 0.2616),
    pad=4,
    flip=True,
    sha256="cb85cdd084bdd7718e8e746014bbc16f32cbe9ab4e0757d9f59e641b39f8f958",
)
BATCHES = "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST = "test_batch"


def read(folder: Path) -> Images:
    """Read the official files, downloading them if the folder of batches is not there.

    Raises:
        ValueError: a file is missing, truncated or not of this format.
        OSError: there is nothing to read and no network.
    """
    batches = folder / BATCHES
    if folder.name == BATCHES and (folder / TEST).is_file():
        raise ValueError(f"name the folder that holds {BATCHES}, which is {folder.parent}")
    if not batches.is_dir():
        download(folder)
    parts = [_part(batches / name) for name in TRAIN]
    train_x, train_y = (torch.cat(part) for part in zip(*parts, strict=True))
    return Images(train_x, train_y, *_part(batches / TEST))


def download(folder: Path) -> None:
    """Fetch and unpack the official archive, verified by its published MD5 sum.

    Raises:
        OSError: says which file to put where when there is no network.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        folder.mkdir(parents=True, exist_ok=True)
        download_and_extract_archive(
            CIFAR10.url, str(folder), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5
        )
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"there is no {folder / BATCHES}, and downloading {CIFAR10.url} failed ({error}). "
            f"Put {CIFAR10.filename}, unpacked, into {folder}, or name the folder that holds "
            f"{BATCHES} by --config data_dir=FOLDER or ONESTEP_DATA"
        ) from None


def _part(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    content = unpickle(path)
    try:
        x = torch.from_numpy(content[b"data"]).view(-1, *INFO.shape)
        return x, torch.tensor(content[b"labels"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no batch of CIFAR-10 in the python version ({error!r}); replace it by the "
            "official file"
        ) from None
