"""Running of a stage: its flags, locks, device, failures and record.

A stage first *prepares* (data, weights, checkpoint) and then *works*. If preparing finds a mistake
of the user's, the program ends with one paragraph and writes no record, so that the same command
goes on once the mistake is corrected. If working fails, the program writes a record with status and
reason and succeeds, so that the rest of a grid goes on; with --strict it fails. A failure of disk
or device is no result: the program ends with a sentence and no record.
"""

import argparse
import dataclasses
import datetime
import importlib
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bench.runs import catalogue, dropped, evaluations
from bench.runs.ending import title
from bench.runs.files import drop_unfinished
from bench.runs.fingerprints import method_fingerprint
from bench.runs.locks import lease, run_lock
from bench.runs.record import TRAIN, Config, NewerRecordError, Record, Status
from bench.runs.run import parse_run
from bench.runs.stage import Flag, Options, Stage, as_stored, flags_of, stage, stages
from bench.runs.typed import LIMIT
from bench.stages import faults, machine
from bench.stages.faults import MachineError, MethodError
from bench.stages.job import Job, Refused, Skipped, folder_of
from bench.weights import halve

AGAIN = "put it right and give the same command again"


class Task(NamedTuple):
    """A stage of a run that is to be done, with its options and the run's folder."""

    stage: Stage
    config: Config
    options: Options
    folder: Path
    attempt: int = 1  # number of this attempt
    code: str | None = None  # the method's fingerprint when the task was planned
    again: bool = False  # even if it is done

    @property
    def title(self) -> str:
        """The task as messages name it."""
        return title(self.config, self.stage.name)

    @property
    def record(self) -> Path:
        """The path of the stage's record."""
        return self.folder / f"{self.stage.name}.json"

    @property
    def reads(self) -> list[Path]:
        """The paths of the records that it reads, of this run and of others."""
        return [
            (self.folder if config == self.config else folder_of(config, self.config, self.folder))
            / f"{name}.json"
            for config, name in self.stage.reads(self.config)
        ]


class Place(NamedTuple):
    """Where a task is done; another place changes numbers in their last bits at most."""

    data_dir: Path
    device: machine.DeviceKind = "auto"
    threads: int = 1  # of the CPU
    log: Path | None = None  # file for progress; a terminal shows it too


def execute(task: Task, place: Place) -> Record:
    """Do one stage of one run and write its record, or read that if the stage is done already.

    Raises:
        ValueError, OSError, LookupError: the user's mistake; the stage then writes no record.
        MachineError: disk or device failed; there is no record either.
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
        reads = [(path.parent, path.stem) for path in task.reads]
        with (
            run_lock(task.folder, task.stage.name, reads=reads, say=warn),
            lease(0 if place.device == "cpu" else 1, os.environ, say=warn),
        ):
            record = None if task.again else _finished(task, code, say)
            if record is not None:
                say(f"{task.record} is done already; --again does it again")
                task.record.touch()
                return record
            _tidy(task)
            record = _do(task, place, say, warn)
            record.write(task.folder)
            if record.training and vars(task.options).get("keep_weights") == "half":
                halve(task.folder, record.training, say)
            return record
    except (ValueError, OSError, LookupError, MachineError) as error:
        say(f"error: {error}")
        raise


def _tidy(task: Task) -> None:
    """Make room: a job killed as it wrote has left up to a checkpoint behind, each time."""
    drop_unfinished(task.folder, f"{task.stage.name}.*")
    if task.stage.name == TRAIN:
        drop_unfinished(task.folder, "*.safetensors")  # what reads a training waits for it
        drop_unfinished(task.folder / "state")
        dropped.forget(task.folder)


def summary(task: Task, record: Record, log: Path | None = None) -> str:
    """Return one line with a record's status, reason, results and time."""
    text = f"{record.status}: {record.reason}" if record.reason is not None else record.status
    if log and record.status in ("failed", "diverged", "oom"):
        text += f"; see {log}"
    if record.training is not None:
        training = record.training
        text += f", clean {training.clean.accuracy:.1f} %, PGD-10 {training.pgd10.accuracy:.1f} %"
    if record.attack is not None:
        text += f", AutoAttack {record.attack.accuracy:.1f} % of {record.attack.n}"
    if record.expense is not None:
        text += f", {record.expense.time_ratio:.2f} times {record.expense.reference}"
    if record.measure is not None:
        scores, values = record.measure.scores, record.measure.values
        if len(scores) > 1:
            text += f", {len(scores)} accuracies"
        else:
            text += "".join(f", {name} {s.accuracy:.1f} % of {s.n}" for name, s in scores.items())
        text += "".join(f", {name} {value.text}" for name, value in values.items())
    if record.origin is not None:
        text += f", {record.origin.seconds:.0f} s"
    return f"{task.title}: {text} ({task.record})"


def main(program: str, words: Sequence[str] | None = None) -> None:
    """Do the stage that the arguments describe; exit with a message if the user made a mistake."""
    args = make_parser(program).parse_args(words)
    name = args.evaluation if program == "evaluate" else program_stage(program).name
    try:
        task = Task(
            stage(name), parse_run(args.config), parse_options(stage(name), vars(args)), args.out,
            attempt=args.attempt, code=args.code, again=args.again,
        )  # fmt: skip
        record = execute(task, Place(args.data_dir, args.device, args.threads, args.log))
    except (ValueError, OSError, LookupError, MachineError) as error:
        sys.exit(f"{name}: {error}")
    said = summary(task, record, args.log)
    if args.code is None and record.status in ("failed", "diverged", "oom"):  # by hand
        said += "; the same command tries again"
    print(said, file=sys.stderr)
    if args.strict and record.status != "done":
        sys.exit(1)


def program_stage(program: str) -> Stage:
    """Return the first stage that a program does; those of one program have the same flags."""
    return next(stage for stage in stages().values() if stage.program == program)


def make_parser(program: str) -> argparse.ArgumentParser:
    """Make a program's parser, with the flags of all stages and those of its own options."""
    module = importlib.import_module(f"bench.stages.{program}")
    parser = argparse.ArgumentParser(
        prog=f"python -m bench {program}", description=(module.__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--config", required=True, help="the run: a JSON or YAML file, or JSON text"
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    catalogue.add_data_dir(parser)
    parser.add_argument("--device", choices=get_args(machine.DeviceKind), default="auto")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--log", type=Path, help="file for progress; a terminal shows it too")
    parser.add_argument("--attempt", type=positive, default=1, help="number of this attempt; 1")
    parser.add_argument("--code", help="the method's fingerprint when the run was planned")
    parser.add_argument("--strict", action="store_true", help="exit 1 if the run fails")
    parser.add_argument("--again", action="store_true", help="do it even if it is done")
    if program == "evaluate":
        names = ", ".join(evaluations.known())
        parser.add_argument(
            "--evaluation", type=_evaluation, required=True, help=f"{names}; or of other settings"
        )
    for flag in flags_of(program_stage(program).defaults):
        # without a default here, so that a flag left out is None and the stage's default holds
        parser.add_argument(flag.name, type=_type(flag), choices=flag.choices, help=_help(flag))
    return parser


def parse_options(stage: Stage, arguments: Mapping[str, Any]) -> Options:
    """Return a stage's default options, changed by the arguments that are not None."""
    names = [field.name for field in dataclasses.fields(stage.defaults)]
    given = {name: arguments[name] for name in names if arguments[name] is not None}
    return dataclasses.replace(stage.defaults, **given)


def _evaluation(text: str) -> str:
    """Convert an evaluation's name, as it is printed or not, to its stage's, for argparse."""
    try:
        return evaluations.read(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def number(least: float, kind: type = int) -> Callable[[str], Any]:
    """Make a type for argparse: a number from some least one on, in 32 bits."""

    def read(text: str) -> Any:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is not {least} or more")
        if value >= LIMIT:
            raise argparse.ArgumentTypeError(f"{text} is not below {LIMIT:,}")
        return value

    read.__name__ = kind.__name__  # argparse names it where a text is no number
    return read


positive = number(1)


def new_file(text: str) -> Path:
    """Convert the name of a file that is to be written, as a type for argparse."""
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file")
    return Path(text)


def _type(flag: Flag) -> Callable[[str], Any]:
    return str if flag.kind is str else number(flag.least, flag.kind)


def _help(flag: Flag) -> str:
    return flag.meaning if flag.default is None else f"{flag.meaning}; {flag.default}"


def _do(
    task: Task, place: Place, say: Callable[[str], None], warn: Callable[[str], None]
) -> Record:
    """Prepare and work; return a record of what was found, or of why nothing was."""
    device = machine.device(place.device, place.threads)
    job = Job(task.stage, task.config, task.options, task.folder, place.data_dir, device, say)
    bf16 = machine.uses_bf16(job.stage, job.config, job.options)
    if device.type == "cpu" and bf16 and not machine.has_bf16_units():
        warn(machine.SLOW_BF16)
    started, start = datetime.datetime.now(datetime.UTC), time.perf_counter()
    status: Status = "done"
    reason, body = None, {}
    with _warnings_to(say), faults.interrupts() as interrupted:
        try:
            body = _found(job)
        except Refused as error:
            status, reason = "refused", str(error)
        except Skipped as error:
            status, reason = "skipped", str(error)
        except (MethodError, RuntimeError, MemoryError) as error:
            if not isinstance(error, MethodError) and not faults.lacks_memory(error):
                raise
            status, reason = _failure(error.__cause__ or error, job)
        except KeyboardInterrupt:
            if interrupted():
                raise
            status, reason = "failed", "KeyboardInterrupt, which no signal had asked for"
    if reason is not None:
        say(f"{status}: {reason}")
    return Record(
        stage=task.stage.name,
        run=task.config.run_id,
        config=task.config,
        status=status,
        reason=reason,
        attempt=task.attempt,
        options=as_stored(task.options),
        origin=machine.origin(job, started, time.perf_counter() - start),
        **body,
    )


def _found(job: Job) -> dict[str, Any]:
    """Prepare and work; return the body of a record.

    Raises:
        MethodError: from whatever ended the work, an exit of the method's own included.
    """
    program = importlib.import_module(f"bench.stages.{job.stage.program}")
    prepared = program.prepare(job)
    try:
        data, found = program.work(job, prepared)
    except (Refused, Skipped):
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        raise MethodError from error
    return {"data": data, job.stage.body: found}


def _failure(error: BaseException, job: Job) -> tuple[Status, str]:
    """Return status and reason of a run that ended by an exception.

    Raises:
        MachineError: the machine failed, so that the run has no result yet.
    """
    from bench.steplog import Diverged

    if isinstance(error, Diverged):
        return "diverged", str(error)
    job.say("".join(traceback.format_exception(error)))
    if isinstance(error, MemoryError):
        return "oom", "the machine's memory is full"
    if faults.lacks_memory(error):
        return "oom", str(error).partition("\n")[0]
    described = faults.described(error)
    if faults.of_machine(error):
        raise MachineError(f"{described}; this is the machine's failure, not a result: {AGAIN}")
    if not machine.answers(job.device):
        raise MachineError(f"the GPU does not answer any more after {described}; {AGAIN}")
    return "failed", described


def _finished(task: Task, code: str, say: Callable[[str], None]) -> Record | None:
    """Read the task's record if it is done, as by a job that went on after its Snakemake ended.

    A damaged record is moved aside; one of a newer version is an error.
    """
    if not task.record.is_file():
        return None
    try:
        record = Record.read(task.record)
    except NewerRecordError:
        raise
    except ValueError as error:
        aside = task.record.with_suffix(".unreadable")
        task.record.replace(aside)
        say(f"{task.record.name} is now {aside.name}, and the stage is done again: {error}")
        return None
    if record.config != task.config:
        raise ValueError(
            f"{task.folder} holds run {record.run}, of another configuration; choose another --out"
        )
    trainings = [Record.read(path) for path in task.reads if path.is_file()]
    state = task.stage.state(record, task.options, code, task.attempt, trainings)
    return record if state == "done" else None


@contextmanager
def _warnings_to(say: Callable[[str], None]) -> Iterator[None]:
    """Have libraries warn through ``say``, which names the run; once torch is imported."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(f"{record.name}: {record.getMessage()}")

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        say(f"{category.__name__}: {message}")

    handler, torch = Handler(logging.WARNING), logging.getLogger("torch")  # it has its own
    own, torch.handlers = torch.handlers, [handler]
    logging.getLogger().addHandler(handler)
    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            torch.handlers = own


def _speaker(task: Task, place: Place) -> Callable[[str], None]:
    """Return a function that writes a line to the log, and to a terminal if there is one."""
    on_terminal = sys.stderr.isatty()

    def say(line: str) -> None:
        if place.log is not None:
            place.log.parent.mkdir(parents=True, exist_ok=True)
            with place.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.datetime.now().astimezone():%H:%M:%S} {line}\n")
        if on_terminal:
            print(f"{task.title}: {line}", file=sys.stderr)

    return say
