"""Import what others report: python -m bench outside FOLDER, or CURVES

FOLDER is a copy of RobustBench's model_info, or a part of it: <data set>/<Linf or L2>/<name>.json.
The program checks its files and copies them below results/outside. The page shows them in their own
table, marked as not ours and outside the ranking. FastAT_Benchmark's rows stand there without.

CURVES is FastAT_Benchmark's benchmark_data.json, or its curves as CSV. The program judges them and
writes results/outside/fastat_runs.csv; the page shows the copy in report/reported. What detectors
say of them is beside it, in fastat_warnings.csv, for the table of early warnings.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.runs.ending import plural
from bench.runs.files import write_bytes
from bench.runs.record import radius
from report import curves

FILES = (".json", ".csv")  # of curves
NORMS = ("Linf", "L2")  # other threat models, as "corruptions", are passed over
REQUIRED = ("name", "dataset", "architecture", "eps")


@dataclass(frozen=True)
class Outside:
    """One model as RobustBench reports it, or one method as FastAT_Benchmark does."""

    name: str  # of the method, or of the file, which cites the paper: "Wong2020Fast"
    dataset: str
    architecture: str
    norm: str
    eps: str  # as reported: "8/255", "0.031"
    clean: float | None  # percent; None where it is not reported, here and below
    autoattack: float | None
    source: str  # the paper's title, and its address where there is one
    venue: str
    footnote: str
    link: str = ""
    clean_sd: float | None = None  # over seeds
    autoattack_sd: float | None = None
    pgd10: float | None = None  # of the printed checkpoint
    pgd10_sd: float | None = None
    held_out_best: float | None = None  # under PGD-10 in training: of the best epoch, and
    held_out_last: float | None = None  # of the last one; means over seeds
    collapse: str = ""  # seeds that collapsed, of how many; "" where no curves are public
    badges: list[tuple[str, bool]] = field(default_factory=list)  # as those of our rows
    seconds: float | None = None  # of a training
    memory_gb: float | None = None


def read(folder: Path) -> list[Outside]:
    """Read all models below a folder, sorted by path.

    Raises:
        ValueError: files are no model's; lists each of them with its fault.
    """
    models, faults = [], []
    for path in _files(folder):
        try:
            models.append(_outside(path))
        except ValueError as error:
            faults.append(f"  {path}: {error}")
    if faults:
        raise ValueError("\n".join(["these are no model_info files of RobustBench:", *faults]))
    return models


def copy(folder: Path, into: Path) -> int:
    """Copy the files that ``read`` reads, and return their number.

    Raises:
        ValueError: a file is no model's, or the folder holds none.
    """
    if not read(folder):
        raise ValueError(f"{folder} holds no <data set>/<{' or '.join(NORMS)}>/<name>.json")
    files = _files(folder)
    for path in files:
        write_bytes(into.joinpath(*path.parts[-3:]), path.read_bytes())
    return len(files)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.resolve().rglob("*.json") if path.parent.name in NORMS)


def _outside(path: Path) -> Outside:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"no JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ValueError("no JSON object")
    if missing := [key for key in REQUIRED if not raw.get(key)]:
        raise ValueError(f"lacks {', '.join(missing)}")
    norm, dataset = path.parent.name, path.parent.parent.name
    if raw["dataset"] != dataset:
        raise ValueError(f"its data set is {raw['dataset']!r}, its folder's {dataset!r}")
    _check_radius(str(raw["eps"]))
    notes = [_text(raw, "footnote")]
    if raw.get("unreliable") is True:
        notes.append("RobustBench marks this evaluation as potentially unreliable.")
    if raw.get("additional_data") is True:
        notes.append("Trained on additional data.")
    return Outside(
        name=path.stem,
        dataset=dataset,
        architecture=_text(raw, "architecture"),
        norm=norm,
        eps=str(raw["eps"]),
        clean=_percent(raw, "clean_acc"),
        autoattack=_percent(raw, "autoattack_acc"),
        source=" ".join(filter(None, (_text(raw, "name"), _text(raw, "link")))),
        venue=_text(raw, "venue"),
        footnote=" ".join(filter(None, notes)),
    )


def _text(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}, not text")
    return value or ""


def _percent(raw: dict[str, Any], key: str) -> float | None:
    """Read a percentage, given as text, "89.69", or as a number; None if the file lacks it."""
    value = raw.get(key)
    if value in (None, ""):
        return None
    try:
        percent = float(str(value))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise ValueError(f"{key} is {value!r}, not a percentage")
    return percent


def _check_radius(eps: str) -> None:
    """Raise ValueError unless a radius is a fraction, "8/255", or a number, "0.5"."""
    try:
        size = radius(eps)
    except (ValueError, ZeroDivisionError):
        size = math.nan
    if not 0 < size < math.inf:
        raise ValueError(f"eps is {eps!r}, not a radius")


def main(words: Sequence[str] | None = None) -> None:
    """Check a folder of RobustBench's files and copy it, or judge a file of curves."""
    parser = argparse.ArgumentParser(
        prog="python -m bench outside",
        description="Import RobustBench's model_info, or judge FastAT_Benchmark's curves.",
    )
    parser.add_argument(
        "source", type=Path, help="model_info or a part of it; benchmark_data.json or curves as CSV"
    )
    parser.add_argument("--into", type=Path, default=Path("results/outside"))
    args = parser.parse_args(words)
    try:
        if args.source.suffix in FILES:
            read_curves = curves.read(args.source)
            found, heard = curves.endings(read_curves), curves.warnings(read_curves)
            path = args.into / "fastat_runs.csv"
            write_bytes(path, curves.write_csv(found).encode())
            write_bytes(args.into / "fastat_warnings.csv", curves.write_csv(heard).encode())
            print(f"{curves.statement(found, args.source.name)} Run by run: {path}")
        else:
            count = copy(args.source, args.into)
            print(f"{plural(count, 'outside row')} in {args.into}; `snakemake report` shows them")
    except (ValueError, OSError) as error:
        sys.exit(f"outside: {error}")
