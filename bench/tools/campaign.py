"""Run what fits of a suite in a time: python -m bench campaign --suite S --minutes M

Without Snakemake, for machines that are lent for minutes; S may be several suites. All jobs share
one process, so none pays for starting up; small runs gain most. One job after the other on one
device: every configuration with the first seed before any with the second, in the order of the
suites and their lists, each trained and then attacked. A record is written as soon as a stage is
done; what is there already is not done again, but for attacks on fewer images than are asked for.
Nothing is begun that should not fit; what takes longer than it should is cut off when the time is
over, and the next campaign goes on from its checkpoint. A GPU that does not answer after a failure
ends the campaign, and the failure leaves no record: it is the process's, not the method's.
"""

import argparse
import io
import shlex
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple, get_args

from bench.runs import suite as configs
from bench.runs.catalogue import MEASURE, ROOT
from bench.runs.files import write_bytes
from bench.runs.record import AUTOATTACK, COST, TRAIN, Config, Engine, Record, read_status
from bench.stages import attack, cost, evaluate, job, train
from bench.tools import estimate
from workflows.plan import Plan

STAGES = {TRAIN: train.main, AUTOATTACK: attack.main, COST: cost.main}  # others: evaluate.main
PART = 15 * 2**20  # bytes of one part of an archive
ROOM = 45 * 2**20  # bytes of weights in one


class Over(BaseException):
    """The campaign ends here; no Exception, so that no stage takes it for its own failure."""


class Work(NamedTuple):
    """One stage of one run, and how long it should take by the stated rate."""

    plan: Plan
    stage: str
    folder: str
    config: Config
    hours: float


def order(plans: Sequence[Plan]) -> list[Work]:
    """List the work of suites, the most informative first: all first seeds before any second."""
    most = max(len(plan.suite.seeds) for plan in plans)
    listed: list[Work] = []
    for i in range(most):
        for plan in plans:
            listed += _with_seed(plan, i)
    return listed


def _with_seed(plan: Plan, i: int) -> Iterator[Work]:
    """List a suite's work with its i-th seed; costs come with the first alone."""
    for seed in plan.suite.seeds[i : i + 1]:
        for folder, run in plan.runs.items():
            if run.seed != seed:
                continue
            stages = {
                TRAIN: estimate.train_hours(run),
                AUTOATTACK: estimate.attack_hours(run, plan.suite.attack_images),
            }
            stages |= dict.fromkeys(plan.suite.evaluations, 0.0)
            if i == 0:
                stages[COST] = 0.0
            for stage, hours in stages.items():
                yield Work(plan, stage, folder, run, hours)


def left(works: Iterable[Work]) -> list[Work]:
    """Leave out what has a record; one of an attack on fewer images than asked for is none.

    A record of failure is one, unless the suite says ``retry_failed``.
    """
    return [work for work in works if not _recorded(work)]


def _recorded(work: Work) -> bool:
    path = _file(work, f"{work.stage}.json")
    status, _ = read_status(path)
    if status != "done" or work.stage != AUTOATTACK:
        return status == "done" or not (status == "missing" or work.plan.suite.retry_failed)
    record = Record.read(path)
    return record.attack is None or record.attack.n >= job.count(
        work.plan.suite.attack_images, record
    )


def failed(works: Iterable[Work]) -> int:
    """Count work that ended without numbers, other than what makes no sense."""
    statuses = [read_status(_file(work, f"{work.stage}.json"))[0] for work in works]
    return sum(status in ("failed", "diverged", "oom", "skipped") for status in statuses)


def campaign(
    works: Sequence[Work],
    run: Callable[[Work], None],
    *,
    seconds: float,
    clock: Callable[[], float],
) -> Iterator[Work]:
    """Do what fits, yielding each piece of work when it is done.

    How much slower or faster this machine is than the stated rate, it learns as it goes: until a
    stage has been seen, it is assumed to fit.

    Args:
        works: in the order in which to try them.
        run: does one piece of work; leaves a record, or raises SystemExit, or Over.
        seconds: that there are.
        clock: seconds, monotonic.
    """
    end = clock() + seconds
    pace: dict[str, float] = {}  # seconds by estimated hour, as last seen of a stage
    for work in left(works):
        if work.stage not in (TRAIN, COST) and not _file(work, f"{TRAIN}.json").is_file():
            continue  # its training did not fit
        size = work.hours or 1.0  # without an estimate, as long as the last seen
        expected = pace.get(work.stage, 0.0) * size
        if clock() >= end or clock() + expected > end:
            continue
        start = clock()
        try:
            run(work)
        except SystemExit as error:
            print(f"{work.folder}, {work.stage}: {error}", file=sys.stderr)
            continue
        except Over as why:
            print(f"{work.folder}, {work.stage}: {why}")
            return
        # not the slowest: the first run of a process compiles
        pace[work.stage] = (clock() - start) / size
        yield work


def archive(plans: Sequence[Plan], path: Path) -> None:
    """Pack all records of suites."""
    runs = [plan.results / "runs" / folder for plan in plans for folder in plan.runs]
    records = sorted({record for run in runs for record in run.glob("*.json")})
    write_bytes(path, _packed((_inside(record), record.read_bytes()) for record in records))


def archive_weights(plans: Sequence[Plan], path: Path) -> list[Path]:
    """Pack half-precision weights of runs still to be attacked, as many as ROOM holds.

    Returns:
        Parts of at most PART bytes: PATH.000 and so on; none if there are no such weights.
    """
    from safetensors.torch import load, save

    waiting = [work for work in left(order(plans)) if work.stage == AUTOATTACK]
    files = dict.fromkeys(_file(work, "model.safetensors") for work in waiting)
    entries, size = [], 0
    for file in files:
        if file.is_file():
            half = {k: v.half() if v.is_floating_point() else v
                    for k, v in load(file.read_bytes()).items()}  # fmt: skip
            content = save(half)
            size += len(content)
            if size > ROOM:
                break
            entries.append((_inside(file), content))
    content = _packed(entries) if entries else b""
    parts = []
    for i in range(0, len(content), PART):
        parts.append(path.with_name(f"{path.name}.{i // PART:03d}"))
        write_bytes(parts[-1], content[i : i + PART])
    return parts


def _packed(entries: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _inside(path: Path) -> str:
    """Name a run's file as below results/."""
    return "/".join(("runs", *path.parts[-5:]))


def do(args: argparse.Namespace, end: float) -> Callable[[Work], None]:
    """Return a function that does one piece of work in this process, and is cut off at an end.

    Args:
        end: on the monotonic clock, seconds.
    """

    def over(*_: object) -> None:
        raise Over("cut off; the next campaign goes on")

    signal.signal(signal.SIGALRM, over)

    def run(work: Work) -> None:
        plan = work.plan
        optional = work.stage not in STAGES
        wildcards = SimpleNamespace(run=work.folder, measure=work.stage)
        words = ["--measure", work.stage] if optional else []
        words += shlex.split(plan.job(MEASURE if optional else work.stage)(wildcards))
        words += ["--out", str(_file(work, "")), "--data-dir", plan.data_dir]
        words += ["--device", args.device, "--threads", str(args.threads)]
        if args.engine and work.stage in (TRAIN, COST):
            words += ["--engine", args.engine]
        words += ["--log", str(plan.results / "logs" / work.folder / f"{work.stage}.log")]
        # again after some seconds: the first may fall into code that swallows everything
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 1e-3), 5.0)
        try:
            STAGES.get(work.stage, evaluate.main)(words)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        record = _file(work, f"{work.stage}.json")
        if read_status(record)[0] == "failed" and not answers():
            record.unlink()
            raise Over(
                "the GPU does not answer any more; see its log, and start the campaign again"
            )

    return run


def answers() -> bool:
    """Does the GPU still compute and draw numbers in this process; True where there is none."""
    import torch

    if not torch.cuda.is_initialized():
        return True
    try:
        torch.rand(8, device="cuda").sum().item()
    except RuntimeError:
        return False
    return True


def _file(work: Work, name: str) -> Path:
    return work.plan.results / "runs" / work.folder / name


def main(words: Sequence[str] | None = None) -> None:
    """Run a campaign and say what is left."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m bench campaign", description="Run what fits of a suite in a time."
    )
    parser.add_argument(
        "--suite", type=Path, nargs="+", required=True, help="names or files of suites"
    )
    parser.add_argument("--minutes", type=float, required=True, help="that there are")
    parser.add_argument("--data-dir", help="where official files are; the suite's, or .data")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--engine", choices=get_args(Engine), help="how steps are run; auto")
    parser.add_argument(
        "--retry-failed", action="store_true", help="try again what failed or ran out of memory"
    )
    parser.add_argument(
        "--archive", type=Path,
        help="pack records here after every stage, and at the end weights still to be attacked",
    )  # fmt: skip
    args = parser.parse_args(words)
    if args.minutes <= 0:
        parser.error("--minutes must be more than 0")
    try:
        plans = [_plan(suite, args) for suite in args.suite]
        for plan in plans:
            _prepare(plan)
    except (configs.ConfigError, ValueError, OSError) as error:
        sys.exit(str(error))
    works = order(plans)
    done = 0
    run = do(args, start + 60 * args.minutes)
    remain = start + 60 * args.minutes - time.monotonic()
    for work in campaign(works, run, seconds=remain, clock=time.monotonic):
        done += 1
        spent = (time.monotonic() - start) / 60
        print(f"{spent:.1f} min: {work.folder}, {work.stage}", flush=True)
        if args.archive:  # in case this process does not see the end
            archive(plans, args.archive)
    print(f"{done} done now, {len(left(works))} of {len(works)} left")
    if bad := failed(works):
        print(f"{bad} failed, or follow what failed; --retry-failed tries them again")
    print(f"the page: python -m bench report --results {args.results}")
    if args.archive:
        archive(plans, args.archive)
        print(f"packed; to unpack: tar xzf {args.archive} -C results")
        if archive_weights(plans, args.archive):
            print(f"and weights: cat {args.archive}.* | tar xz -C results")


def _plan(suite: Path, args: argparse.Namespace) -> Plan:
    path = suite if suite.suffix else ROOT / f"workflows/config/{suite}.yaml"
    checked = configs.suite(configs.load(path) | {"retry_failed": args.retry_failed})
    folder = args.data_dir or configs.data_dir(checked)
    return Plan(checked, configs.runs(checked), data_dir=folder, results=args.results)


def _prepare(plan: Plan) -> None:
    from bench.data import prepare

    for name in plan.suite.datasets:
        prepare(name, Path(plan.data_dir))
