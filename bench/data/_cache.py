"""The decoded copy of a data set: one safetensors file, written whole or not at all.

Written by hand, tensor after tensor, because a data set can be larger than memory. Its checksum is
known only at the end, and takes the place that the header keeps for it.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.data._pictures import Pictures
from bench.runs.files import temporary

CODES = {torch.uint8: "U8", torch.int64: "I64"}
BLANK = "0" * 64  # as long as a SHA-256
AT_ONCE = 2**28  # bytes written in one go
QUICK = 2**30  # bytes that are verified at every load; about a second


class Content(NamedTuple):
    """What a decoded copy holds."""

    tensors: dict[str, Tensor]  # on the pages of the file
    checksum: str  # SHA-256 of types, shapes and values, in order
    official: bool


def write(
    path: Path, name: str, tensors: Mapping[str, Tensor | Pictures | None], *, official: bool
) -> None:
    """Write the copy under a temporary name, then rename it; for one writer at a time.

    Raises:
        ValueError: a picture cannot be decoded; names it.
        OSError: the folder is read-only or the disk is full; says how much is needed.
    """
    given = {key: value for key, value in tensors.items() if value is not None}
    meta = {"name": name, "sha256": BLANK, "official": str(official)}
    header: dict[str, Any] = {"__metadata__": meta}
    size = 0
    for key, x in given.items():
        end = size + x.dtype.itemsize * _count(x)
        header[key] = {"dtype": CODES[x.dtype], "shape": [*x.shape], "data_offsets": [size, end]}
        size = end
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):  # by a job that was killed
        left.unlink()
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise _full(path, size, free)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    unfinished, file = temporary(path)
    try:
        with file:
            file.write(len(head).to_bytes(8, "little") + head)
            digest = hashlib.sha256()
            for x in given.values():
                digest.update(_kind(x))
                for part in _parts(x):
                    digest.update(part)
                    file.write(part)
            file.seek(8 + head.index(BLANK.encode()))
            file.write(digest.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(path, size, shutil.disk_usage(path.parent).free) from None
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: Path, name: str, *, verify: bool | None) -> Content:
    """Map the copy into memory.

    Raises:
        ValueError: it is damaged, of another data set or of an older format; says which.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.offset_keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"is damaged ({error})") from None
    if meta.get("name") != name:
        raise ValueError(f"holds {meta.get('name')!r}, not {name!r}")
    if meta.keys() != {"name", "sha256", "official"}:
        raise ValueError("has an older format")
    quick = sum(x.nbytes for x in tensors.values()) <= QUICK
    if quick if verify is None else verify:
        digest = hashlib.sha256()
        for x in tensors.values():
            digest.update(_kind(x))
            for part in _parts(x):
                digest.update(part)
        found = digest.hexdigest()
        if found != meta["sha256"]:
            sums = f"SHA-256 {found[:12]}, not {meta['sha256'][:12]}"
            raise ValueError(f"has changed since it was prepared ({sums})")
    return Content(tensors, meta["sha256"], meta["official"] == "True")


def _count(x: Tensor | Pictures) -> int:
    return torch.Size(x.shape).numel()


def _kind(x: Tensor | Pictures) -> bytes:
    return f"{x.dtype}{tuple(x.shape)}".encode()


def _parts(x: Tensor | Pictures) -> Iterator[memoryview]:
    step = max(1, AT_ONCE // (x.dtype.itemsize * _count(x) // len(x)))
    chunks = x.chunks(step) if isinstance(x, Pictures) else x.split(step)
    for chunk in chunks:
        yield chunk.contiguous().numpy().data.cast("B")


def _full(path: Path, size: int, free: int) -> OSError:
    return OSError(
        f"{path.name} needs {size / 1e9:.1f} GB and {path.parent} has {free / 1e9:.1f} GB left; "
        "make room, or name another folder by --config data_dir=FOLDER or ONESTEP_DATA"
    )
