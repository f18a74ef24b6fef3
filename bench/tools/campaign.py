"""Run what fits of a suite in a time: python -m bench campaign --suite S --minutes M

For machines that are lent for minutes: it needs no Snakemake, and S may be several suites. All
stages run one after the other on one device in one process, so the program starts up once for all
of them; small runs gain most. Every configuration is trained and attacked with its first seed
before any gets a second seed, in the order of the suites and their lists. Each stage writes its
record as soon as it is done, and a campaign skips stages that bench/runs/stage.py calls done.

The campaign begins a stage only if it expects the stage to fit. It cuts a slower one off when the
time is over, and the next campaign goes on from that checkpoint. If the disk fails or the GPU stops
answering, the campaign ends; the stage in hand leaves no record.
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

from bench.runs.catalogue import folder
from bench.runs.ending import together
from bench.runs.files import CannotWriteError, write_bytes
from bench.runs.record import AUTOATTACK, TRAIN, WEIGHTS, ConfigError, Engine
from bench.runs.run import expand
from bench.runs.stage import CostOptions, TrainOptions
from bench.runs.suite import parse_suite, read_suite
from bench.stages.faults import MachineError, MethodError
from bench.stages.machine import DeviceKind, chosen
from bench.stages.running import Place, Task, execute, new_file, number, positive, summary
from bench.tools import estimate
from bench.tools.cautions import cautions
from workflows.plan import Plan, Work, drop_collapsed

PART_BYTES = 15 * 2**20  # of one part of an archive
WEIGHTS_BYTES = 45 * 2**20  # of all weights in one archive, at most


class CampaignOver(BaseException):
    """Ends the campaign. It is no Exception, so a stage cannot take it for its own failure."""


class Piece(NamedTuple):
    """One stage of one run of one of the suites, and its GPU hours by ``bench.tools.estimate``."""

    plan: Plan
    work: Work
    hours: float

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return self.work.stage.name


def order(plans: Sequence[Plan]) -> list[Piece]:
    """List the work of suites, the most informative first: all first seeds before any second."""
    seeds = max(len(plan.suite.seeds) for plan in plans)
    pieces = (piece for i in range(seeds) for plan in plans for piece in _with_seed(plan, i))
    return list({(id(piece.plan), piece.work.name): piece for piece in pieces}.values())


def _with_seed(plan: Plan, i: int) -> Iterator[Piece]:
    """List a suite's work with its i-th seed, run by run, each after what it reads."""
    for seed in plan.suite.seeds[i : i + 1]:
        of_seed = [work for work in plan.work if work.config.seed == seed]
        for run in dict.fromkeys(work.config.folder for work in of_seed):
            for last in (work for work in of_seed if work.config.folder == run):
                for work in (*plan.reads(last), last):
                    yield Piece(plan, work, estimate.work_hours(work, plan.suite))


def left(pieces: Iterable[Piece]) -> list[Piece]:
    """List the pieces still to do; a failed one counts only if its suite says ``retry_failed``."""
    return [piece for piece in pieces if piece.plan.is_left(piece.work)]


def campaign(
    pieces: Sequence[Piece],
    run: Callable[[Piece], None],
    *,
    seconds: float,
    clock: Callable[[], float],
) -> Iterator[Piece]:
    """Do the pieces that fit into a time, and yield each when it is done.

    The campaign learns from each stage how much slower or faster this machine is than the estimate;
    the first of each stage is assumed to fit.

    Args:
        pieces: in the order in which to try them.
        run: does one piece and leaves its record. An error that it raises skips the piece, and
            CampaignOver ends the campaign.
        seconds: length of the campaign.
        clock: seconds, monotonic.
    """
    end = clock() + seconds
    pace: dict[str, float] = {}  # seconds by estimated hour, as last seen of a stage
    for piece in left(pieces):
        plan, work = piece.plan, piece.work
        name = f"{work.config.folder}, {piece.stage}"
        if not all(plan.file(source).is_file() for source in plan.reads(work)):
            continue  # its training did not fit
        hours = piece.hours or 1.0  # without an estimate, as long as the last seen
        expected = pace.get(piece.stage, 0.0) * hours
        if clock() >= end or clock() + expected > end:
            continue
        start = clock()
        try:
            run(piece)
        except (ValueError, OSError, LookupError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        except CampaignOver as reason:
            print(f"{name}: {reason}")
            return
        # not the slowest: the first run of a process compiles
        pace[piece.stage] = (clock() - start) / hours
        yield piece


def archive(plans: Sequence[Plan], path: Path) -> None:
    """Pack all records of suites into one tar.gz file."""
    runs = [plan.results / "runs" / folder for plan in plans for folder in plan.runs]
    records = sorted({record for run in runs for record in run.glob("*.json")})
    write_bytes(path, _packed((_inside(record), record.read_bytes()) for record in records))


def archive_weights(plans: Sequence[Plan], path: Path) -> list[Path]:
    """Pack half-precision weights of runs still to be read, WEIGHTS_BYTES at most.

    Returns:
        Parts of at most PART_BYTES: PATH.000 and so on; none if there are no such weights.
    """
    from bench.checkpoint import half

    waiting = [piece for piece in left(order(plans)) if piece.stage in (TRAIN, AUTOATTACK)]
    files = dict.fromkeys(
        piece.plan.file(source, WEIGHTS["last"])
        for piece in waiting
        for source in piece.plan.reads(piece.work)
    )
    entries, size = [], 0
    for file in files:
        if file.is_file():
            content = half(file.read_bytes())
            size += len(content)
            if size > WEIGHTS_BYTES:
                break
            entries.append((_inside(file), content))
    content = _packed(entries) if entries else b""
    parts = []
    for i in range(0, len(content), PART_BYTES):
        parts.append(path.with_name(f"{path.name}.{i // PART_BYTES:03d}"))
        write_bytes(parts[-1], content[i : i + PART_BYTES])
    return parts


def _packed(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """Make the bytes of a tar.gz file from names and contents."""
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


def runner(place: Place, engine: Engine | None, end: float) -> Callable[[Piece], None]:
    """Return a function that does one piece in this process; an alarm cuts it off at the end.

    Args:
        place: device and threads; the data folder comes from each suite.
        engine: None for the one that a stage chooses.
        end: when to cut off, in seconds of the monotonic clock.
    """

    def cut_off(*_: object) -> None:
        raise CampaignOver("cut off; the next campaign goes on")

    signal.signal(signal.SIGALRM, cut_off)

    def run(piece: Piece) -> None:
        plan, work = piece.plan, piece.work
        options = plan.options(work)
        if engine and isinstance(options, TrainOptions | CostOptions):
            options = replace(options, engine=engine)
        task = Task(
            work.stage, work.config, options, plan.file(work).parent,
            attempt=plan.attempt(work), again=plan.suite.again,
        )  # fmt: skip
        log = plan.log(work)
        place_of_suite = place._replace(data_dir=Path(plan.data_dir), log=log)
        # every five seconds anew: the first alarm may fall into code that swallows all exceptions
        signal.setitimer(signal.ITIMER_REAL, max(end - time.monotonic(), 1e-3), 5.0)
        try:
            record = execute(task, place_of_suite)
        except (MachineError, CannotWriteError) as error:
            raise CampaignOver(f"{error}; the log is {log}") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(summary(task, record, log), file=sys.stderr)

    return run


def main(words: Sequence[str] | None = None) -> None:
    """Run a campaign and say what is left."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m bench campaign", description="Run what fits of a suite in a time."
    )
    parser.add_argument(
        "--suite", type=Path, nargs="+", required=True, help="their names or YAML files"
    )
    parser.add_argument("--minutes", type=number(0, float), required=True, help="that there are")
    parser.add_argument(
        "--data-dir", type=folder, help="where official files are; the suite's, or .data"
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--device", choices=get_args(DeviceKind), default="auto")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--engine", choices=get_args(Engine), help="how steps are run; auto")
    parser.add_argument(
        "--retry-failed", action="store_true", help="try again what failed or ran out of memory"
    )
    parser.add_argument(
        "--archive", type=new_file,
        help="pack records here after every stage, and at the end weights still to be attacked",
    )  # fmt: skip
    args = parser.parse_args(words)
    if not args.minutes:
        parser.error("--minutes must be more than 0")
    try:
        chosen(args.device)
        plans = [
            _plan(suite, args.retry_failed, args.data_dir, args.results) for suite in args.suite
        ]
        pieces = order(plans)
        for plan in plans:
            for sentence in cautions(plan):
                print(sentence, file=sys.stderr)
            _prepare(plan)
        if args.archive:  # or say now that it cannot be written
            archive(plans, args.archive)
    except (ConfigError, ValueError, OSError, MethodError) as error:
        sys.exit(str(error))
    run = runner(Place(Path(), args.device, args.threads), args.engine, start + 60 * args.minutes)
    remain = start + 60 * args.minutes - time.monotonic()
    try:
        for piece in campaign(pieces, run, seconds=remain, clock=time.monotonic):
            spent = (time.monotonic() - start) / 60
            print(f"{spent:.1f} min: {piece.work.config.folder}, {piece.stage}", flush=True)
            drop_collapsed(plans)
            if args.archive:  # in case this process does not see the end
                archive(plans, args.archive)
        if args.archive:
            archive(plans, args.archive)
            print(f"packed; to unpack: tar xzf {args.archive} -C results")
            if archive_weights(plans, args.archive):
                print(f"and weights: cat {args.archive}.* | tar xz -C results")
    except CannotWriteError as error:
        sys.exit(str(error))
    print(together(plan.ending() for plan in plans).line(
        page=f"the page: python -m bench report --results {args.results}",
        retry="the same command with --retry-failed",
    ))  # fmt: skip


def _plan(suite: Path, retry: bool, data_dir: Path | None, results: Path) -> Plan:
    checked = parse_suite(read_suite(suite) | {"retry_failed": retry})
    chosen = str(data_dir or checked.data_folder)
    return Plan(checked, expand(checked), data_dir=chosen, results=results)


def _prepare(plan: Plan) -> None:
    from bench.data import prepare

    for name in plan.suite.datasets:
        prepare(name, Path(plan.data_dir))
