"""Signals that ask a process to end, held back until what it is in the middle of is kept."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Asked = Callable[[], str | None]  # the name of a signal that has arrived


class Stopped(BaseException):
    """Work ended because a signal asked for it, which has its effect now."""


def replaceable(number: int) -> Any:
    """Return a signal's handler if Python may replace it for a while; None if not.

    It may not where the signal is ignored, or where the handler is not Python's, which could not be
    put back.
    """
    handler = signal.getsignal(number)
    return None if handler is signal.SIG_IGN else handler


@contextmanager
def held() -> Iterator[Asked]:
    """Hold SIGINT and SIGTERM back, and hand out a function that says which has arrived.

    It has its effect when the block ends; a second one has it at once. What is ignored outside, as
    SIGINT in the background of a shell, stays so, and so does what another language handles.
    """
    arrived: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals are not ours to see
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: handler for number in numbers if (handler := replaceable(number)) is not None}

    def let_go() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: object) -> None:
        arrived.append(signal.Signals(number))
        if len(arrived) > 1:
            let_go()
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: arrived[0].name if arrived else None
    finally:
        let_go()
        if len(arrived) == 1:
            signal.raise_signal(arrived[0])
