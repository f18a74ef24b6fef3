"""Say what is left of a suite, and what it takes: python -m bench plan --suite SUITE

Where this machine has finished runs of the suite, hours are at their pace; elsewhere, and in the
table of all pairs, they follow from counted operations and one stated rate of a GPU.
"""

import argparse
import ast
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from bench.runs import catalogue
from bench.runs.cache import Reader, cached
from bench.runs.ending import plural
from bench.runs.files import between_marks, write_bytes
from bench.runs.record import Config, radius
from bench.runs.run import expand, sources
from bench.runs.suite import Suite, parse_suite, read_suite, suite_file
from bench.runs.typed import from_yaml
from bench.stages import machine
from bench.stages.faults import MethodError
from bench.tools import memory
from bench.tools.cautions import cautions
from bench.tools.estimate import (
    RATE,
    STAGES,
    Estimate,
    Pace,
    disk_bytes,
    download_bytes,
    estimates,
    hours_of_runs,
    pace,
)
from bench.tools.memory import format_bytes
from workflows.plan import Plan, Work

MARK = "costs"  # of the part in docs/costs.md


def table(suite: Suite, costs: Iterable[Estimate]) -> str:
    """Make the Markdown table: a row for each data set, a column for each architecture."""
    by_pair = {(cost.dataset, cost.architecture): cost for cost in costs}
    head = ["data set", "download", "on disk", *suite.architectures]
    lines = [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    for name in suite.datasets:
        cells = [_of_one(by_pair.get((name, other))) for other in suite.architectures]
        sizes = [format_bytes(download_bytes([name])), format_bytes(disk_bytes([name]))]
        lines.append(_row([name, *sizes, *cells]))
    return "\n".join(lines)


def total(suite: Suite, runs: Sequence[Config], costs: Sequence[Estimate]) -> str:
    """Say in one line what the whole suite takes."""
    train, attack = sum(c.train_hours for c in costs), sum(c.attack_hours for c in costs)
    weights = memory.weights_bytes([*runs, *sources(runs)], suite.keep_weights)
    return (
        f"The whole suite from nothing: {format_hours(train)} of training and "
        f"{format_hours(attack)} of AutoAttack on one GPU at {_rate()}; "
        f"{format_bytes(download_bytes(suite.datasets))} to download, "
        f"{format_bytes(disk_bytes(suite.datasets))} of decoded data, "
        f"{format_bytes(weights)} of trained weights."
    )


def keep(suite: Suite, runs: Iterable[Config]) -> str:
    """Say how many passes of a batch the methods of a suite keep in memory at once."""
    first = (suite.datasets[0], suite.architectures[0], suite.seeds[0])
    by_count: dict[int, dict[str, None]] = {}
    for run in runs:
        if (run.dataset, run.architecture, run.seed) == first:
            by_count.setdefault(memory.passes(run), {})[run.method] = None
    more = (f"{count} ({', '.join(by_count[count])})" for count in sorted(by_count) if count > 1)
    return (
        "Bytes are what a GPU keeps of one pass of a training batch. Beside weights and state, an "
        f"update takes that once, or as often as its loss has passes: {', '.join(more)}. "
        "Evaluations take more images at once, or parts of them where those do not fit."
    )


def too_large(suite: Suite, runs: Iterable[Config]) -> str:
    """Say in a line for each pair which runs need more memory than the suite's GPU has."""
    if suite.gpu_memory_gb is None:
        return ""
    return "".join(
        f"too large for {suite.gpu_memory_gb:g} GB of GPU memory: {lack.dataset} "
        f"{lack.architecture}, {format_bytes(lack.bytes)} or more: {', '.join(lack.methods)}\n"
        for lack in memory.lacking(runs, suite.gpu_memory_gb)
    )


def against_sources(suite: Suite, runs: Iterable[Config]) -> str:
    """Say in a line each what methods of a suite are used against their sources."""
    runs, lines = list(runs), []
    for method in dict.fromkeys(run.method for run in runs):
        own = [run for run in runs if run.method == method]
        if catalogue.declares(method, "tunes") and not all(run.start for run in own):
            lines.append(
                f"{method} goes on from a trained network in its source, and begins with initial "
                f"weights here; give it one by start_for: {{{method}: {{method: standard, "
                f"protocol: {suite.protocol}}}}}"
            )
        if catalogue.class_constant(method, "batchnorm", catalogue.METHODS) is False:
            normed = sorted({run.architecture for run in own if has_batchnorm(run.architecture)})
            if normed:
                without = [name for name in catalogue.names("bench/models")
                           if not has_batchnorm(name)]  # fmt: skip
                lines.append(
                    f"{method} is known to fail with BatchNorm, which {', '.join(normed)} has; "
                    f"choose {', '.join(without)}, which have none"
                )
        most = catalogue.class_constant(method, "known_to", catalogue.METHODS)
        radii = dict.fromkeys(run.eps for run in own if run.norm == "Linf")
        beyond = [eps for eps in radii if most and 255 * radius(eps) > most + 0.5]
        if beyond:
            lines.append(
                f"{method}'s source has settings for radii up to {most:g}/255, and none for "
                f"{', '.join(beyond)}; give some by method_args, or do not take its row for the "
                "method's best"
            )
    return "".join(f"caution: {line}\n" for line in lines)


def has_batchnorm(architecture: str) -> bool:
    """Say whether a network's file, or one that it imports from, names a layer BatchNorm."""
    tree = ast.parse((catalogue.ROOT / f"bench/models/{architecture}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("BatchNorm"):
            return True
        module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
        if module.startswith("bench.models.") and has_batchnorm(module.rpartition(".")[2]):
            return True
    return False


def readme(suite: Suite, runs: list[Config]) -> str:
    """Make the part of docs/costs.md: the table, the total and what is kept in memory."""
    costs = estimates(suite, runs)
    return f"{table(suite, costs)}\n\n{total(suite, runs, costs)}\n\n{keep(suite, runs)}\n"


def summary(plan: Plan, device: str) -> str:
    """Say in a few lines what is left of a suite and what the whole of it takes.

    Args:
        device: name of this machine's device, as records have it.
    """
    from bench.data import prepared

    suite = plan.suite
    asked = {(work.config.folder, work.stage.name) for work in plan.work}
    estimated = hours_of_runs(plan.runs.values(), suite.attack_images)
    hours = {
        run: {stage: h for stage, h in by_stage.items() if (run, stage) in asked}
        for run, by_stage in zip(plan.runs, estimated, strict=True)
    }
    here = pace(plan, hours, device)
    left = plan.left
    rest: dict[str, dict[str, float]] = {}
    for work in left:
        needed = hours[work.config.folder].get(work.stage.name, 0.0)
        rest.setdefault(work.config.folder, {})[work.stage.name] = needed
    pairs = {_pair(run) for run in plan.runs.values()} - {_pair(work.config) for work in left}
    finished = f"; finished: {', '.join(sorted(pairs))}" if pairs and left else ""
    download = download_bytes(
        name for name in suite.datasets if not prepared(name, Path(plan.data_dir)).is_file()
    )
    why = f"\nwhy: {plan.reasons()}" if left else ""
    weights = memory.weights_bytes(plan.runs.values(), plan.suite.keep_weights)
    others = len(plan.runs) - len(plan.listed)
    starts = f", {others} of them only sources of others" if others else ""
    return (
        f"left: {len(rest)} of {plural(len(plan.runs), 'run')}{starts} ({_counted(left)}), "
        f"{_takes(rest.values(), here)}; from nothing: {_takes(hours.values(), here)}"
        f"{'' if here.trainings else ', both on a GPU'}"
        f"{why}\n"
        f"{_basis(here.trainings, device)}\n"
        f"data: {format_bytes(download) if download else 'nothing'} to download, "
        f"{format_bytes(disk_bytes(suite.datasets))} decoded; weights: "
        f"{format_bytes(weights)}{finished}"
    )


def format_hours(hours: float) -> str:
    """Write hours as minutes or hours, to three digits."""
    if hours < 1:
        return f"{hours * 60:.0f} min" if hours >= 1 / 60 or not hours else "< 1 min"
    return f"{hours:.3g} h" if hours < 1000 else f"{hours:,.0f} h"


def _of_one(cost: Estimate | None) -> str:
    """Write the mean hours of one run, and its memory; a dash where the pair has no runs."""
    if cost is None:
        return "-"
    train, attack = cost.train_hours / cost.runs, cost.attack_hours / cost.runs
    kept = format_bytes(memory.pass_bytes(cost.example))
    return f"{format_hours(train)} + {format_hours(attack)}, {kept}"


def _takes(hours: Iterable[Mapping[str, float]], here: Pace) -> str:
    """Add up the hours of runs by stage, at the pace of a machine."""
    listed = list(hours)
    train, attack = (
        here.ratios[stage] * sum(h.get(stage, 0.0) for h in listed) for stage in STAGES
    )
    return f"{format_hours(train)} of training and {format_hours(attack)} of AutoAttack"


def _counted(left: Iterable[Work]) -> str:
    """Count work by stage."""
    counts = Counter(work.stage.name for work in left)
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing to do"


def _basis(finished: int, device: str) -> str:
    """Say on which machine the hours are counted."""
    if finished:
        runs = plural(finished, "finished run")
        return f"one job after the other, at the pace of {runs} on a {device}, as this machine's"
    if device.startswith("CPU"):
        return (
            f"these are hours of a GPU at {_rate()}, not of this machine: it has none, and has "
            "finished no run of the suite yet"
        )
    return f"on one GPU at {_rate()}; this machine has finished no run of the suite yet"


def _rate() -> str:
    return f"an assumed {RATE / 1e12:.0f} TFLOP/s"


def _pair(run: Config) -> str:
    return f"{run.dataset} {run.architecture}"


def _row(parts: Iterable[str]) -> str:
    return f"| {' | '.join(parts)} |"


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name a suite and its results."""
    parser.add_argument("--suite", type=Path, help="its name or YAML file; the default one")
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="KEY=VALUE", help="laid over it, as by Snakemake"
    )
    parser.add_argument("--results", type=catalogue.folder, default=Path("results"))


def planned(args: argparse.Namespace, read: Reader) -> Plan:
    """Make the plan of the suite that the flags name; exit with its mistakes if it has any."""
    try:
        changes = dict(map(_change, args.config))
        suite = parse_suite((read_suite(args.suite) if args.suite else {}) | changes)
        return Plan(
            suite, expand(suite), data_dir=suite.data_folder, results=args.results, read=read
        )
    except ValueError as error:
        sys.exit(str(error))


class Again(NamedTuple):
    """How to go on with the suite that the flags name."""

    go_on: str
    retry: str

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Write the commands."""
        said = "snakemake" + (f" --configfile {suite_file(args.suite)}" if args.suite else "")
        said += f" --config {shlex.join(args.config)}" if args.config else ""
        retry = f"{said}{'' if args.config else ' --config'} retry_failed=true"
        return cls(f"to do it: {said}", retry)


def _change(given: str) -> tuple[str, Any]:
    """Read a key and its value from KEY=VALUE."""
    key, found, value = given.partition("=")
    if not found:
        raise ValueError(f"--config {given} has no value; write {given}=VALUE")
    return key, from_yaml(value, f"--config {key}")


def main(words: Sequence[str] | None = None) -> None:
    """Print the summary or the table, or write the table into docs/costs.md."""
    parser = argparse.ArgumentParser(
        prog="python -m bench plan", description="Say what is left of a suite, and what it takes."
    )
    add_suite(parser)
    parser.add_argument("--table", action="store_true", help="hours of every cell, from nothing")
    parser.add_argument("--readme", type=Path, help="write the table into this file")
    args = parser.parse_args(words)
    with catalogue.read_once(), cached(args.results) as cache:
        _say(args, planned(args, cache.read))


def _say(args: argparse.Namespace, plan: Plan) -> None:
    suite, runs = plan.suite, list(plan.listed.values())
    try:
        if args.readme:
            text = args.readme.read_text(encoding="utf-8")
            between_marks(text, MARK, "")  # before what takes a while
            write_bytes(args.readme, between_marks(text, MARK, readme(suite, runs)).encode())
        elif args.table:
            print(table(suite, estimates(suite, runs)))
        else:
            print(summary(plan, _device()), flush=True)
            print(too_large(suite, plan.runs.values()), end="")
            for sentence in cautions(plan):
                print(sentence)
            print(against_sources(suite, plan.runs.values()), end="")
            print(plan.ending().line(page="nothing is left to do", **Again.of(args)._asdict()))
    except (MethodError, OSError, ValueError) as error:
        sys.exit(str(error))


def _device() -> str:
    """Name the device that a job would run on."""
    import torch

    return machine.device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
