"""How a stage runs: flags, locks, device, failures and the record it ends in.

A stage first *prepares* (data, weights, checkpoint) and then *works*. A mistake of the user's that
preparing finds ends the program with one paragraph and leaves no record, so that the same command
goes on once it is put right. Whatever happens while working becomes a record with status and
reason, and the program succeeds, so that one bad run does not stop a grid; --strict makes it fail.
"""

import argparse
import dataclasses
import datetime
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bench.runs import catalogue
from bench.runs import suite as configs
from bench.runs.fingerprints import method_fingerprint
from bench.runs.locks import lease, run_lock
from bench.runs.record import Config, Record, Status
from bench.runs.stage import Flag, Options, Stage, flags_of, stage, stages
from bench.stages import machine
from bench.stages.job import Job, Refused, Skipped


class Task(NamedTuple):
    """A stage of a run, to be done in a folder."""

    stage: Stage
    config: Config
    options: Options
    folder: Path
    attempt: int = 1  # number of this try
    code: str | None = None  # the method's fingerprint when the task was planned
    again: bool = False  # even if it is done

    @property
    def title(self) -> str:
        """The task for people."""
        config = self.config
        return f"{config.method} seed {config.seed}, {config.dataset}, {self.stage.name}"

    @property
    def record(self) -> Path:
        """File of the stage's record."""
        return self.folder / f"{self.stage.name}.json"


class Place(NamedTuple):
    """Where a task is done: what decides a number's last bits at most."""

    data_dir: Path
    device: machine.Kind = "auto"
    threads: int = 1  # of the CPU
    log: Path | None = None  # file for progress; a terminal shows it too


def execute(task: Task, place: Place) -> Record:
    """Do one stage of one run, unless that is done already, and write its record.

    Raises:
        ValueError, OSError, LookupError: what the user can put right; there is no record then.
    """
    say = _speaker(task, place)

    def warn(line: str) -> None:
        say(line)
        if not sys.stderr.isatty():
            print(f"{task.title}: {line}", file=sys.stderr)

    try:
        code = method_fingerprint(task.config.method)
        if task.code not in (None, code):
            raise ValueError(
                f"methods/{task.config.method}.py was edited after this run was planned; give the "
                "same command again"
            )
        reads = [name for _, name in task.stage.reads(task.config)]
        with (
            run_lock(task.folder, task.stage.name, reads=reads, say=warn),
            lease(0 if place.device == "cpu" else 1, os.environ, say=warn),
        ):
            record = None if task.again else _finished(task, code)
            if record is not None:
                say(f"{task.record} is done already; --again does it again")
                task.record.touch()
                return record
            record = _do(task, place, say)
            record.write(task.folder)
            return record
    except (ValueError, OSError, LookupError) as error:
        say(f"error: {error}")
        raise


def outcome(task: Task, record: Record, log: Path | None = None) -> str:
    """Say what came out, in a few words."""
    said = f"{record.status}: {record.reason}" if record.reason is not None else record.status
    if log and record.status == "failed":
        said += f"; see {log}"
    if record.training is not None:
        trained = record.training
        said += f", clean {trained.clean.accuracy:.1f} %, PGD-10 {trained.pgd10.accuracy:.1f} %"
    if record.attack is not None:
        said += f", AutoAttack {record.attack.accuracy:.1f} % of {record.attack.n}"
    return f"{task.title}: {said} ({task.record})"


def main(program: str, words: Sequence[str] | None = None) -> None:
    """Do the stage that the flags name; exits when it cannot."""
    args = parser(program).parse_args(words)
    name = args.evaluation if program == "evaluate" else program_stage(program).name
    try:
        task = Task(
            stage(name), configs.run(args.config), options(stage(name), vars(args)), args.out,
            attempt=args.attempt, code=args.code, again=args.again,
        )  # fmt: skip
        record = execute(task, Place(args.data_dir, args.device, args.threads, args.log))
    except (ValueError, OSError, LookupError) as error:
        sys.exit(f"{name}: {error}")
    print(outcome(task, record, args.log), file=sys.stderr)
    if args.strict and record.status != "done":
        sys.exit(1)


def program_stage(program: str) -> Stage:
    """Find the first stage that a program does."""
    return next(one for one in stages().values() if one.program == program)


def parser(program: str) -> argparse.ArgumentParser:
    """Make a program's parser: what all stages are told, and the options of its own."""
    module = importlib.import_module(f"bench.stages.{program}")
    made = argparse.ArgumentParser(
        prog=f"python -m bench {program}", description=(module.__doc__ or "").partition("\n")[0]
    )
    made.add_argument("--config", required=True, help="the run: a JSON or YAML file, or JSON text")
    made.add_argument("--out", type=Path, required=True, help="the run's folder")
    made.add_argument(
        "--data-dir", type=Path, default=catalogue.data_folder(),
        help="the data folder, with prepared/ inside; $ONESTEP_DATA, .data",
    )  # fmt: skip
    made.add_argument("--device", choices=get_args(machine.Kind), default="auto")
    made.add_argument("--threads", type=positive, default=1, help="CPU threads")
    made.add_argument("--log", type=Path, help="file for progress; a terminal shows it too")
    made.add_argument("--attempt", type=int, default=1, help="number of this try; default 1")
    made.add_argument("--code", help="the method's fingerprint when the run was planned")
    made.add_argument("--strict", action="store_true", help="exit 1 if the run fails")
    made.add_argument("--again", action="store_true", help="do it even if it is done")
    if program == "evaluate":
        names = [one.name for one in stages().values() if one.program == program]
        made.add_argument("--evaluation", choices=names, required=True)
    for flag in flags_of(program_stage(program).options):
        # None, unless said: the stage knows its own default
        made.add_argument(flag.name, type=_type(flag), choices=flag.choices, help=_help(flag))
    return made


def options(wanted: Stage, said: Mapping[str, Any]) -> Options:
    """Read a stage's options from what was said; None means nothing."""
    names = [field.name for field in dataclasses.fields(wanted.options)]
    given = {name: said[name] for name in names if said[name] is not None}
    return dataclasses.replace(wanted.options, **given)


def positive(text: str) -> int:
    """Read a number of at least 1: argparse's type."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _type(flag: Flag) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = flag.kind(text)
        if flag.kind is not str and not value >= flag.least:
            raise argparse.ArgumentTypeError(f"{text} is not {flag.least} or more")
        return value

    read.__name__ = flag.kind.__name__  # argparse names it where a text is no number
    return read


def _help(flag: Flag) -> str:
    return flag.meaning if flag.default is None else f"{flag.meaning}; {flag.default}"


def _do(task: Task, place: Place, say: Callable[[str], None]) -> Record:
    device = machine.device(place.device, place.threads)
    import torch

    from bench.trainer import Diverged

    job = Job(task.stage, task.config, task.options, task.folder, place.data_dir, device, say)
    program = importlib.import_module(f"bench.stages.{task.stage.program}")
    started, start = datetime.datetime.now(datetime.UTC), time.perf_counter()
    status: Status = "done"
    reason, body = None, {}
    try:
        ready = program.prepare(job)
        try:
            data, found = program.work(job, ready)
            body = {"data": data, task.stage.body: found}
        except Diverged as error:
            status, reason = "diverged", str(error)
        except torch.OutOfMemoryError as error:
            status, reason = "oom", str(error).partition("\n")[0]
        except MemoryError:
            status, reason = "oom", "the machine's memory is full"
        except (Refused, Skipped):
            raise
        except Exception as error:  # noqa: BLE001  # a failed run still writes its record
            say(traceback.format_exc())
            status, reason = "failed", f"{type(error).__name__}: {error}"
    except Refused as error:
        status, reason = "refused", str(error)
    except Skipped as error:
        status, reason = "skipped", str(error)
    if reason is not None:
        say(f"{status}: {reason}")
    return Record(
        stage=task.stage.name,
        run=task.config.run_id,
        config=task.config,
        status=status,
        reason=reason,
        attempt=task.attempt,
        options=dataclasses.asdict(task.options),
        origin=machine.origin(job, started, time.perf_counter() - start),
        **body,
    )


def _finished(task: Task, code: str) -> Record | None:
    """Find the record of this very task, made meanwhile by a job that outlived its Snakemake."""
    if not task.record.is_file():
        return None
    record = Record.read(task.record)
    if record.config != task.config:
        raise ValueError(
            f"{task.folder} holds run {record.run}, of another configuration; choose another --out"
        )
    state = task.stage.state(record, task.options, code, task.attempt)
    return record if state == "done" else None


def _speaker(task: Task, place: Place) -> Callable[[str], None]:
    loud = sys.stderr.isatty()

    def say(line: str) -> None:
        if place.log is not None:
            place.log.parent.mkdir(parents=True, exist_ok=True)
            with place.log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.datetime.now().astimezone():%H:%M:%S} {line}\n")
        if loud:
            print(f"{task.title}: {line}", file=sys.stderr)

    return say
