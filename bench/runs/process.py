"""What a process may lack where it is started, and its libraries take for granted."""

import getpass
import os
import sys


def settle() -> None:
    """Give this process, and those it starts, a user's name and its three standard streams."""
    _name_user()
    _open_streams()


def _name_user() -> None:
    """Let a user whom the system does not know, as in a container, go by number.

    Snakemake asks for the name in its first line, torch for its folder of compiled code.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def _open_streams() -> None:
    """Open what a caller has closed.

    The next file opened would get the stream's number, and with it what libraries print.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this stream's
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
