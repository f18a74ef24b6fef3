"""A SLURM cluster of one made-up node on loopback, which dies with the process that started it.

All of it lives in a namespace of process ids, whose first process is this file, run as a
program. When that one ends, the kernel kills all others in there: daemons, jobs, and what jobs
started. It is killed after the tests, and by the kernel when the process that started it dies
(PDEATHSIG).
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

# Debian's package of each program
NEEDED = {
    "munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "squeue": "slurm-client",
    "slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "unshare": "util-linux",
}  # fmt: skip
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
SETTINGS = "/etc/slurm"  # where Debian's SLURM looks without SLURM_CONF
STARTS = 300.0  # seconds; what takes longer does not start
CONF = """
ClusterName=onestep
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType={storage}
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStoragePass={folder}/munge.socket
KillWait=5
MessageTimeout=60
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName=localhost NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 \
ThreadsPerCore=1 RealMemory=200000 Gres=gpu:2
PartitionName=main Nodes=localhost Default=YES
"""
ACCOUNTS = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounts}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
DATABASE = """
create database slurm;
create user slurm identified by 'slurm';
grant all on slurm.* to slurm;
"""


def lacking():
    """Say in a sentence what this machine lacks for a cluster, and how to get it; "" if nothing."""
    # daemons are in folders that only root has in its PATH
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in NEEDED if not shutil.which(name, path=path)]
    if missing:
        packages = " ".join(NEEDED[name] for name in missing)
        return (
            f"A SLURM cluster for tests needs {', '.join(missing)}: as root on Debian or Ubuntu, "
            f"`apt-get install -y --no-install-recommends {packages}`."
        )
    if not _works(*NAMESPACE, "true"):
        return "A SLURM cluster for tests needs CAP_SYS_ADMIN for `unshare --pid`: run it as root."
    return ""


@contextmanager
def running(folder, *, accounting):
    """Run a cluster below an empty folder; yields the file by which SLURM_CONF means it."""
    ready = folder / "ready"
    dying_with_us = ["setpriv", "--pdeathsig", "KILL", *NAMESPACE, "--kill-child"]
    words = [sys.executable, __file__, folder, "with" if accounting else "without"]
    with (folder / "cluster.log").open("w") as log:
        first = subprocess.Popen([*dying_with_us, *words], stdout=log, stderr=subprocess.STDOUT)
    try:
        _until(lambda: ready.exists() or first.poll() is not None, folder)
        assert ready.exists(), (folder / "cluster.log").read_text()
        yield str(folder / "slurm.conf")
    finally:
        first.kill()
        first.wait()
        _until(lambda: not processes(folder), folder)


def processes(folder):
    """List the processes whose command or environment names a folder, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in told and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


def _until(claim, folder):
    end = time.monotonic() + STARTS
    while not claim():
        assert time.monotonic() < end, f"the cluster did not start; its logs are in {folder}"
        time.sleep(0.1)


def _ports(count):
    with ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in free]


def _write(folder, storage):
    names = ("controller", "node", "accounts", "database")
    values = dict(zip(names, _ports(4), strict=True)) | {"folder": folder, "storage": storage}
    for name in ("state", "spool", "mysql"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONF.format(**values))
    for name in ("gpu0", "gpu1"):  # SLURM counts files, of whatever kind
        (folder / name).touch()
    (folder / "gres.conf").write_text(f"NodeName=localhost Name=gpu File={folder}/gpu[0-1]\n")
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "slurmdbd.conf").touch(0o600)
    (folder / "slurmdbd.conf").write_text(ACCOUNTS.format(**values))
    return values


def _daemon(folder, *words):
    """Start a program that stays in the foreground."""
    with (folder / f"{words[0]}.log").open("w") as log:
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def _works(*words, **rest):
    return subprocess.run(words, capture_output=True, check=False, **rest).returncode == 0


def _keep_accounts(folder, port):
    """Start the database and the daemon that writes accounts into it, and make an account."""
    data = f"--datadir={folder}/mysql"
    by_password = "--auth-root-authentication-method=normal"
    subprocess.run(["mariadb-install-db", "--user=root", data, by_password], check=True)
    file = f"--socket={folder}/mysql.socket"
    _daemon(folder, "mariadbd", "--no-defaults", "--user=root", data, file, f"--port={port}",
            "--bind-address=127.0.0.1", "--skip-name-resolve")  # fmt: skip
    _until(lambda: _works("mariadb", file, "-e", "select 1"), folder)
    subprocess.run(["mariadb", file, "-e", DATABASE], check=True)
    _daemon(folder, "slurmdbd", "-D")
    # before the controller: one that registers first is a cluster without tables
    _until(lambda: _works("sacctmgr", "-i", "add", "cluster", "onestep", timeout=STARTS), folder)
    for words in ("account proj cluster=onestep", "user root account=proj"):
        subprocess.run(["sacctmgr", "-i", "add", *words.split()], check=True)


def _main(folder, accounting):
    kind = "slurmdbd" if accounting else "none"
    values = _write(folder, f"accounting_storage/{kind}")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    key, sock = folder / "munge.key", folder / "munge.socket"
    key.touch(0o600)
    key.write_bytes(os.urandom(128))
    # --force: it dislikes folders that only root can enter
    _daemon(folder, "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={sock}",
            f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed")  # fmt: skip
    _until(lambda: _works("munge", "-n", f"--socket={sock}"), folder)
    if accounting:
        _keep_accounts(folder, values["database"])
    # for jobs in here, whose SLURM_CONF the plug-in drops (slurm-jobstep 0.6.1)
    subprocess.run(["mount", "--bind", folder, SETTINGS], check=True)
    _daemon(folder, "slurmctld", "-D")
    _daemon(folder, "slurmd", "-D", "-N", "localhost")
    idle = ["sinfo", "--noheader", "--format=%T"]
    _until(lambda: subprocess.run(idle, capture_output=True).stdout == b"idle\n", folder)
    (folder / "ready").touch()
    while True:  # the first process inherits those that lost their parents
        try:
            os.wait()
        except ChildProcessError:
            sys.exit("all daemons have ended")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2] == "with")
