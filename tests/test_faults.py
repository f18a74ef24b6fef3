"""Whose failure it was, told from an exception."""

import errno
import os
import signal

import pytest

from bench.runs.files import CannotWriteError
from bench.signals import held
from bench.stages import faults


def caused(error, cause):
    error.__cause__ = cause
    return error


def while_handling(error, other):
    error.__context__ = other
    return error


@pytest.mark.parametrize(
    ("error", "machine"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.EROFS, "Read-only file system"), True),
        (CannotWriteError("state/update-1 cannot be written"), True),
        (faults.MachineError("the GPU does not answer"), True),
        (caused(ValueError("x"), OSError(errno.ENOSPC, "full")), True),
        (while_handling(ValueError("x"), OSError(errno.EIO, "disk")), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("Attempted to access the data pointer of Storage that is invalid."), True),
        (OSError(errno.ENOENT, "No such file"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (RuntimeError("something (os error 2)"), False),
        (ValueError("x"), False),
    ],
    ids=repr,
)
def test_disk_and_device_are_the_machines_and_all_else_is_the_methods(error, machine):
    assert faults.of_machine(error) is machine


def test_a_failure_that_leads_to_itself_comes_to_an_end():
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert not faults.of_machine(one)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("d"), "KeyError: 'd'"),
        (SystemExit(), "SystemExit"),
        (ValueError("lone \ud800"), "ValueError: lone \\ud800"),
        (Mute(), "Mute: (its text cannot be made: RuntimeError)"),
    ],
)
def test_any_failure_has_words_that_can_be_written(error, said):
    assert faults.described(error) == said
    faults.described(error).encode()


def test_a_long_text_is_cut():
    said = faults.described(ValueError("x" * 300_000))
    assert said.endswith("... (300000 characters in all)")
    assert len(said) < faults.LONGEST + 100


def test_an_interrupt_is_told_from_one_that_a_method_raises():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be off, behind a &
    try:
        with faults.interrupts() as arrived:
            assert not arrived()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            assert arrived()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("holding", [held, faults.interrupts])
def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch, holding):
    """A program that Python is part of may have set it; Python cannot put it back."""
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    monkeypatch.setattr(signal, "signal", lambda *args: pytest.fail("replaced"))
    with holding() as arrived:
        assert not arrived()


def test_a_signal_is_held_back_until_the_block_ends_and_a_second_one_is_not():
    passed = []

    def interrupted(times):
        with held() as asked:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            passed.append((times, asked()))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be off, behind a &
    try:
        for times in (1, 2):
            with pytest.raises(KeyboardInterrupt):
                interrupted(times)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupted(3)
    finally:
        signal.signal(signal.SIGINT, before)
    assert passed == [(1, "SIGINT"), (3, None)]
