"""Rows that others report, from RobustBench's public files: python -m bench outside FOLDER

FOLDER is a copy of RobustBench's model_info, or a part of it:
<data set>/<Linf or L2>/<name>.json. What is sound is copied below results/outside, from where the
page takes it, marked as not ours. Nothing of it is ranked with our rows.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.runs.files import write_bytes
from bench.runs.record import radius

NORMS = ("Linf", "L2")  # folders of other threat models, as "corruptions", are passed over
REQUIRED = ("name", "dataset", "architecture", "eps")


@dataclass(frozen=True)
class Outside:
    """One model as RobustBench reports it."""

    name: str  # of the file, which cites the paper: "Wong2020Fast"
    dataset: str
    architecture: str
    norm: str
    eps: str  # as reported: "8/255", "0.031"
    clean: float | None  # percent; None where none is reported
    autoattack: float | None
    source: str  # the paper's title, and its address where there is one
    venue: str
    footnote: str


def read(folder: Path) -> list[Outside]:
    """Read every model below a folder, sorted by path.

    Raises:
        ValueError: lists every file that is none, and why.
    """
    found, wrong = [], []
    for path in _files(folder):
        try:
            found.append(_outside(path))
        except ValueError as error:
            wrong.append(f"  {path}: {error}")
    if wrong:
        raise ValueError("\n".join(["these are no model_info files of RobustBench:", *wrong]))
    return found


def copy(folder: Path, into: Path) -> int:
    """Copy what ``read`` reads; return the number of files.

    Raises:
        ValueError: a file is no model's, or there is none.
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
    if lost := [key for key in REQUIRED if not raw.get(key)]:
        raise ValueError(f"lacks {', '.join(lost)}")
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
    """Read a share that is written as text, "89.69", or as a number; None if it is left out."""
    value = raw.get(key)
    if value in (None, ""):
        return None
    try:
        share = float(str(value))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 100:
        raise ValueError(f"{key} is {value!r}, not a percentage")
    return share


def _check_radius(eps: str) -> None:
    """Refuse what is neither a fraction, "8/255", nor a number, "0.5"."""
    try:
        size = radius(eps if "/" in eps else f"{eps}/1")
    except (ValueError, ZeroDivisionError):
        size = math.nan
    if not 0 < size < math.inf:
        raise ValueError(f"eps is {eps!r}, not a radius")


def main(words: Sequence[str] | None = None) -> None:
    """Check a folder and copy it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench outside", description="Import rows from RobustBench's model_info."
    )
    parser.add_argument("folder", type=Path, help="its model_info, or a part of it")
    parser.add_argument("--into", type=Path, default=Path("results/outside"))
    args = parser.parse_args(words)
    try:
        count = copy(args.folder, args.into)
    except (ValueError, OSError) as error:
        sys.exit(f"report.outside: {error}")
    print(f"{count} outside rows in {args.into}; `snakemake report` shows them")
