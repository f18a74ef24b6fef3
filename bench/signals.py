"""Signals that ask a process to end, held back until what it is in the middle of is kept."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Asked = Callable[[], str | None]  # the name of a signal that has arrived


class Stopped(BaseException):
    """Work ended because a signal asked for it, which has its effect now."""


@contextmanager
def held() -> Iterator[Asked]:
    """Hold SIGINT and SIGTERM back, and hand out a function that says which has arrived.

    It has its effect when the block ends; a second one has it at once. What is ignored outside, as
    SIGINT in the background of a shell, stays so.
    """
    arrived: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals are not ours to see
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}

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
