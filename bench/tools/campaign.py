"""Run what fits of a suite in a time: python -m bench campaign --suite S --minutes M

Without Snakemake, for machines that are lent for minutes; S may be several suites. All jobs share
one process, so none pays for starting up; small runs gain most. One job after the other on one
device: every configuration with the first seed before any with the second, in the order of the
suites and their lists, each trained and then attacked. A record is written as soon as a stage is
done; what is done already, by the rules of bench/runs/stage.py, is not done again.
Nothing is begun that should not fit; what takes longer than it should is cut off when the time is
over, and the next campaign goes on from its checkpoint. A GPU that does not answer after a failure
ends the campaign, and the failure leaves no record: it is the process's, not the method's.
"""

import argparse
import io
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

from bench.runs import suite as configs
from bench.runs.catalogue import ROOT
from bench.runs.files import write_bytes
from bench.runs.record import AUTOATTACK, Engine
from bench.runs.stage import CostOptions, TrainOptions
from bench.stages.machine import Kind
from bench.stages.running import Place, Task, execute, outcome, positive
from bench.stages.setup import WEIGHTS
from bench.tools import estimate
from workflows.plan import Plan, Work

PART = 15 * 2**20  # bytes of one part of an archive
ROOM = 45 * 2**20  # bytes of weights in one


class Over(BaseException):
    """The campaign ends here; no Exception, so that no stage takes it for its own failure."""


class Piece(NamedTuple):
    """One stage of one run of one of the suites, and how long it should take by the stated rate."""

    plan: Plan
    work: Work
    hours: float

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.work.stage.name


def order(plans: Sequence[Plan]) -> list[Piece]:
    """List the work of suites, the most informative first: all first seeds before any second."""
    most = max(len(plan.suite.seeds) for plan in plans)
    return [piece for i in range(most) for plan in plans for piece in _with_seed(plan, i)]


def _with_seed(plan: Plan, i: int) -> Iterator[Piece]:
    """List a suite's work with its i-th seed, run by run."""
    for seed in plan.suite.seeds[i : i + 1]:
        mine = [work for work in plan.work if work.config.seed == seed]
        for run in dict.fromkeys(work.config.folder for work in mine):
            for work in (work for work in mine if work.config.folder == run):
                yield Piece(plan, work, estimate.hours(work, plan.suite))


def left(pieces: Iterable[Piece]) -> list[Piece]:
    """Leave out what is done, and what failed unless its suite says ``retry_failed``."""
    return [piece for piece in pieces if piece.plan.is_left(piece.work)]


def failed(pieces: Iterable[Piece]) -> int:
    """Count work that ended without numbers, other than what makes no sense."""
    records = [piece.plan.record(piece.work) for piece in pieces]
    return sum(one is not None and one.status not in ("done", "refused") for one in records)


def campaign(
    pieces: Sequence[Piece],
    run: Callable[[Piece], None],
    *,
    seconds: float,
    clock: Callable[[], float],
) -> Iterator[Piece]:
    """Do what fits, yielding each piece of work when it is done.

    How much slower or faster this machine is than the stated rate, it learns as it goes: until a
    stage has been seen, it is assumed to fit.

    Args:
        pieces: in the order in which to try them.
        run: does one piece of work and leaves a record, or raises what is wrong with it, or Over.
        seconds: that there are.
        clock: seconds, monotonic.
    """
    end = clock() + seconds
    pace: dict[str, float] = {}  # seconds by estimated hour, as last seen of a stage
    for piece in left(pieces):
        plan, work = piece.plan, piece.work
        name = f"{work.config.folder}, {piece.stage}"
        if any(not plan.file(work, f"{source}.json").is_file()
               for _, source in work.stage.reads(work.config)):  # fmt: skip
            continue  # its training did not fit
        size = piece.hours or 1.0  # without an estimate, as long as the last seen
        expected = pace.get(piece.stage, 0.0) * size
        if clock() >= end or clock() + expected > end:
            continue
        start = clock()
        try:
            run(piece)
        except (ValueError, OSError, LookupError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        except Over as why:
            print(f"{name}: {why}")
            return
        # not the slowest: the first run of a process compiles
        pace[piece.stage] = (clock() - start) / size
        yield piece


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

    waiting = [piece for piece in left(order(plans)) if piece.stage == AUTOATTACK]
    files = dict.fromkeys(one.plan.file(one.work, WEIGHTS["last"]) for one in waiting)
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


def do(place: Place, engine: Engine | None, end: float) -> Callable[[Piece], None]:
    """Return a function that does one piece of work in this process, and is cut off at an end.

    Args:
        place: where; the suites say where their data are.
        engine: None for the one that a stage takes by itself.
        end: on the monotonic clock, seconds.
    """

    def over(*_: object) -> None:
        raise Over("cut off; the next campaign goes on")

    signal.signal(signal.SIGALRM, over)

    def run(piece: Piece) -> None:
        plan, work = piece.plan, piece.work
        options = plan.options(work)
        if engine and isinstance(options, TrainOptions | CostOptions):
            options = replace(options, engine=engine)
        task = Task(
            work.stage, work.config, options, plan.file(work).parent,
            attempt=plan.attempt(work), again=plan.suite.again,
        )  # fmt: skip
        log = plan.results / "logs" / work.config.folder / f"{piece.stage}.log"
        here = place._replace(data_dir=Path(plan.data_dir), log=log)
        # again after some seconds: the first may fall into code that swallows everything
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 1e-3), 5.0)
        try:
            record = execute(task, here)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(outcome(task, record, log), file=sys.stderr)
        if record.status == "failed" and not answers():
            task.record.unlink()
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
    parser.add_argument("--device", choices=get_args(Kind), default="auto")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
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
        plans = [
            _plan(suite, args.retry_failed, args.data_dir, args.results) for suite in args.suite
        ]
        for plan in plans:
            _prepare(plan)
    except (configs.ConfigError, ValueError, OSError) as error:
        sys.exit(str(error))
    pieces = order(plans)
    done = 0
    run = do(Place(Path(), args.device, args.threads), args.engine, start + 60 * args.minutes)
    remain = start + 60 * args.minutes - time.monotonic()
    for piece in campaign(pieces, run, seconds=remain, clock=time.monotonic):
        done += 1
        spent = (time.monotonic() - start) / 60
        print(f"{spent:.1f} min: {piece.work.config.folder}, {piece.stage}", flush=True)
        if args.archive:  # in case this process does not see the end
            archive(plans, args.archive)
    print(f"{done} done now, {len(left(pieces))} of {len(pieces)} left")
    if bad := failed(pieces):
        print(f"{bad} failed, or follow what failed; --retry-failed tries them again")
    print(f"the page: python -m bench report --results {args.results}")
    if args.archive:
        archive(plans, args.archive)
        print(f"packed; to unpack: tar xzf {args.archive} -C results")
        if archive_weights(plans, args.archive):
            print(f"and weights: cat {args.archive}.* | tar xz -C results")


def _plan(suite: Path, retry: bool, data_dir: str | None, results: Path) -> Plan:
    path = suite if suite.suffix else ROOT / f"workflows/config/{suite}.yaml"
    checked = configs.suite(configs.load(path) | {"retry_failed": retry})
    folder = data_dir or configs.data_dir(checked)
    return Plan(checked, configs.runs(checked), data_dir=folder, results=results)


def _prepare(plan: Plan) -> None:
    from bench.data import prepare

    for name in plan.suite.datasets:
        prepare(name, Path(plan.data_dir))
