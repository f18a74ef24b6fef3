"""Records that were read before, in one file of a results folder: thousands are read in seconds.

The JSON files stay the truth. The copy of one counts while path, size, times and inode are those
that it had before it was read, and while the code that checks records is the same. A cache that is
missing, damaged or cannot be written costs time and changes no number. It is replaced as a whole,
so that of two writers at once one stays.
"""

import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pydantic

from bench.runs import catalogue
from bench.runs.files import temporary
from bench.runs.record import Record
from bench.runs.typed import parse

NAME = "records.cache"  # below results/
SETTLED = 2 * 10**9  # ns since a file's last change: another within a tick is not seen
AHEAD = 64  # files that the system is told of before they are read: a disk does many at once


class Stamp(NamedTuple):
    """What another file at the same path has not, nor this one after a change."""

    size: int
    modified: int
    changed: int
    inode: int


Reader = Callable[[Path], Record]  # Record.read, or one that does the same in less time


class Cache:
    """The copies of a results folder's records."""

    def __init__(self, results: Path) -> None:
        self._path = results / NAME
        self._prefix = f"{results}{os.sep}"
        self._copies: dict[str, tuple[Stamp, bytes | memoryview]] = {}  # by path below results/
        self._is_new = False
        with suppress(OSError, ValueError):
            self._load(self._path.read_bytes())
        self._had_any = bool(self._copies)

    def read(self, path: Path) -> Record:
        """Read a record as ``Record.read`` does."""
        name = str(path).removeprefix(self._prefix)
        stamp = _stamp(path)
        known, content = self._copies.get(name, (None, b""))
        if known == stamp:
            found: Record = parse(Record, bytes(content), "record")
            return found
        content = path.read_bytes()
        record = Record.checked(content, path)
        if time.time_ns() - max(stamp.modified, stamp.changed) > SETTLED:
            self._copies[name] = stamp, content
            self._is_new = True
        return record

    def ahead(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Go through paths; where there is no copy of any record, have those to come fetched."""
        for i, path in enumerate(paths):
            if not self._had_any and i % AHEAD == 0:
                for other in paths[i + AHEAD : i + 2 * AHEAD]:
                    _fetch(other)
            yield path

    def save(self) -> None:
        """Write the file, without what has changed or is gone, if there is anything new."""
        if not self._is_new:
            return
        kept = {name: copy for name, copy in self._copies.items() if self._is_there(name, copy[0])}
        index = [[name, *stamp] for name, (stamp, _) in kept.items()]
        parts = [f"{json.dumps(index)}\n".encode(), *(content for _, content in kept.values())]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        with suppress(OSError):  # a folder that may only be read, or a full disk
            name, file = temporary(self._path)
            try:
                with file:
                    file.write(f"{_code()} {digest.hexdigest()}\n".encode())
                    file.writelines(parts)
                name.replace(self._path)
            finally:
                name.unlink(missing_ok=True)

    def _is_there(self, name: str, stamp: Stamp) -> bool:
        try:
            return _stamp(self._path.parent / name) == stamp
        except OSError:
            return False

    def _load(self, content: bytes) -> None:
        """Take the copies from a cache's content; a ValueError is one more way to be damaged."""
        head = content.index(b"\n") + 1
        code, digest = content[:head].decode().split()
        whole = memoryview(content)
        if code != _code() or hashlib.sha256(whole[head:]).hexdigest() != digest:
            return
        begin = content.index(b"\n", head) + 1
        for name, *numbers in json.loads(content[head:begin]):
            stamp = Stamp(*numbers)
            self._copies[name] = stamp, whole[begin : begin + stamp.size]
            begin += stamp.size


@contextmanager
def cached(results: Path) -> Iterator[Cache]:
    """Read records below a folder of results by its cache, which then has what was read."""
    cache = Cache(results)
    yield cache
    cache.save()


def _fetch(path: Path) -> None:
    """Ask the system for a file, and do not wait; where it takes no such advice, do nothing."""
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):  # whoever reads it says what is wrong with it
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(file)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@functools.cache
def _code() -> str:
    """Hash what decides whether a record is sound: code, and names that stages may have."""
    digest = hashlib.sha256(f"{sys.version} {pydantic.VERSION}".encode())
    for room in ("bench/runs", *catalogue.EVALUATIONS.values(), catalogue.METHODS, "bench/models"):
        for path in sorted((catalogue.ROOT / room).glob("*.py")):
            names_alone = room in (catalogue.METHODS, "bench/models")
            digest.update(path.name.encode() + (b"" if names_alone else path.read_bytes()))
    return digest.hexdigest()
