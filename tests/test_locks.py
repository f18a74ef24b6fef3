"""Locks of real processes: jobs that share a run's folder or GPUs, and jobs that are killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.runs import locks
from bench.runs.catalogue import ROOT
from bench.runs.locks import lease, run_lock, try_lock, visible_gpus

JOB = """
import os, sys, time
from pathlib import Path
from bench.runs.locks import lease, run_lock
folder, seconds, name = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
with lease(1, os.environ, folder=folder / "locks") as mine:
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
with lease(1, os.environ, folder=folder / "locks"):
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    (folder / "child").write_text(str(child.pid))
    (folder / "log").write_text("parent start\\n")
    time.sleep(60)
"""
    parent = start(tmp_path, "parent", devices="0", code=code)
    wait_for(lambda: started(tmp_path, "parent"))
    parent.send_signal(signal.SIGKILL)
    parent.wait(30)
    path = tmp_path / "locks/gpu-0.lock"
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
        with lease(1, environ, folder=tmp_path / "locks") as mine:
            assert mine == []
            assert environ == before
    assert not (tmp_path / "locks").exists()


def test_a_job_for_the_cpu_leases_nothing(tmp_path):
    environ = {"CUDA_VISIBLE_DEVICES": "0,1"}
    with lease(0, environ, folder=tmp_path / "locks") as mine:
        assert mine == []
    assert not (tmp_path / "locks").exists()


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
    with lease(1, environ, folder=tmp_path / "locks") as mine:
        assert mine == ["0"]
    assert not (tmp_path / "locks").exists()


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
