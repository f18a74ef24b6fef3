"""Counts that take seconds each, kept on disk as long as the code that they follow from stays.

They lie in one file of the project, which may be removed, damaged or not writable: then they are
counted anew.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version

from bench.runs import catalogue
from bench.runs.files import CannotWriteError, write_json
from bench.runs.typed import Count, parse

FILE = ".counts.json"
FOLDERS = ("bench", "evaluation")  # of the code that makes counts, beside a method's own
LIBRARIES = ("torch", "timm")


@dataclass(frozen=True)
class Kept:
    """What the file holds."""

    code: str
    counts: dict[str, Count]  # by function and arguments


def kept(count: Callable[..., int]) -> Callable[..., int]:
    """Have a function look on disk before it counts.

    Args:
        count: of texts and whole numbers; if it depends on a method, its fingerprint is among them.
    """

    @functools.cache
    @functools.wraps(count)
    def known(*args: str | int) -> int:
        key = json.dumps([count.__name__, *args])
        found = _read().get(key)
        if found is None:
            found = count(*args)
            counts = _read() | {key: found}  # others may have added theirs
            with suppress(CannotWriteError):
                write_json(catalogue.ROOT / FILE, {"code": code(), "counts": counts})
        return found

    return known


def _read() -> dict[str, int]:
    """Read the counts that today's code has made."""
    try:
        found: Kept = parse(Kept, (catalogue.ROOT / FILE).read_bytes(), FILE)
    except (OSError, ValueError):
        return {}
    return found.counts if found.code == code() else {}


@functools.cache
def code() -> str:
    """Hash the code of all counts, and the versions of the libraries."""
    known = hashlib.sha256(" ".join(map(version, LIBRARIES)).encode())
    for path in sorted(path for name in FOLDERS for path in (catalogue.ROOT / name).rglob("*.py")):
        known.update(path.read_bytes())
    return known.hexdigest()
