"""What the programs of a run share: arguments, locks, device, failures and the record they end in.

A stage first *prepares* (data, weights, checkpoint) and then *works*. A mistake of the user's that
preparing finds ends the program with one paragraph and leaves no record, so that the same command
goes on once it is put right. Whatever happens while working becomes a record with status and
reason, and the program succeeds, so that one bad run does not stop a grid; --strict makes it fail.
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

from bench.runs import catalogue, fingerprints
from bench.runs import suite as configs
from bench.runs.locks import lease, run_lock
from bench.runs.record import TRAIN, Config, Data, Engine, Origin, Record, Status, radius

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.method import Method
    from bench.models import Net

T = TypeVar("T")


class Refused(RuntimeError):
    """The combination makes no sense; says why and what would."""


class Skipped(RuntimeError):
    """An earlier stage is not done; says which and why."""


class Job(NamedTuple):
    """One stage of one run."""

    stage: str
    config: Config
    folder: Path
    data_dir: Path
    device: "torch.device"
    args: argparse.Namespace
    say: Callable[[str], None]

    @property
    def eps(self) -> float:
        """Radius on the [0, 1] scale."""
        return radius(self.config.eps)


def arguments(stage: str, description: str) -> argparse.ArgumentParser:
    """Make the parser that the stages share."""
    parser = argparse.ArgumentParser(
        prog=f"python -m bench {catalogue.program(stage)}", description=description
    )
    parser.add_argument(
        "--config", required=True, help="the run: a JSON or YAML file, or JSON text"
    )
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument(
        "--data-dir", type=Path, default=catalogue.data_folder(),
        help="the data folder, with prepared/ inside; $ONESTEP_DATA, .data",
    )  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs to lease, where there are any")
    parser.add_argument("--log", type=Path, help="file for progress; a terminal shows it too")
    parser.add_argument("--attempt", type=int, default=1, help="number of this try; default 1")
    parser.add_argument("--code", help="the method's fingerprint when the run was planned")
    parser.add_argument("--strict", action="store_true", help="exit 1 if the run fails")
    return parser


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Let a stage that trains be told how."""
    parser.add_argument(
        "--engine",
        choices=("auto", *get_args(Engine)),
        default="auto",
        help="how steps are run; auto: captured on a GPU, eager on a CPU",
    )


def execute(
    stage: str,
    args: argparse.Namespace,
    prepare: Callable[[Job], T],
    work: Callable[[Job, T], dict[str, Any]],
    *,
    fits: Callable[[Record], bool],
    reads: str | None = None,
) -> None:
    """Do one stage of one run and write its record; exits when it cannot.

    Args:
        prepare: raises ValueError or OSError for what the user can put right.
        work: returns the record's fields beyond the head.
        fits: was a finished record made with the options given now; if not, it is made again.
        reads: the stage whose files this one reads.
    """
    try:
        config = configs.run(args.config)
    except configs.ConfigError as error:
        sys.exit(f"{stage}: {error}")
    title = f"{config.method} seed {config.seed}, {config.dataset}, {stage}"
    say = _speaker(args, title)

    def warn(line: str) -> None:
        say(line)
        if not sys.stderr.isatty():
            print(f"{title}: {line}", file=sys.stderr)

    try:
        if args.code and args.code != fingerprints.method_fingerprint(config.method):
            raise ValueError(
                f"methods/{config.method}.py was edited after this run was planned; give the same "
                "command again"
            )
        with (
            run_lock(args.out, stage, reads=reads, say=warn),
            lease(0 if args.device == "cpu" else args.gpus, os.environ, say=warn),
        ):
            record = _finished(stage, config, args)
            if record is None or not fits(record):
                record = _do(Job(stage, config, args.out, args.data_dir, device(args), args, say),
                             prepare, work)  # fmt: skip
                record.write(args.out)
            else:
                say(f"{args.out}/{stage}.json is done already; remove it to do it again")
                (args.out / f"{stage}.json").touch()
    except (ValueError, OSError, LookupError) as error:
        say(f"error: {error}")
        sys.exit(f"{stage}: {error}")
    where = f"; see {args.log}" if args.log and record.status == "failed" else ""
    result = (
        _summary(record) if record.reason is None else f"{record.status}: {record.reason}{where}"
    )
    print(f"{title}: {result} ({args.out}/{stage}.json)", file=sys.stderr)
    if args.strict and record.status != "done":
        sys.exit(1)


def _summary(record: Record) -> str:
    """Say what came out, in a few words."""
    if record.training is not None:
        trained = record.training
        return f"done, clean {trained.clean.accuracy:.1f} %, PGD-10 {trained.pgd10.accuracy:.1f} %"
    if record.attack is not None:
        return f"done, AutoAttack {record.attack.accuracy:.1f} % of {record.attack.n}"
    return record.status


def positive(text: str) -> int:
    """Read a number of images: argparse's type."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def count(wanted: int | None, record: Record) -> int:
    """Say how many test images an option means."""
    there = record.data.test_images if record.data else 0
    return min(wanted or there, there)


def upstream(job: Job) -> Record:
    """Read what training left for a later stage.

    Raises:
        ValueError: there is no record, or no valid one.
    """
    path = job.folder / f"{TRAIN}.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing; train the run first")
    return Record.read(path)


def data(job: Job) -> "tuple[Loaded, Data]":
    """Load the run's data set, and say for the record which pictures they are."""
    from bench.data import load

    found = load(job.config.dataset, job.data_dir)
    count = len(found.images.train_y) - job.config.protocol.get("validation", 0)
    return found, Data(
        checksum=found.checksum,
        official=found.official,
        train_images=min(job.config.train_images or count, count),
        test_images=len(found.images.test_y),
    )


def network(job: Job, loaded: "Loaded") -> "Net":
    """Build the run's network with fresh weights, the same for every method of a seed."""
    import torch

    from bench.models import allow, build
    from bench.seeds import WEIGHTS, stream

    if job.config.precision == "tf32" and job.device.type == "cpu":
        raise ValueError("tf32 is a format of GPUs; use fp32 or bf16 on a CPU")
    allow(job.config.precision)
    torch.manual_seed(stream(job.config.seed, WEIGHTS))
    known = loaded.info
    net = build(
        job.config.architecture,
        shape=known.shape,
        classes=known.classes,
        width=job.config.width,
        mean=known.mean,
        std=known.std,
        precision=job.config.precision,
    )
    return net.to(job.device)


def exact(net: "torch.nn.Module") -> "Net":
    """Put a trained network into eval mode and fp32: what is claimed of it holds there.

    Logits in bf16 come in steps in which attacks lose their way, which looks like robustness.
    """
    from bench.models import Net, allow

    allow("fp32")
    assert isinstance(net, Net), "a network without its shell"
    net.precision = "fp32"
    net.eval()
    return net


def method(job: Job) -> "Method":
    """Make the run's method with its settings, and seed the noise it will draw."""
    import torch

    from bench.seeds import NOISE, stream
    from methods import load

    torch.manual_seed(stream(job.config.seed, NOISE))
    return load(job.config.method)(eps=job.eps, **job.config.settings)


def test_images(job: Job, loaded: "Loaded", n: int | None) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the first n test images in [0, 1] and their labels, on the device; all if None."""
    x, y = loaded.images.test_x[:n], loaded.images.test_y[:n]
    return x.to(job.device).float() / 255, y.to(job.device)


def held_out_images(
    job: Job, loaded: "Loaded", rows: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return some training images as they are, in [0, 1], and their labels, on the device.

    A picture whose crop is resized at random is here the middle of it, not resized.
    """
    x, y = loaded.images.train_x[rows], loaded.images.train_y[rows]
    (_, height, width), side = loaded.info.shape, x.shape[3]
    top, left = (side - height) // 2, (side - width) // 2
    x = x[:, :, top : top + height, left : left + width]
    return x.to(job.device).float() / 255, y.to(job.device)


def _do(job: Job, prepare: Callable[[Job], T], work: Callable[[Job, T], dict[str, Any]]) -> Record:
    import torch

    from bench.trainer import Diverged

    started, start = datetime.datetime.now(datetime.UTC), time.perf_counter()
    status: Status = "done"
    reason, body = None, {}
    try:
        ready = prepare(job)
        try:
            body = work(job, ready)
        except Diverged as error:
            status, reason = "diverged", str(error)
        except torch.OutOfMemoryError as error:
            status, reason = "oom", str(error).partition("\n")[0]
        except MemoryError:
            status, reason = "oom", "the machine's memory is full"
        except (Refused, Skipped):
            raise
        except Exception as error:  # noqa: BLE001  # a failed run still writes its record
            job.say(traceback.format_exc())
            status, reason = "failed", f"{type(error).__name__}: {error}"
    except Refused as error:
        status, reason = "refused", str(error)
    except Skipped as error:
        status, reason = "skipped", str(error)
    if reason is not None:
        job.say(f"{status}: {reason}")
    return Record(
        stage=job.stage,  # type: ignore[arg-type]
        run=job.config.run_id,
        config=job.config,
        status=status,
        reason=reason,
        attempt=job.args.attempt,
        origin=_origin(job, started, time.perf_counter() - start),
        **body,
    )


def _finished(stage: str, config: Config, args: argparse.Namespace) -> Record | None:
    """Find the record of this very work, made meanwhile by a job that outlived its Snakemake."""
    path = args.out / f"{stage}.json"
    if not path.is_file():
        return None
    record = Record.read(path)
    if record.config != config:
        raise ValueError(
            f"{args.out} holds run {record.run}, of another configuration; choose another --out"
        )
    same = record.attempt == args.attempt
    code = fingerprints.method_fingerprint(config.method)
    current = record.origin is not None and record.origin.method_code == code
    return record if same and current and record.status == "done" else None


def device(args: argparse.Namespace) -> "torch.device":
    """Choose the device and set how torch uses it; the first import of torch in a job."""
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # read by torch's libraries when they load
    import torch

    torch.set_num_threads(args.threads)
    there = torch.cuda.is_available()
    if args.device == "cuda" and not there:
        raise ValueError("--device cuda, but torch finds no GPU; use --device auto or cpu")
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if there and args.device != "cpu" else "cpu")


def _speaker(args: argparse.Namespace, title: str) -> Callable[[str], None]:
    loud = sys.stderr.isatty()

    def say(line: str) -> None:
        if args.log is not None:
            args.log.parent.mkdir(parents=True, exist_ok=True)
            with args.log.open("a", encoding="utf-8") as file:
                file.write(f"{datetime.datetime.now().astimezone():%H:%M:%S} {line}\n")
        if loud:
            print(f"{title}: {line}", file=sys.stderr)

    return say


def _origin(job: Job, started: datetime.datetime, seconds: float) -> Origin:
    import torch

    commit = git("rev-parse", "HEAD")
    return Origin(
        commit=commit,
        dirty=dirty(),
        method_code=fingerprints.method_fingerprint(job.config.method),
        bench_code=fingerprints.bench_fingerprint(
            job.stage, job.config.dataset, job.config.architecture
        ),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if job.device.type == "cuda" else None,
        device=device_name(job.device),
        threads=torch.get_num_threads(),
        started=started.isoformat(timespec="seconds"),
        seconds=seconds,
    )


def git(*words: str) -> str | None:
    """Ask git about the project; None where there is no git, or an archive instead of a clone."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=catalogue.ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def dirty() -> bool | None:
    """Has the code that makes numbers uncommitted changes, new files included; None without git."""
    changes = git("status", "--porcelain", "--", "bench", "methods", "evaluation")
    return None if changes is None else bool(changes)


def device_name(device: "torch.device") -> str:
    """Name a device as the driver or the kernel does."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU {names[0]}" if names else f"CPU {platform.machine()}"
