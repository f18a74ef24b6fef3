"""Time training steps: each method, engine and precision, against the field's usual loop."""

import dataclasses
import functools
import gc
import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from bench.runs.catalogue import unknown
from bench.runs.record import TRAIN, Config, Engine
from bench.runs.run import parse_run
from bench.runs.stage import stage
from bench.stages.job import Job
from bench.tools.baseline import baseline_steps

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded

BASELINE = "baseline"  # named as an engine is
IMAGES = 4096  # random pictures to train on


class Execution(NamedTuple):
    """How training steps are run."""

    engine: str  # one of bench.runs.record.Engine, or BASELINE
    precision: Any  # of bench.runs.record.Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is timed, and how often."""

    methods: Sequence[str]
    architectures: Sequence[str]
    engines: Sequence[str]
    precisions: Sequence[str]
    dataset: str  # gives the shapes; the pictures are random
    width: int | None  # channels of the first layer; None: published
    steps: int  # of a repetition
    repetitions: int
    product: int | None  # rows of the matrices whose product is the ceiling; None: by the device


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSpeed:
    """Speed of one method in one execution."""

    method: str
    architecture: str
    width: int
    precision: str
    engine: str
    batch: int
    images_per_second: float  # training images; median
    spread: tuple[float, float]  # least and most, images a second
    step_ms: float  # median
    peak_bytes: int | None
    flops_per_image: float
    utilisation: float  # of the ceiling measured for this precision
    ratio: float | None  # to the baseline of the same method, if it was measured
    repetitions: int


class _WarmedUp(NamedTuple):
    """An execution of a method that is ready to be timed."""

    job: Job
    steps: Callable[[int], None]  # takes so many training steps
    peak_bytes: int | None  # of device memory that it needs; None without a GPU


def check(config: BenchmarkConfig) -> None:
    """Check the names of all that is to be timed.

    Raises:
        ValueError: there is none of this name.
    """
    for engine in config.engines:
        if engine not in get_args(Engine):
            raise ValueError(unknown("engine", engine, get_args(Engine)))
    named = itertools.product(config.methods, config.architectures, config.precisions)
    for method, architecture, precision in named:
        _run(method, architecture, precision, config)


def training_speeds(config: BenchmarkConfig, device: "torch.device") -> Iterator[TrainingSpeed]:
    """Time every method in every execution; the executions of a method take turns."""
    loaded = random_pictures(config.dataset)
    executions = [
        Execution(BASELINE, "tf32" if device.type == "cuda" else "fp32"),  # torch's own defaults
        *(Execution(engine, p) for p in config.precisions for engine in config.engines),
    ]
    for architecture in config.architectures:
        for method in config.methods:
            yield from _speeds_of(method, architecture, executions, config, loaded, device)


def random_pictures(dataset: str) -> "Loaded":
    """Make IMAGES random pictures and labels in the shape of a data set."""
    import torch

    from bench.data import Images, Loaded, info

    known = info(dataset)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (IMAGES, *known.shape), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, known.classes, (IMAGES,), generator=generator)
    return Loaded(Images(x, y, x[:128], y[:128]), known, "made up", official=False)


@functools.cache
def ceiling(precision: Any, device: "torch.device", rows: int | None = None) -> float:
    """Measure the operations a second of a large matrix product, the best of five.

    Args:
        rows: of the square matrices; None: 8192 on a GPU, 2048 on a CPU.
    """
    import torch

    from bench.meter import Clock
    from bench.models import allow

    n = rows or (8192 if device.type == "cuda" else 2048)
    allow(precision)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(n, n, device=device).to(kind)
    times = []
    for _ in range(6):
        clock = Clock(device)
        with clock.running():
            a @ a
        times.append(clock.seconds)
    return 2 * n**3 / min(times[1:])  # the first warms up


def _speeds_of(
    method: str,
    architecture: str,
    executions: Sequence[Execution],
    config: BenchmarkConfig,
    loaded: "Loaded",
    device: "torch.device",
) -> Iterator[TrainingSpeed]:
    """Time one method in all executions; one that fails is reported on stderr and left out."""
    ready: dict[Execution, _WarmedUp] = {}
    flops = 0.0
    for execution in executions:
        job = _job(method, architecture, execution.precision, config, device)
        _set(device, execution)
        try:
            ready[execution] = _warmed_up(job, loaded, execution.engine)
        except Exception as error:  # noqa: BLE001  # the other executions are still measured
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            print(
                f"{method}, {execution.engine}, {execution.precision}: left out: {reason}",
                file=sys.stderr,
            )
            continue
        flops = flops or _flops_per_image(job, loaded)
    seconds = _step_seconds(ready, config, device)
    baseline = seconds.get(executions[0])
    for execution, (job, _, peak_bytes) in ready.items():
        batch, times = job.config.protocol["batch"], seconds[execution]
        median = statistics.median(times)
        peak_flops = ceiling(execution.precision, device, config.product)
        yield TrainingSpeed(
            method=method,
            architecture=architecture,
            width=job.config.width,
            precision=execution.precision,
            engine=execution.engine,
            batch=batch,
            images_per_second=batch / median,
            spread=(batch / max(times), batch / min(times)),
            step_ms=1000 * median,
            peak_bytes=peak_bytes,
            flops_per_image=flops,
            utilisation=flops * batch / median / peak_flops,
            ratio=None if baseline is None else statistics.median(baseline) / median,
            repetitions=config.repetitions,
        )


def _job(
    method: str,
    architecture: str,
    precision: str,
    config: BenchmarkConfig,
    device: "torch.device",
) -> Job:
    training, run = stage(TRAIN), _run(method, architecture, precision, config)
    return Job(training, run, training.defaults, Path(), Path(), device, print)


def _run(method: str, architecture: str, precision: str, config: BenchmarkConfig) -> Config:
    run = {
        "dataset": config.dataset, "architecture": architecture, "method": method, "eps": 8,
        "protocol": "sora-paper", "precision": precision,
    }  # fmt: skip
    if config.width:
        run["width"] = config.width
    return parse_run(json.dumps(run))


def _set(device: "torch.device", execution: Execution) -> None:
    """Set torch's switches for the whole process as an execution needs them."""
    import torch

    from bench.models import allow

    allow(execution.precision)
    torch.backends.cudnn.deterministic = execution.engine != BASELINE


def _warmed_up(job: Job, loaded: "Loaded", engine: str) -> _WarmedUp:
    """Take the first steps, untimed, and weigh the memory that they need."""
    from bench.engine import WARM_UP
    from bench.meter import Peak, in_use

    gc.collect()
    before, peak = in_use(job.device), Peak(job.device)
    steps = _steps(job, loaded, engine)
    steps(WARM_UP)
    peak.note()
    return _WarmedUp(job, steps, None if peak.bytes is None else peak.bytes - before)


def _steps(job: Job, loaded: "Loaded", engine: str) -> Callable[[int], None]:
    """Return a function that takes so many training steps, by the trainer or by the baseline."""
    if engine == BASELINE:
        return baseline_steps(job, loaded)
    advance: Callable[[int], None] = _trainer(job, loaded, engine).advance
    return advance


def _trainer(job: Job, loaded: "Loaded", engine: Any) -> Any:
    from bench.stages.train import make_trainer

    return make_trainer(job, loaded, quiet=True, engine=engine)


def _flops_per_image(job: Job, loaded: "Loaded") -> float:
    """Count the operations of one training step, divided by its images."""
    from bench.meter import Flops

    trainer = _trainer(job, loaded, "eager")  # a recorded step shows no operations
    with Flops() as flops:
        trainer.advance(1)
    return float(flops.total / trainer.batches.batch)


def _step_seconds(
    ready: Mapping[Execution, _WarmedUp], config: BenchmarkConfig, device: "torch.device"
) -> dict[Execution, list[float]]:
    """Time executions in turns: the seconds of a step, one number for each repetition."""
    from bench.meter import Clock

    seconds: dict[Execution, list[float]] = {execution: [] for execution in ready}
    for _ in range(config.repetitions):
        for execution, (_, steps, _) in ready.items():
            _set(device, execution)
            clock = Clock(device)
            with clock.running():
                steps(config.steps)
            seconds[execution].append(clock.seconds / config.steps)
    return seconds
