"""Locks that let one job at a time write a run's folder, and one job at a time use a GPU.

A lock is an flock on a file whose descriptor child processes inherit. The kernel frees it when the
last of these processes ends: a job whose Snakemake was killed keeps its locks until the job itself
ends. Standard library only, because a job chooses its GPU before it imports torch.
"""

import errno
import fcntl
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from bench.runs.files import CannotWriteError, cannot_write

PATIENCE = 24 * 3600.0  # seconds that a job waits for a run's lock before it gives up
POLL = 0.2  # seconds between two tries
REMIND = 3600.0  # seconds after which a job says again that it waits
HOST = Path("/tmp")  # noqa: S108  # leases of all users, whatever TMPDIR: a host has a GPU once
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # a file system without a lock service
# CUDA numbers GPUs in its own order and takes shortened names, so it is asked. In a process of its
# own, because CUDA reads CUDA_VISIBLE_DEVICES once; and without torch, whose import takes seconds.
UUIDS = """
import ctypes
cuda, count, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_int()
uuid = ctypes.create_string_buffer(16)
if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0:
    for i in range(count.value):
        cuda.cuDeviceGet(ctypes.byref(device), i)
        cuda.cuDeviceGetUuid_v2(uuid, device)  # a MIG slice has its own
        print(uuid.raw.hex())
"""


def try_lock(path: Path, *, shared: bool = False) -> IO[str] | None:
    """Take the lock at a path without waiting, alone or together with others that share it.

    Returns:
        The locked file, which is to be closed to free the lock; None if another process's lock is
        in the way.

    Raises:
        CannotWriteError: the file cannot be opened or locked.
    """
    # NFS makes an fcntl lock of it: to share one takes a file open for reading, alone for writing
    try:
        file = open(path, "r+", opener=_open_or_make)  # noqa: SIM115
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError as error:
        file.close()
        if error.errno not in NO_LOCKS:
            raise
        raise CannotWriteError(
            f"cannot lock {path} ({error.strerror}): its file system has no lock service; have it "
            "mounted with one, or choose a folder on another file system"
        ) from None
    os.set_inheritable(file.fileno(), True)
    return file


def is_written(folder: Path, stage: str) -> bool:
    """Tell whether a running job holds a stage's lock as its writer does, and take none.

    Jobs that only read the stage share its lock, and one whose process was killed holds none.
    """
    try:
        with (folder / f".{stage}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or none that a job of ours could have locked
        return False
    return False


@contextmanager
def run_lock(
    folder: Path,
    stage: str,
    *,
    reads: Iterable[str | tuple[Path, str]] = (),
    say: Callable[[str], None] = print,
    patience: float = PATIENCE,
) -> Iterator[None]:
    """Keep other jobs from writing a stage's files in a run's folder while the block runs.

    Waits while another job writes them, or writes a stage that this one reads. Other stages of the
    run may be written at the same time.

    Args:
        reads: names of the stages that this one reads; those of another run with its folder.
        say: called with a line of text when the job begins to wait, and every hour after.
        patience: seconds to wait at most.

    Raises:
        CannotWriteError: the folder cannot be written to.
        TimeoutError: another job kept a lock for ``patience`` seconds.
    """
    locked = [(folder, stage)]
    locked += [(folder, one) if isinstance(one, str) else one for one in reads]
    for where, name in locked:
        try:
            where.mkdir(parents=True, exist_ok=True)
            (where / f".{name}.lock").touch()  # as the umask has it
        except OSError as error:
            raise cannot_write(where, error) from None
    with ExitStack() as stack:
        for where, name in locked:
            path, shared = where / f".{name}.lock", (where, name) != (folder, stage)
            busy = f"{where}: {name} belongs to another running job; waiting for it to end"
            stack.enter_context(_wait(partial(try_lock, path, shared=shared), busy, say, patience))
        yield


def visible_gpus(environ: MutableMapping[str, str]) -> list[str]:
    """List the GPUs that CUDA would show this process, by number, UUID or MIG name."""
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        # CUDA counts from 0 whatever the numbers of the device files that a container shows
        files = [path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()]
        return [str(i) for i in range(len(files))]
    names = [name.strip() for name in listed.split(",")]
    # CUDA ignores everything from the first invalid name on
    stop = next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return names[:stop]


def identities(pool: Sequence[str]) -> dict[str, str]:
    """Name GPUs so that index, UUID and MIG name of one device are the same; by name in the pool.

    Without a driver a name stands for itself.
    """
    names = {name: re.sub(r"[^A-Za-z0-9-]", "_", name) for name in pool}
    found = _uuids(pool)
    if len(found) == len(pool):
        return dict(zip(pool, found, strict=True))
    # of MIG slices CUDA shows a process one
    return {name: (_uuids([name]) or [key])[0] for name, key in names.items()} if found else names


def _uuids(pool: Sequence[str]) -> list[str]:
    """Ask CUDA for the UUIDs of GPUs, as far as it shows them; none without a driver."""
    asked = subprocess.run(
        [sys.executable, "-I", "-S", "-c", UUIDS], capture_output=True, text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(pool)},
    )  # fmt: skip
    return asked.stdout.split()


@contextmanager
def lease(
    count: int,
    environ: MutableMapping[str, str],
    *,
    folder: Path = HOST,
    say: Callable[[str], None] = print,
    patience: float = math.inf,
) -> Iterator[list[str]]:
    """Keep other jobs from using ``count`` of this host's GPUs while the block runs.

    The GPUs are chosen among those in CUDA_VISIBLE_DEVICES, where it is set, and are then its new
    value. Nothing is locked if there is no GPU, if ``count`` is 0, or if SLURM gave this job just
    as many GPUs.

    Args:
        environ: the environment to read and to set, as ``os.environ``.
        folder: of the lock files, the same for all users.
        say: called with a line of text when the job begins to wait, and every hour after.
        patience: seconds to wait at most. Without end by default: in a long grid, other jobs keep
            the GPUs for days.

    Yields:
        The names of the GPUs.

    Raises:
        ValueError: fewer than ``count`` GPUs are visible.
        CannotWriteError: the lock files cannot be opened or locked.
        TimeoutError: too few GPUs came free within ``patience`` seconds.
    """
    pool = visible_gpus(environ) if count else []
    scheduled = "SLURM_JOB_ID" in environ and len(pool) == count
    if not pool or scheduled:
        yield pool
        return
    if count > len(pool):
        raise ValueError(f"the run asks for {count} GPUs, this job sees {len(pool)}: {pool}")
    paths = {name: folder / f"onestep-gpu-{key}.lock" for name, key in identities(pool).items()}
    busy = f"all of GPUs {', '.join(pool)} are leased; waiting for {count} (locks in {folder})"
    with _wait(lambda: _try_gpus(count, paths), busy, say, patience) as leased:
        names = [name for name, _ in leased]
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        yield names


class _Leased(list[tuple[str, IO[str]]]):
    """Names of leased GPUs with their locked files."""

    def close(self) -> None:
        for _, file in self:
            file.close()


def _open_or_make(path: str, flags: int) -> int:
    """Open a file for a lock, or make one that every user can open.

    Linux refuses to open another user's file in /tmp with O_CREAT, even if it is there.
    """
    while True:
        try:
            return os.open(path, flags | os.O_NOFOLLOW)
        except FileNotFoundError:
            pass
        umask = os.umask(0)
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:  # another job was faster
            pass
        finally:
            os.umask(umask)


def _try_gpus(count: int, paths: Mapping[str, Path]) -> _Leased | None:
    """Lease ``count`` GPUs without waiting, each by its file; None if too few are free."""
    leased = _Leased()
    for name, path in paths.items():
        file = try_lock(path)
        if file is not None and _is_at(path, file):
            os.utime(file.fileno())  # what cleans /tmp takes old files, locked or not
            leased.append((name, file))
        if len(leased) == count:
            return leased
    leased.close()  # other jobs may need just these
    return None


def _is_at(path: Path, file: IO[str]) -> bool:
    """Tell whether a locked file is still the one at its path; else close it."""
    try:
        same = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        same = False
    if not same:
        file.close()
    return same


Lock = TypeVar("Lock", IO[str], _Leased)


@contextmanager
def _wait(
    take: Callable[[], Lock | None], busy: str, say: Callable[[str], None], patience: float
) -> Iterator[Lock]:
    """Call ``take`` until it returns a lock, and free that after the block."""
    until, remind = time.monotonic() + patience, -math.inf
    while (lock := take()) is None:
        now = time.monotonic()
        if now > until:
            raise TimeoutError(f"gave up after {patience:.0f} s: {busy}")
        if now >= remind:
            say(busy)
            remind = now + REMIND
        time.sleep(POLL)
    with ExitStack() as stack:
        stack.callback(lock.close)
        yield lock
