"""Checkpoints of a run in progress: whole, verified by a checksum in their name, two kept."""

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from bench.runs.files import write_bytes

KEPT = 2


class Checkpoint(NamedTuple):
    """Everything a run needs to go on as if it had never stopped."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]  # JSON-ready


def keep(folder: Path, update: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then drop the older ones beyond the last two."""
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    content = save(tensors, metadata={"facts": json.dumps(checkpoint.facts)})
    digest = hashlib.sha256(content).hexdigest()[:16]
    write_bytes(folder / f"update-{update:09d}-{digest}.safetensors", content)
    for path in _found(folder)[:-KEPT]:
        path.unlink()


def newest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint, or return None if there is none.

    Raises:
        ValueError: it is damaged; says what to do.
    """
    paths = _found(folder)
    if not paths:
        return None
    path = paths[-1]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    if digest not in path.name:
        earlier = "go on from the one before it" if len(paths) > 1 else "start the run afresh"
        raise ValueError(
            f"checkpoint {path} is damaged (SHA-256 {digest}, its name says "
            f"{path.stem.rpartition('-')[2]}); remove this file to {earlier}"
        )
    try:
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["facts"])
        return Checkpoint(load(content), facts)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"checkpoint {path} is not one of ours ({error!r}); remove it") from None


def keep_weights(path: Path, net: nn.Module) -> None:
    """Write a network's weights and statistics."""
    write_bytes(path, save({k: v.contiguous() for k, v in net.state_dict().items()}))


def half(content: bytes) -> bytes:
    """Return the copy in half precision of a file of weights; counts stay whole numbers."""
    tensors = load(content).items()
    return save({k: v.half() if v.is_floating_point() else v for k, v in tensors})


def digests(path: Path) -> dict[str, str]:
    """Compute the SHA-256 of a file of weights, "full", and of its copy in "half" precision."""
    content = path.read_bytes()
    copies = {"full": content, "half": half(content)}
    return {name: hashlib.sha256(copy).hexdigest() for name, copy in copies.items()}


def clear(folder: Path) -> None:
    """Remove a run's checkpoints."""
    for path in _found(folder):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def set_aside(folder: Path) -> Path:
    """Move a run's checkpoints into a new folder beside theirs, and name it."""
    free = (folder.with_name(f"{folder.name}-aside-{i}") for i in itertools.count(1))
    other = next(path for path in free if not path.exists())
    other.mkdir()
    for path in _found(folder):
        path.rename(other / path.name)
    return other


def _found(folder: Path) -> list[Path]:
    name = re.compile(r"update-\d{9}-[0-9a-f]{16}\.safetensors")
    return sorted(path for path in folder.glob("*") if name.fullmatch(path.name))
