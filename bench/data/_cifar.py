"""What CIFAR-10 and CIFAR-100 share: the archive, and pickles that must not run anything."""

import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.data._arrays import N, count, labels
from bench.data._files import below, fetch, matches, reading

# planes as published; as torch has images; as Pillow and plots have them
LAYOUTS = ((N, 3072), (N, 3, 32, 32), (N, 32, 32, 3))
LARGEST = 2**28  # bytes of a pickle; the largest official one has 155 million
# instructions of a pickle, and which of the stack they make keys of a dict
KEYS = {
    pickle.SETITEM[0]: slice(-2, -1),
    pickle.SETITEMS[0]: slice(None, None, 2),
    pickle.DICT[0]: slice(None, None, 2),
}
SETS = frozenset({pickle.ADDITEMS[0], pickle.FROZENSET[0]})  # those that make members of a set


def unpacked(url: str, published: str, folder: Path, name: str, example: str) -> Path:
    """Find the folder of official files below the data folder, or download and unpack it.

    Args:
        example: one of the files.

    Raises:
        ValueError: the data folder is named one level too deep, or the archive has another sum
            than published.
        OSError: there is nothing to read and no network; says where to put which file.
    """
    archive = folder / url.rpartition("/")[2]
    inside = below(folder, name, example, archive)
    if not inside.is_dir():
        fetch(url, archive, published)
        if not matches(archive, published):  # so that what is unpacked is known
            raise ValueError(
                f"{archive} has not the published {published}, so it is not unpacked: remove it "
                f"and try again, or, if you trust it, put its {name} into {folder} yourself"
            )
        for left in folder.glob(f".{name}.*"):  # by a job that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as work:
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            (Path(work) / name).rename(inside)
    return inside


def batch(path: Path, key: str, most: int) -> tuple[Tensor, Tensor]:
    """Read images (N, 3, 32, 32) uint8 and labels (N,) int64 from one pickle.

    Args:
        key: of the labels, which is bytes in official files, and str in those of Python 3.
        most: images that the set has.

    Raises:
        ValueError: the file is missing, truncated or not of this format.
    """
    content = _unpickle(path)
    images, numbers = (content.get(name.encode(), content.get(name)) for name in ("data", key))
    if not isinstance(images, np.ndarray) or numbers is None:
        raise ValueError(
            f"{path} is no batch of this data set in the python version, a dict with an array "
            f"'data' and '{key}'; replace it by the official file"
        )
    n = count(f"'data' of {path}", images.dtype.name, images.shape, LAYOUTS, most)
    planes = images.transpose(0, 3, 1, 2) if images.shape[1:] == LAYOUTS[2][1:] else images
    x = torch.from_numpy(planes.reshape(n, 3, 32, 32).copy())  # pickles may give read-only arrays
    return x, labels(f"'{key}' of {path}", numbers, n)


def _keyed(plain: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """Wrap an instruction for which some of the stack become keys of a dict."""

    def load(unpickler: Any) -> None:
        for key in unpickler.stack[keys]:
            if not isinstance(key, str | bytes):
                raise pickle.UnpicklingError(f"it has a {type(key).__name__} for a key")
        plain(unpickler)

    return load


class _ArraysOnly(pickle._Unpickler):
    """Knows numpy's arrays and numbers, in dicts by text, and nothing else.

    Of the two unpicklers the one that is written in Python, because here it is seen what becomes a
    key: the hash of a tuple that is nested deep enough ends the process.
    """

    NUMPY = frozenset({"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"})
    MODULES = frozenset({"multiarray", "numeric"})  # of numpy.core, as numpy._core was called

    dispatch: ClassVar[dict[int, Any]] = {
        code: _keyed(plain, KEYS[code]) if code in KEYS else plain
        for code, plain in pickle._Unpickler.dispatch.items()
        if code not in SETS
    }

    def load(self) -> Any:
        try:
            return super().load()
        except KeyError as error:
            raise pickle.UnpicklingError(f"it has no use for {error}") from None

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        inner = module.replace("numpy.core", "numpy._core").removeprefix("numpy._core.")
        if name not in self.NUMPY or inner not in {"numpy", *self.MODULES}:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image batch needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _latin1(text: str, encoding: str) -> bytes:
    """Stand for the codecs, as which Python 3 writes bytes so that Python 2 can read them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}")
    return text.encode(encoding)


def _unpickle(path: Path) -> dict[Any, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing; put the official file there")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size / 1e9:.1f} GB, which no batch has")
    with reading(path), path.open("rb") as file:
        content = _ArraysOnly(file, encoding="bytes").load()  # Python 2 strings are bytes
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dict; replace it")
    return content
