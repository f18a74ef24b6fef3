"""Files that a reader sees whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=True) + "\n"
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it.

    Raises:
        OSError: the folder cannot be written to; names it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OSError(
            f"cannot write to {path.parent} ({error.strerror}); make it writable or choose another "
            "folder"
        ) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def between_marks(text: str, mark: str, body: str) -> str:
    """Put generated text between the marks that a document keeps for it.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = f"<!-- {mark}: written by `make readme` -->", f"<!-- end of {mark} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the text lacks the lines {begin!r} and {end!r}")
    return f"{head}{begin}\n\n{body}\n{end}{tail}"
