"""One writer a run folder, one job a GPU: locks that the kernel frees when their holder dies.

A lock is an flock on a file whose descriptor child processes inherit. So a lock outlives a killed
Snakemake for exactly as long as the job that it started, and never longer. Standard library only:
devices are chosen before torch is imported.
"""

import fcntl
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

PATIENCE = 24 * 3600.0  # seconds to wait for a run before giving up
POLL = 0.2  # seconds between two looks
REMIND = 3600.0  # seconds after which a job says again that it waits


def held(path: Path, *, shared: bool = False) -> IO[str] | None:
    """Take the lock, alone or with other sharers; None if somebody has it otherwise."""
    file = path.open("a")
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    os.set_inheritable(file.fileno(), True)
    return file


@contextmanager
def run_lock(
    folder: Path,
    stage: str,
    *,
    reads: Iterable[str] = (),
    say: Callable[[str], None] = print,
    patience: float = PATIENCE,
) -> Iterator[None]:
    """Be the only writer of a stage's files in a run folder for the length of the block.

    Waits while another job is, and while a stage that this one reads from is being written.
    Stages that do not read from each other may run side by side.

    Raises:
        OSError: the folder cannot be written to.
        TimeoutError: it stayed taken for ``patience`` seconds.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{stage}.lock").touch()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error.strerror}); make it writable or choose another"
        ) from None
    with ExitStack() as stack:
        for name, shared in ((stage, False), *((other, True) for other in reads)):
            path = folder / f".{name}.lock"
            busy = f"{folder}: {name} belongs to another running job; waiting for it to end"
            stack.enter_context(_wait(partial(held, path, shared=shared), busy, say, patience))
        yield


def visible(environ: MutableMapping[str, str]) -> list[str]:
    """List this process's GPUs by number, UUID or MIG name; none on a machine without."""
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        # CUDA counts from 0 whatever the numbers of the device files that a container shows
        files = [path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()]
        return [str(i) for i in range(len(files))]
    names = [name.strip() for name in given.split(",")]
    # CUDA reads the list up to the first name that is none
    stop = next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return names[:stop]


@contextmanager
def lease(
    count: int,
    environ: MutableMapping[str, str],
    *,
    folder: Path | None = None,
    say: Callable[[str], None] = print,
    patience: float = math.inf,
) -> Iterator[list[str]]:
    """Own ``count`` of this host's GPUs for the length of the block, and see only them.

    Sets CUDA_VISIBLE_DEVICES. Leases inside an existing CUDA_VISIBLE_DEVICES. Does nothing where
    there is no GPU or none is asked for, and nothing where a scheduler already gave this job just
    as many as it asked for. By default it waits without end: in a long grid that takes days.

    Raises:
        ValueError: the machine has fewer GPUs than asked for.
        TimeoutError: none came free within ``patience`` seconds.
    """
    pool = visible(environ) if count else []
    given = "SLURM_JOB_ID" in environ and len(pool) == count
    if not pool or given:
        yield pool
        return
    if count > len(pool):
        raise ValueError(f"the run asks for {count} GPUs, this job sees {len(pool)}: {pool}")
    folder = folder or Path(tempfile.gettempdir()) / f"onestep-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    busy = f"all of GPUs {', '.join(pool)} are leased; waiting for {count} (locks in {folder})"
    with _wait(lambda: _slots(count, pool, folder), busy, say, patience) as mine:
        names = [name for name, _ in mine]
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
        yield names


class _Slots(list[tuple[str, IO[str]]]):
    """Leased devices with their locks."""

    def close(self) -> None:
        for _, file in self:
            file.close()


def _slots(count: int, pool: Sequence[str], folder: Path) -> _Slots | None:
    mine = _Slots()
    for name in pool:
        file = held(folder / f"gpu-{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
        if file is not None:
            mine.append((name, file))
        if len(mine) == count:
            return mine
    mine.close()  # too few: leave them to others rather than wait on half
    return None


Lock = TypeVar("Lock", IO[str], _Slots)


@contextmanager
def _wait(
    take: Callable[[], Lock | None], busy: str, say: Callable[[str], None], patience: float
) -> Iterator[Lock]:
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
