"""Whose failure it was: the machine's, which is no result, or the method's, which always is one."""

import errno
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.runs.files import CannotWriteError
from bench.signals import replaceable

# no room, no quota, a disk that does not answer, a file server that forgot the file, read only
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS}
CRASHED = "data pointer of Storage that is invalid"  # a library's memory, not a method's numbers
LONGEST = 2000  # characters of a failure's text in a record


class MachineError(RuntimeError):
    """The machine failed; the same command goes on once that is put right."""


class MethodError(RuntimeError):
    """A run ended by its cause, an exception that is the method's unless the machine failed."""


def of_machine(error: BaseException) -> bool:
    """Say whether an exception, or one that led to it, is a failure of disk, memory or device."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        if isinstance(error, CannotWriteError | MachineError):
            return True
        if isinstance(error, OSError) and error.errno in MACHINE:
            return True
        # libraries written in Rust tell the system's number in words alone
        words = described(error)
        number = re.search(r"\(os error (\d+)\)", words)
        if CRASHED in words or (number and int(number[1]) in MACHINE):
            return True
        error = error.__cause__ or error.__context__ or error
    return False


def lacks_memory(error: BaseException) -> bool:
    """Say whether memory ran out, of the device or of the machine."""
    import torch

    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in described(error)  # of the CPU, without a class


def described(error: BaseException) -> str:
    """Name a failure in text that can be written anywhere, whatever its author put into it."""
    try:
        text = str(error)
    except Exception as other:  # noqa: BLE001  # it is the method's own class
        text = f"(its text cannot be made: {type(other).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ... ({len(text)} characters in all)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Hand out a function that says whether Ctrl-C, or SIGINT, has arrived since.

    A KeyboardInterrupt without one is of the method's own making.
    """
    arrived: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: True  # signals are not ours to see; so none is taken for the method's
        return
    before = replaceable(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        arrived.append(number)
        raise KeyboardInterrupt

    if before is not None:
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(arrived)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
