"""Writing of files at once: a reader sees the old file or all of the new one."""

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any, BinaryIO


class CannotWriteError(OSError):
    """A file of the project's own cannot be written: a failure of the disk, not of who asked."""


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; a reader sees the old file or all of the new one."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it.

    Raises:
        CannotWriteError: the message names the folder and says what to do.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name, file = temporary(path)
    except OSError as error:
        raise cannot_write(path.parent, error) from None
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        name.replace(path)
    except OSError as error:
        name.unlink(missing_ok=True)
        raise cannot_write(path.parent, error) from None
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def temporary(path: Path) -> tuple[Path, BinaryIO]:
    """Open a new file beside a path, with the access that the umask has for files."""
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    return name, name.open("xb")


def drop_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed writers left of files by a name, which nobody else may be writing now."""
    for path in folder.glob(f".{name}.*"):
        if re.fullmatch(r"\.[0-9a-f]{8}", path.suffix):
            path.unlink(missing_ok=True)


def cannot_write(folder: Path, error: OSError) -> CannotWriteError:
    """Make the error that tells why a folder cannot be written to, and what to do."""
    return CannotWriteError(
        f"cannot write to {folder} ({error.strerror}); make room, make it writable, or choose "
        "another folder, and give the same command again"
    )


def between_marks(text: str, mark: str, body: str) -> str:
    """Return a document with the text between a pair of marks replaced.

    Args:
        mark: name of the pair, as "costs".
        body: the generated text that goes between them.

    Raises:
        ValueError: the document lacks these marks.
    """
    begin, end = f"<!-- {mark}: written by `make readme` -->", f"<!-- end of {mark} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the text lacks the lines {begin!r} and {end!r}")
    return f"{head}{begin}\n\n{body}\n{end}{tail}"
