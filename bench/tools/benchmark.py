"""Measure how fast training and attacking are here: python -m bench benchmark, or make benchmark

Every figure is the median of repetitions that take turns, so that a machine that slows down slows
all of them; warm-up is left out. The baseline, in the same run, is the field's usual training loop:
bench/tools/baseline.py. An execution that fails is reported and left out; the record on disk holds
all that has been measured so far.
"""

import argparse
import dataclasses
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, get_args

from bench.runs import catalogue
from bench.runs.files import write_json
from bench.runs.find import RUN, run_folder
from bench.runs.git import commit
from bench.runs.stage import AttackOptions
from bench.stages import machine
from bench.stages.job import Skipped
from bench.stages.running import new_file, positive
from bench.tools.attack_speed import attack_times, load_trained
from bench.tools.training_speed import (
    BenchmarkConfig,
    TrainingSpeed,
    ceiling,
    check,
    training_speeds,
)

IMPORTS = (
    "import torch, bench.stages.train, bench.trainer, bench.batches, bench.data, evaluation.pgd"
)


def main(words: Sequence[str] | None = None) -> None:
    """Time training steps and attacks; print a line for each figure and write the record."""
    args = _parser().parse_args(words)
    config = BenchmarkConfig(
        methods=args.methods, architectures=args.architectures, engines=args.engines,
        precisions=args.precisions, dataset=args.dataset, width=args.width, steps=args.steps,
        repetitions=args.repetitions, product=args.product,
    )  # fmt: skip
    try:
        check(config)
        device = machine.device(args.device, args.threads)
        options = AttackOptions(images=args.attack_images, batch=args.attack_batch)
        trained = (
            load_trained(run_folder(args.attack_run), args.data_dir, device, options)
            if args.attack_run
            else None
        )
        record: dict[str, Any] = {
            "benchmark": 1,
            "device": machine.device_name(device),
            "threads": args.threads,
            "torch": version("torch"),
            "python": platform.python_version(),
            "commit": commit(),
            "dirty": machine.dirty(),
            "dataset": args.dataset,
            "ceilings": {},
            "start_up": start_up(3),
            "speeds": [],
            "attacks": [],
        }
        for speed in training_speeds(config, device):
            record["speeds"].append(dataclasses.asdict(speed))
            record["ceilings"][speed.precision] = ceiling(speed.precision, device, args.product)
            print(speed_line(speed), flush=True)
            write_json(args.out, record)
    except (ValueError, OSError, Skipped) as error:
        sys.exit(f"benchmark: {error}")
    for attack in attack_times(*trained, args.attack_repetitions) if trained else ():
        record["attacks"].append(attack)
        if attack["mode"] != "library":
            print(attack_line(attack), flush=True)
        write_json(args.out, record)


def start_up(repetitions: int) -> dict[str, float]:
    """Time what every job pays before it works: the interpreter and imports, median seconds."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], cwd=catalogue.ROOT, check=True)
        times.append(time.perf_counter() - start)
    return {"import_seconds": statistics.median(times), "repetitions": repetitions}


def speed_line(speed: TrainingSpeed) -> str:
    """Write a training speed in one line."""
    memory = "" if speed.peak_bytes is None else f", {speed.peak_bytes / 1e9:.2f} GB"
    ratio = "" if speed.ratio is None else f", {speed.ratio:.2f} times the baseline"
    return (
        f"{speed.method:12} {speed.architecture} {speed.precision} {speed.engine:9} "
        f"{speed.images_per_second:8.1f} images/s "
        f"({speed.spread[0]:.1f} to {speed.spread[1]:.1f}), "
        f"{speed.step_ms:.1f} ms a step, {100 * speed.utilisation:.0f} % of the ceiling"
        f"{memory}{ratio}"
    )


def attack_line(attack: dict[str, Any]) -> str:
    """Write the time of an attack, a dict of ``attack_times``, in one line."""
    return (
        f"AutoAttack {attack['mode']}: {attack['seconds']:.1f} s, {attack['ratio']:.2f} times the "
        f"library, {attack['differ']} verdicts differ"
    )


def _parser() -> argparse.ArgumentParser:
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
    parser.add_argument("--width", type=positive, help="channels of the first layer; as published")
    parser.add_argument("--steps", type=positive, default=5, help="training steps a repetition; 5")
    parser.add_argument("--repetitions", type=positive, default=5, help="of training; 5")
    parser.add_argument(
        "--product",
        type=positive,
        help="rows of the matrices whose product is the ceiling; 8192 on a GPU, 2048 on a CPU",
    )
    parser.add_argument("--device", choices=get_args(machine.DeviceKind), default="auto")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads")
    parser.add_argument("--attack-run", metavar="RUN", help=f"time AutoAttack on {RUN}")
    parser.add_argument(
        "--attack-images", type=positive, default=100, help="that AutoAttack takes; 100"
    )
    parser.add_argument("--attack-batch", type=positive, default=256, help="of them at once; 256")
    parser.add_argument("--attack-repetitions", type=positive, default=1, help="of AutoAttack; 1")
    catalogue.add_data_dir(parser)
    parser.add_argument("--out", type=new_file, required=True, help="file for the record, .json")
    return parser
