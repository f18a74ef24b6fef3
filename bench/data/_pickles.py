"""Read the pickles that data sets were published as, without running what a pickle can run."""

import pickle
from pathlib import Path
from typing import Any


class _ArraysOnly(pickle.Unpickler):
    """Knows numpy arrays and nothing else."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})
    MODULES = frozenset({"numpy.core.multiarray", "numpy._core.multiarray", "numpy", "_codecs"})

    def find_class(self, module: str, name: str) -> Any:
        if module not in self.MODULES or name not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image batch needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def unpickle(path: Path) -> dict[Any, Any]:
    """Read a pickled dict of arrays and plain values; Python 2 strings come as bytes.

    Raises:
        ValueError: the file is missing, truncated, or holds anything else.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing; put the official file there")
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}; it is truncated or no official file, replace it"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dict; replace it")
    return content
