"""The traces that a run left: numbers of every update, and diagnostics at set intervals."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load

from bench.runs.record import TRACES, UPDATES, WATCHED, Training


class Watched(NamedTuple):
    """What a diagnostic found in training."""

    updates: np.ndarray  # (R,) that had been taken; 0: initial weights
    values: np.ndarray  # (R,)


class Traces(NamedTuple):
    """What the file of a run holds, by name."""

    columns: dict[str, np.ndarray]  # (updates,): loss, pert_align, reach, g_norm, state.c, ...
    watched: dict[str, Watched]


def read(folder: Path, training: Training) -> Traces:
    """Read the traces of a run.

    Args:
        folder: of the run.
        training: what its training record says.

    Raises:
        ValueError: there are none, or not those that the record names; says what to do.
    """
    path, again = folder / TRACES, "or train the run again"
    if training.traces is None:
        raise ValueError(f"{folder} is of before runs kept traces; train the run again")
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy it from where the run was trained, {again}")
    remedy = f"from where the run was trained, {again}"
    tensors = load(checked(path, training.traces, "train.json", remedy))
    head, tail = UPDATES.split("{}")
    names = [name[len(head) : -len(tail)] for name in tensors
             if name.startswith(head) and name.endswith(tail)]  # fmt: skip
    watched = {
        name: Watched(tensors.pop(UPDATES.format(name)), tensors.pop(WATCHED.format(name)))
        for name in names
    }
    return Traces(tensors, watched)


def checked(path: Path, digest: str, record: str, remedy: str) -> bytes:
    """Read a file beside a record that names its SHA-256.

    Raises:
        ValueError: the file is another; ends with what to do.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(
            f"{path} is damaged or of another run, as its SHA-256 is not the one in {record}; "
            f"copy it once more {remedy}"
        )
    return content
