"""Locks of real processes: jobs that share a run's folder or GPUs, and jobs that are killed."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.runs import locks
from bench.runs.catalogue import ROOT
from bench.runs.files import CannotWriteError
from bench.runs.locks import lease, run_lock, try_lock, visible_gpus

JOB = """
import os, sys, time
from pathlib import Path
from bench.runs.locks import lease, run_lock
folder, seconds, name = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with lease(1, os.environ, folder=folder) as mine:
    with (folder / "log").open("a") as log:
        log.write(f"{name} start {','.join(mine)} {time.monotonic()}\\n")
    time.sleep(seconds)
    with (folder / "log").open("a") as log:
        log.write(f"{name} end {','.join(mine)} {time.monotonic()}\\n")
    if name == "crash":
        os._exit(3)
"""


def start(folder, name, *, seconds=0.4, devices="0,1", code=JOB):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(seconds), name],
        cwd=ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": devices}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition never became true"
        time.sleep(0.02)


def started(folder, name):
    log = folder / "log"
    return log.is_file() and f"{name} start" in log.read_text()


def free(path):
    file = try_lock(path)
    if file is not None:
        file.close()
    return file is not None


def spans(folder):
    """Read the log of JOBs: (device, first second, last second) of each."""
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    ends = {name: float(t) for name, what, _, t in lines if what == "end"}
    return [(dev, float(t), ends[name]) for name, what, dev, t in lines if what == "start"]


def test_each_job_has_a_device_of_its_own(tmp_path):
    jobs = [start(tmp_path, f"job{i}") for i in range(5)]
    assert [job.wait(30) for job in jobs] == [0] * 5
    jobs = spans(tmp_path)
    assert {device for device, _, _ in jobs} == {"0", "1"}
    for i, (device, begin, end) in enumerate(jobs):
        for other, other_begin, other_end in jobs[:i]:
            assert device != other or end <= other_begin or other_end <= begin, (
                "a device was shared"
            )


@pytest.mark.parametrize("how", ["crash", "kill"])
def test_a_dead_job_gives_its_device_back(tmp_path, how):
    first = start(tmp_path, how, seconds=60 if how == "kill" else 0.1, devices="0")
    wait_for(lambda: started(tmp_path, how))
    if how == "kill":
        first.send_signal(signal.SIGKILL)
    first.wait(30)
    assert start(tmp_path, "next", seconds=0, devices="0").wait(30) == 0


def test_a_child_that_outlives_its_parent_keeps_the_device(tmp_path):
    """Processes that a job starts inherit its lock: they may still use the device of a dead job."""
    code = """
import os, subprocess, sys, time
from pathlib import Path
from bench.runs.locks import lease
folder = Path(sys.argv[1])
with lease(1, os.environ, folder=folder):
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    (folder / "child").write_text(str(child.pid))
    (folder / "log").write_text("parent start\\n")
    time.sleep(60)
"""
    parent = start(tmp_path, "parent", devices="0", code=code)
    wait_for(lambda: started(tmp_path, "parent"))
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    (path,) = tmp_path.glob("onestep-gpu-*.lock")
    assert not free(path)
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    wait_for(lambda: free(path))


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        ("", []),
        ("-1", []),
        ("0,-1,2", ["0"]),
        ("NoDevFiles", []),
        ("GPU-8932f937, MIG-1/2/3", ["GPU-8932f937", "MIG-1/2/3"]),
    ],
)
def test_the_list_of_visible_gpus_is_read_as_cuda_reads_it(listed, seen):
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": listed}) == seen


def test_nothing_is_leased_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))  # an empty /dev
    for environ in ({}, {"CUDA_VISIBLE_DEVICES": ""}):
        before = dict(environ)
        with lease(1, environ, folder=tmp_path) as mine:
            assert mine == []
            assert environ == before
    assert not list(tmp_path.iterdir())


def test_a_job_for_the_cpu_leases_nothing(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0,1"}
    with lease(0, environ, folder=tmp_path) as mine:
        assert mine == []
    assert not list(tmp_path.iterdir())


def test_device_files_are_counted_from_zero(monkeypatch):
    files = [
        Path("/dev/nvidia3"),
        Path("/dev/nvidia5"),
        Path("/dev/nvidiactl"),
        Path("/dev/nvidia-uvm"),
    ]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(files))
    assert visible_gpus({}) == ["0", "1"]


def test_devices_a_scheduler_gave_are_taken_as_they_are(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"}
    with lease(1, environ, folder=tmp_path) as mine:
        assert mine == ["0"]
    assert not list(tmp_path.iterdir())


def test_two_devices_are_leased_at_once_or_not_at_all(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    with lease(2, environ, folder=tmp_path):
        assert environ["CUDA_VISIBLE_DEVICES"] == "0,1"
        other = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
        with (
            pytest.raises(TimeoutError, match="all of GPUs 0, 1, 2 are leased"),
            lease(2, other, folder=tmp_path, patience=0.3, say=lambda line: None),
        ):
            pass
        with lease(1, other, folder=tmp_path):  # the attempt on two left the third free
            assert other["CUDA_VISIBLE_DEVICES"] == "2"


def half_hours(monkeypatch, between):
    """Put half an hour between two tries to lock; call between(hours since the first) each time."""
    hours = [0.0]

    def sleep(_):
        hours[0] += 0.5
        between(hours[0])

    class Clock:
        monotonic = staticmethod(lambda: 3600 * hours[0])

    Clock.sleep = staticmethod(sleep)
    monkeypatch.setattr(locks, "time", Clock)


def test_a_job_waits_for_a_device_without_end_and_says_so_every_hour(tmp_path, monkeypatch):
    lines, first = [], ExitStack()
    first.enter_context(lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, folder=tmp_path))
    half_hours(monkeypatch, lambda hours: first.close() if hours == 72 else None)
    environ = {"CUDA_VISIBLE_DEVICES": "0"}
    with lease(1, environ, folder=tmp_path, say=lines.append) as mine:
        assert mine == ["0"]
    assert len(lines) == 72
    assert set(lines) == {f"all of GPUs 0 are leased; waiting for 1 (locks in {tmp_path})"}


def test_a_job_waits_a_day_for_a_run(tmp_path, monkeypatch):
    half_hours(monkeypatch, lambda hours: None)
    with (
        run_lock(tmp_path, "train"),
        pytest.raises(TimeoutError, match=r"gave up after 86400 s: .* belongs to another"),
        run_lock(tmp_path, "train", say=lambda line: None),
    ):
        pass


def test_asking_for_more_devices_than_there_are_is_refused(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0"}
    with (
        pytest.raises(ValueError, match="asks for 2 GPUs, this job sees 1"),
        lease(2, environ, folder=tmp_path),
    ):
        pass


def taken(folder, stage, **rest):
    """Whether this stage would have to wait."""
    lines = []
    try:
        with run_lock(folder, stage, say=lines.append, patience=0.3, **rest):
            return False
    except TimeoutError:
        assert len(lines) == 1
        assert "belongs to another running job; waiting" in lines[0]
        return True


def test_a_stage_has_one_writer_at_a_time(tmp_path):
    with run_lock(tmp_path, "train"):
        assert taken(tmp_path, "train")
        assert taken(tmp_path, "autoattack", reads=["train"])
        assert taken(tmp_path / "another", "train", reads=[(tmp_path, "train")])
        assert not taken(tmp_path / "another", "train", reads=[(tmp_path / "third", "train")])
        assert not taken(tmp_path, "cost")
    assert not taken(tmp_path, "train")


def test_readers_share_and_keep_the_writer_out(tmp_path):
    with run_lock(tmp_path, "autoattack", reads=["train"]):
        assert taken(tmp_path, "autoattack", reads=["train"])
        assert not taken(tmp_path, "eps_sweep", reads=["train"])
        assert taken(tmp_path, "train")


def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    child = os.fork()
    if child == 0:  # root may write everywhere, so nobody tries
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            with run_lock(tmp_path / "a", "train"):
                os._exit(1)
        except OSError as error:
            os._exit(0 if "make it writable" in str(error) else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write to .*file/run .*make it writable"),
        run_lock(tmp_path / "file/run", "train"),
    ):
        pass


def test_the_umask_holds_for_locks_in_a_run_and_not_for_leases(tmp_path):
    umask = os.umask(0o077)
    try:
        with (
            run_lock(tmp_path / "run", "autoattack", reads=["train"]),
            lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, folder=tmp_path),
        ):
            modes = {p.name[:8]: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*.lock")}
    finally:
        os.umask(umask)
    assert modes == {".autoatt": 0o600, ".train.l": 0o600, "onestep-": 0o666}


@pytest.fixture
def crowded():
    """A folder like /tmp, where Linux guards files against other users."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("first", [0, 65534])
def test_two_users_lease_one_device_in_turn(crowded, monkeypatch, first):
    monkeypatch.setattr(locks, "_uuids", lambda pool: [])

    def leases(user):
        child = os.fork()
        if child == 0:
            try:
                os.setuid(user)
                os.umask(0o077)
                environ = {"CUDA_VISIBLE_DEVICES": "0"}
                with lease(1, environ, folder=crowded, patience=0, say=lambda line: None):
                    os._exit(0)
            except TimeoutError:
                os._exit(1)
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    second = 65534 - first
    assert leases(first)
    assert leases(second)
    with lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, folder=crowded):
        assert not leases(first)
        assert not leases(second)


def test_a_device_is_leased_once_whatever_the_folder_for_temporary_files(tmp_path):
    name = f"test-{os.getpid()}"
    code = "import os, sys; from bench.runs.locks import lease; lease(1, os.environ, patience=0)"
    code += ".__enter__()"
    try:
        with lease(1, {"CUDA_VISIBLE_DEVICES": name}):
            other = subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": name, "TMPDIR": str(tmp_path)},
            )  # fmt: skip
        assert "TimeoutError: gave up after 0 s" in other.stderr
    finally:
        (locks.HOST / f"onestep-gpu-{name}.lock").unlink()


def test_a_lease_is_as_young_as_its_job_so_that_no_cleaner_of_tmp_takes_it(tmp_path):
    """systemd's takes what is ten days old, locked or not, and then the device is leased twice."""
    with lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, folder=tmp_path):
        pass
    (path,) = tmp_path.iterdir()
    os.utime(path, (1, 1))
    with lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, folder=tmp_path):
        assert path.stat().st_mtime > 1


@pytest.mark.parametrize("remade", [False, True])
def test_a_lease_whose_file_was_taken_away_before_it_was_locked_is_none(
    tmp_path, monkeypatch, remade
):
    flock, calls = locks.fcntl.flock, []

    def taken_away(file, how):
        if not calls:
            (path,) = tmp_path.iterdir()
            path.unlink()
            path.touch() if remade else None
        calls.append(how)
        flock(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", taken_away)
    quiet = {"folder": tmp_path, "say": lambda line: None}
    with lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, **quiet):
        assert len(calls) == 2
        with (
            pytest.raises(TimeoutError),
            lease(1, {"CUDA_VISIBLE_DEVICES": "0"}, patience=0, **quiet),
        ):
            pass


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOLCK, "No locks available"), (errno.EOPNOTSUPP, "not supported")],
)
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code, words):
    def refuse(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(CannotWriteError, match=rf"cannot lock .*{words}.*no lock service; have it"),
        run_lock(tmp_path, "train"),
    ):
        pass


# What Linux makes of flock on NFS: an fcntl lock of the open file, with that one's conditions.
NFS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

int flock(int file, int how) {
    struct flock whole = {.l_type = how & LOCK_UN ? F_UNLCK : how & LOCK_SH ? F_RDLCK : F_WRLCK};
    int failed = fcntl(file, how & LOCK_NB ? F_OFD_SETLK : F_OFD_SETLKW, &whole);
    if (failed && errno == EACCES) errno = EWOULDBLOCK;
    return failed;
}
"""

# A driver of two devices and a MIG slice, which shows what CUDA_VISIBLE_DEVICES names, as far as
# it knows it, and one slice at most.
DRIVER = """
#include <stdlib.h>
#include <string.h>

static const char *names[] = {"0", "1", "GPU-aa", "GPU-bb", "MIG-cc", "MIG-aa/1/0", "MIG-dd"};
static const char numbers[] = {0xaa, 0xbb, 0xaa, 0xbb, 0xcc, 0xcc, 0xdd};
static int shown[8], count;

int cuInit(unsigned flags) {
    char *text = strdup(getenv("CUDA_VISIBLE_DEVICES"));
    for (char *name = strtok(text, ","); name; name = strtok(0, ",")) {
        int i = 0;
        while (i < 7 && strcmp(names[i], name)) i++;
        if (i == 7) return 0;
        shown[count++] = i;
        if (i >= 4) return 0;
    }
    return 0;
}
int cuDeviceGetCount(int *n) { *n = count; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDeviceGetUuid_v2(char *uuid, int device) {
    memset(uuid, 0, 16);
    uuid[15] = numbers[shown[device]];
    return 0;
}
"""


@pytest.fixture
def library(tmp_path):
    """Compile a shared library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc or gcc)")

    def build(source, name):
        (tmp_path / "source.c").write_text(source)
        path = tmp_path / name
        command = [compiler, "-shared", "-fPIC", "-o", path, tmp_path / "source.c"]
        subprocess.run(command, check=True)
        return path

    return build


def test_locks_are_taken_on_a_network_file_system(tmp_path, library, monkeypatch):
    """As writer beside writer, reader beside reader, and with a lock that a child keeps."""
    emulation = library(NFS, "nfs.so")
    code = """
import sys, time
from pathlib import Path
from bench.runs.locks import run_lock
folder, stage, reads, waits = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(), sys.argv[4]
try:
    with run_lock(folder, stage, reads=reads, patience=0.1, say=lambda line: None):
        print("taken", flush=True)
        time.sleep(60 if waits == "hold" else 0)
except TimeoutError:
    print("busy")
"""

    def job(stage, reads="", waits=""):
        return subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "run"), stage, reads, waits], cwd=ROOT,
            env=os.environ | {"LD_PRELOAD": str(emulation)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    holder = job("autoattack", "train", "hold")
    try:
        assert holder.stdout.readline() == "taken\n"
        assert job("eps_sweep", "train").communicate()[0] == "taken\n"
        assert job("autoattack", "train").communicate()[0] == "busy\n"
        assert job("train").communicate()[0] == "busy\n"
    finally:
        holder.kill()
        holder.communicate()
    assert job("train").communicate()[0] == "taken\n"


@pytest.mark.parametrize(
    ("listed", "others"),
    [
        ("0,1", ["GPU-aa", "GPU-bb"]),
        ("GPU-bb,0", ["1", "GPU-aa"]),
        ("MIG-cc,MIG-dd", ["MIG-aa/1/0", "MIG-dd"]),
        ("1,unknown/2", ["GPU-bb", "unknown/2"]),
    ],
)
def test_index_uuid_and_mig_name_of_a_device_are_one_lease(
    tmp_path, library, monkeypatch, listed, others
):
    library(DRIVER, "libcuda.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    environ = {"CUDA_VISIBLE_DEVICES": listed}
    pool = visible_gpus(environ)
    with lease(len(pool), environ, folder=tmp_path) as mine:
        assert mine == pool
        for name in others:
            with (
                pytest.raises(TimeoutError, match=f"all of GPUs {name} are leased"),
                lease(1, {"CUDA_VISIBLE_DEVICES": name}, folder=tmp_path, patience=0,
                      say=lambda line: None),
            ):  # fmt: skip
                pass
