"""What CIFAR-10 and CIFAR-100 share: the archive, and pickles that must not run anything."""

import pickle
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data._files import fetch


def unpacked(url: str, published: str, folder: Path, name: str) -> Path:
    """Find the folder of official files below the data folder, or download and unpack it.

    Raises:
        ValueError: the data folder is named one level too deep, or the archive is damaged.
        OSError: there is nothing to read and no network; says where to put which file.
    """
    inside = folder / name
    if folder.name == name and folder.is_dir():
        raise ValueError(f"name the folder that holds {name}, which is {folder.parent}")
    if not inside.is_dir():
        archive = fetch(url, folder / url.rpartition("/")[2], published)
        try:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                with tarfile.open(archive) as tar:
                    tar.extractall(work, filter="data")
                (Path(work) / name).rename(inside)
        except (tarfile.TarError, EOFError, FileNotFoundError) as error:
            raise ValueError(
                f"{archive} cannot be unpacked ({error}); remove it and try again"
            ) from None
    return inside


def batch(path: Path, labels: bytes) -> tuple[Tensor, Tensor]:
    """Read images (N, 3, 32, 32) uint8 and labels (N,) int64 from one pickle.

    Raises:
        ValueError: the file is missing, truncated or not of this format.
    """
    content = _unpickle(path)
    try:
        return torch.from_numpy(content[b"data"]).view(-1, 3, 32, 32), torch.tensor(content[labels])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no batch of this data set in the python version ({error!r}); replace it by "
            "the official file"
        ) from None


class _ArraysOnly(pickle.Unpickler):
    """Knows numpy arrays and nothing else."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})
    MODULES = frozenset({"numpy.core.multiarray", "numpy._core.multiarray", "numpy", "_codecs"})

    def find_class(self, module: str, name: str) -> Any:
        if module not in self.MODULES or name not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image batch needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpickle(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing; put the official file there")
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()  # Python 2 strings are bytes
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}; it is truncated or no official file, replace it"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dict; replace it")
    return content
