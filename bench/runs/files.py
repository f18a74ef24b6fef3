"""Writing of files at once: a reader sees the old file or all of the new one."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


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
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise cannot_write(path.parent, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise cannot_write(path.parent, error) from None
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
