"""Measure how fast training and attacking are here: python -m bench benchmark, or make benchmark

Every figure is the median of repetitions that take turns, so that a machine that slows down slows
all of them; warm-up is left out. The baseline, in the same run, is the way the field's codes train:
torch's own settings (on a GPU, TF32 in convolutions), optimiser and memory layout, pictures cropped
one by one by two worker processes, one wait for the device a batch. What cannot be measured is said
and left out, and what has been is on disk.
"""

import argparse
import copy
import dataclasses
import functools
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from bench.runs import catalogue
from bench.runs import suite as configs
from bench.runs.files import write_json
from bench.runs.record import AUTOATTACK, TRAIN, Record
from bench.runs.stage import AttackOptions, stage
from bench.stages import machine, setup
from bench.stages.job import Job, Skipped
from bench.stages.setup import Trained

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded

BASELINE = "baseline"
IMAGES = 4096  # made-up pictures to train on
IMPORTS = (
    "import torch, bench.stages.train, bench.trainer, bench.batches, bench.data, evaluation.pgd"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """One method by one way to run it."""

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and for how long."""

    methods: Sequence[str]
    architectures: Sequence[str]
    engines: Sequence[str]
    precisions: Sequence[str]
    dataset: str  # whose shapes; the pictures are made up
    width: int | None  # channels of the first layer; None: published
    steps: int  # of a repetition
    repetitions: int
    product: int | None  # rows of the matrices whose product is the ceiling; None: by the device


def speeds(of: Comparison, device: "torch.device") -> Iterator[Speed]:
    """Measure every method by every way."""
    loaded = made_up(of.dataset)
    ways = [(engine, precision) for precision in of.precisions for engine in of.engines]
    ways = [(BASELINE, _usual(device)), *ways]
    for architecture in of.architectures:
        for method in of.methods:
            yield from _taking_turns(of, device, loaded, architecture, method, ways)


def _usual(device: "torch.device") -> str:
    """Precision of the baseline: what torch does unless told otherwise."""
    return "tf32" if device.type == "cuda" else "fp32"


def made_up(name: str) -> "Loaded":
    """Make pictures of a data set's shape: what they show costs nothing and means nothing."""
    import torch

    from bench.data import Images, Loaded, info

    known = info(name)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (IMAGES, *known.shape), generator=generator, dtype=torch.uint8)
    y = torch.randint(0, known.classes, (IMAGES,), generator=generator)
    return Loaded(Images(x, y, x[:128], y[:128]), known, "made up", official=False)


def _taking_turns(
    of: Comparison,
    device: "torch.device",
    loaded: "Loaded",
    architecture: str,
    method: str,
    ways: list[tuple[str, str]],
) -> Iterator[Speed]:
    from bench.engine import WARM_UP
    from bench.meter import Clock, Flops, Peak, in_use

    runs: dict[tuple[str, str], tuple[Job, Callable[[int], None], int | None]] = {}
    flops = 0.0
    for engine, precision in ways:
        job = _job(of, device, architecture, method, precision)
        gc.collect()
        before, peak = in_use(device), Peak(device)
        _set(device, engine, precision)
        try:
            steps = _stepper(job, loaded, engine)
            steps(WARM_UP)
        except Exception as error:  # noqa: BLE001  # one way that fails does not cost the others
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            print(f"{method}, {engine}, {precision}: left out: {reason}", file=sys.stderr)
            continue
        peak.note()
        used = None if peak.bytes is None else peak.bytes - before
        runs[engine, precision] = job, steps, used
        if not flops:
            plain = _trainer(job, loaded, "eager")
            with Flops() as counted:
                plain.advance(1)
            flops = counted.total / plain.batches.batch
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in runs}
    for _ in range(of.repetitions):
        for way, (_, steps, _) in runs.items():
            _set(device, *way)
            clock = Clock(device)
            with clock.running():
                steps(of.steps)
            seconds[way].append(clock.seconds / of.steps)
    base = seconds.get((BASELINE, _usual(device)))
    for way, (job, _, bytes_used) in runs.items():
        engine, precision = way
        batch = job.config.protocol["batch"]
        median = statistics.median(seconds[way])
        yield Speed(
            method=method,
            architecture=architecture,
            width=job.config.width,
            precision=precision,
            engine=engine,
            batch=batch,
            images_per_second=batch / median,
            spread=(batch / max(seconds[way]), batch / min(seconds[way])),
            step_ms=1000 * median,
            peak_bytes=bytes_used,
            flops_per_image=flops,
            utilisation=flops * batch / median / ceiling(precision, device, of.product),
            ratio=None if base is None else statistics.median(base) / median,
            repetitions=of.repetitions,
        )


def _set(device: "torch.device", engine: str, precision: Any) -> None:
    """Set what holds for a whole process as a way has it."""
    import torch

    from bench.models import allow

    allow(precision)
    torch.backends.cudnn.deterministic = engine != BASELINE


@functools.cache
def ceiling(precision: Any, device: "torch.device", rows: int | None = None) -> float:
    """Operations a second of a large matrix product in a precision, the best of several."""
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
    return 2 * n**3 / min(times[1:])


def _job(
    of: Comparison, device: "torch.device", architecture: str, method: str, precision: str
) -> Job:
    given = {
        "dataset": of.dataset, "architecture": architecture, "method": method, "eps": 8,
        "protocol": "sora-paper", "precision": precision,
    }  # fmt: skip
    if of.width:
        given["width"] = of.width
    config = configs.run(json.dumps(given))
    training = stage(TRAIN)
    return Job(training, config, training.options, Path(), Path(), device, print)


def _trainer(job: Job, loaded: "Loaded", engine: Any) -> Any:
    from bench.stages.train import make_trainer

    return make_trainer(job, loaded, quiet=True, engine=engine)


def _stepper(job: Job, loaded: "Loaded", engine: str) -> Callable[[int], None]:
    """Return a function that takes so many steps, the ordinary way or as the baseline does."""
    if engine == BASELINE:
        return _baseline(job, loaded)
    trainer = _trainer(job, loaded, engine)
    advance: Callable[[int], None] = trainer.advance
    return advance


def _baseline(job: Job, loaded: "Loaded") -> Callable[[int], None]:
    import torch
    from torchvision import transforms

    from bench.method import Batch
    from bench.view import Moved

    augment, (_, height, width) = loaded.info.augment, loaded.info.shape
    change = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(height, padding=augment.pad),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return IMAGES

        def __getitem__(self, i: int) -> Any:
            return change(loaded.images.train_x[i]), loaded.images.train_y[i]

    protocol = job.config.protocol
    loader = torch.utils.data.DataLoader(
        Pictures(), protocol["batch"], shuffle=True, num_workers=2, drop_last=True,
        persistent_workers=True,
    )  # fmt: skip
    inside = setup.network(job, loaded)
    body = inside.body.to(memory_format=torch.contiguous_format)
    net = torch.nn.Sequential(transforms.Normalize(inside.mean, inside.std), body)
    method = setup.method(job)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    trainer = _trainer(job, loaded, "eager")  # for the method's state
    corner = torch.zeros(protocol["batch"], dtype=torch.int64, device=job.device)
    view = Moved.crop(corner, corner, corner.bool(), (height, width), width + 2 * augment.pad)

    def descend(loss: Any, at: "torch.Tensor", g: Any = None, edit: Any = None) -> "torch.Tensor":
        z = at.detach().requires_grad_()
        value = loss(z)
        sgd.zero_grad()
        value.backward()
        if edit is not None:
            edit()
        sgd.step()
        value.item()  # as the field's codes log it
        assert z.grad is not None, "the loss does not depend on the images it was given"
        return z.grad

    def endless() -> Iterator[Any]:
        while True:
            yield from loader

    batches = endless()

    def steps(count: int) -> None:
        for _ in range(count):
            x, y = (part.to(job.device) for part in next(batches))
            batch = Batch(x, y, torch.arange(len(x), device=job.device), view, trainer.share)
            method.step(net, batch, trainer.state, descend)

    return steps


def trained(
    run: Path, data_dir: Path, device: "torch.device", wanted: AttackOptions
) -> tuple[Job, Trained]:
    """Load the trained run that AutoAttack is timed on.

    Raises:
        ValueError: the folder holds no trained run, or its data are not there.
        Skipped: its training failed.
    """
    path = run / f"{TRAIN}.json"
    if not path.is_file():
        raise ValueError(f"--attack-run: {path} is missing; name the folder of a trained run")
    config = Record.read(path).config
    job = Job(stage(AUTOATTACK), config, wanted, run, data_dir, device, lambda line: None)
    return job, setup.trained(job)


def attacks(job: Job, ready: Trained, repetitions: int) -> Iterator[dict[str, Any]]:
    """Time AutoAttack on a trained run: the library called directly, exact mode and fast mode."""
    from bench.stages import attack
    from evaluation.autoattack import autoattack, library, unpack

    device, batch = job.device, job.options.batch
    loaded, net = ready.loaded, ready.net
    x, y = setup.test_images(job, loaded, job.options.images)
    classes = loaded.info.classes
    for turn in range(repetitions):
        plain = copy.deepcopy(net).requires_grad_(requires_grad=True)  # as users call it
        direct_attack = library(plain, device, eps=job.eps, classes=classes, seed=0)
        start = time.perf_counter()
        _, found = direct_attack.run_standard_evaluation(x, y, batch_size=batch)
        direct, verdicts = time.perf_counter() - start, (found == y).cpu()
        yield {"turn": turn, "mode": "library", "seconds": direct, "images": len(y)}
        for mode in ("exact", "fast"):
            start = time.perf_counter()
            fast = attack.fast_network(job, loaded, net) if mode == "fast" else None
            marks: dict[str, float] = {}  # when each attack was done
            ours = autoattack(
                net, x, y, eps=job.eps, classes=classes, seed=0, batch=batch,
                fast=fast, keep=functools.partial(_note, marks),
            )  # fmt: skip
            seconds = time.perf_counter() - start
            robust = unpack(ours.robust["square"], len(y))
            by_attack = _durations(start, marks)
            yield {
                "turn": turn, "mode": mode, "seconds": seconds, "images": len(y),
                "standing": int(robust.sum()), "by_attack": by_attack,
                "differ": int((robust != verdicts).sum()), "ratio": direct / seconds,
            }  # fmt: skip


def _note(marks: dict[str, float], now: Any) -> None:
    from evaluation.autoattack import ATTACKS

    marks[ATTACKS[len(now.robust) - 1]] = time.perf_counter()


def _durations(start: float, marks: dict[str, float]) -> dict[str, float]:
    ends = [start, *marks.values()]
    return {name: end - begin for name, begin, end in zip(marks, ends, ends[1:], strict=False)}


def start_up(repetitions: int) -> dict[str, float]:
    """Time what every job pays before it works: the interpreter and imports, median seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], cwd=catalogue.ROOT, check=True)
        times.append(time.perf_counter() - start)
    return {"import_seconds": statistics.median(times), "repetitions": repetitions}


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print a table, write a record."""
    parser = argparse.ArgumentParser(
        prog="python -m bench benchmark",
        description="Measure how fast training and attacking are. Baseline: torch as it comes, "
        "pictures cropped one by one by two workers. Ceiling: a large matrix product here.",
    )
    listed = {"type": lambda text: text.split(","), "metavar": "A,B"}
    parser.add_argument("--methods", default="fgsm_rs,sora", **listed)  # type: ignore[arg-type]
    parser.add_argument("--architectures", default="preact_resnet18", **listed)  # type: ignore[arg-type]
    parser.add_argument("--precisions", default="fp32,bf16", **listed)  # type: ignore[arg-type]
    parser.add_argument("--engines", default="eager,compiled,captured", **listed)  # type: ignore[arg-type]
    parser.add_argument("--dataset", default="cifar10", help="whose shapes; pictures are made up")
    parser.add_argument("--width", type=int, help="channels of the first layer; published")
    parser.add_argument("--steps", type=int, default=5, help="of a repetition")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument(
        "--product", type=int, help="rows of the matrices whose product is the ceiling; 8192, 2048"
    )
    parser.add_argument("--device", choices=get_args(machine.Kind), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--attack-run", type=Path, help="trained run to time AutoAttack on")
    parser.add_argument("--attack-images", type=int, default=100)
    parser.add_argument("--attack-batch", type=int, default=256)
    parser.add_argument("--attack-repetitions", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=catalogue.data_folder())
    parser.add_argument("--out", type=Path, required=True, help="file for the record, .json")
    args = parser.parse_args(words)
    try:
        device = machine.device(args.device, args.threads)
        wanted = AttackOptions(images=args.attack_images, batch=args.attack_batch)
        run = trained(args.attack_run, args.data_dir, device, wanted) if args.attack_run else None
        record: dict[str, Any] = {
            "benchmark": 1,
            "device": machine.device_name(device),
            "threads": args.threads,
            "torch": version("torch"),
            "python": platform.python_version(),
            "commit": machine.git("rev-parse", "HEAD"),
            "dirty": machine.dirty(),
            "dataset": args.dataset,
            "ceilings": {},
            "start_up": start_up(3),
            "speeds": [],
            "attacks": [],
        }
        compared = Comparison(
            methods=args.methods, architectures=args.architectures, engines=args.engines,
            precisions=args.precisions, dataset=args.dataset, width=args.width, steps=args.steps,
            repetitions=args.repetitions, product=args.product,
        )  # fmt: skip
        for speed in speeds(compared, device):
            record["speeds"].append(dataclasses.asdict(speed))
            record["ceilings"][speed.precision] = ceiling(speed.precision, device, args.product)
            print(line(speed), flush=True)
            write_json(args.out, record)
    except (ValueError, Skipped) as error:
        sys.exit(f"benchmark: {error}")
    for row in attacks(*run, args.attack_repetitions) if run else ():
        record["attacks"].append(row)
        if row["mode"] != "library":
            print(f"AutoAttack {row['mode']}: {row['seconds']:.1f} s, {row['ratio']:.2f} times the "
                  f"library, {row['differ']} verdicts differ", flush=True)  # fmt: skip
        write_json(args.out, record)


def line(speed: Speed) -> str:
    """Say a measurement in one line."""
    memory = "" if speed.peak_bytes is None else f", {speed.peak_bytes / 1e9:.2f} GB"
    ratio = "" if speed.ratio is None else f", {speed.ratio:.2f} times the baseline"
    return (
        f"{speed.method:12} {speed.architecture} {speed.precision} {speed.engine:9} "
        f"{speed.images_per_second:8.1f} images/s "
        f"({speed.spread[0]:.1f} to {speed.spread[1]:.1f}), "
        f"{speed.step_ms:.1f} ms a step, {100 * speed.utilisation:.0f} % of the ceiling"
        f"{memory}{ratio}"
    )
