"""The details of runs beside a page that would be too large with them, a script a table.

A page that is opened from a disk may read no file, but may run scripts. They are named by their
content, so that a page never meets those of another one.
"""

import hashlib
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pydantic_core

from bench.runs.files import write_bytes
from report.groups import Group

FOLDER = "leaderboard.runs"
LARGEST = 8_000_000  # characters of details that the page itself holds
STAYS = 3600  # seconds that a script outlives its page, which may still be open, or being written


def write(found: Iterable[Group], details: dict[str, Any], results: Path) -> dict[str, str]:
    """Write the scripts, if the page would be too large; return their addresses by group's key.

    Args:
        details: of ``report.page``.
        results: the folder of the page.
    """
    scripts = {group.key: _script(_part(group, details)) for group in found}
    if sum(map(len, scripts.values())) <= LARGEST:
        return {}
    files = {}
    for key, script in scripts.items():
        name = f"{hashlib.sha256(script.encode()).hexdigest()[:16]}.js"
        if (path := results / FOLDER / name).is_file():
            path.touch()
        else:
            write_bytes(path, script.encode())
        files[key] = f"{FOLDER}/{name}"
    return files


def forget(files: Collection[str], results: Path) -> None:
    """Remove the scripts of former pages, some time after these."""
    for path in (results / FOLDER).glob("*.js"):
        if f"{FOLDER}/{path.name}" not in files and time.time() - path.stat().st_mtime > STAYS:
            path.unlink(missing_ok=True)


def _part(group: Group, details: dict[str, Any]) -> dict[str, Any]:
    """Take a group's runs out of the details, with those values of the lists that they hold."""
    runs = {run.run_id: details["runs"][run.run_id] for row in group.rows for run in row.runs}
    stages = [stage for run in runs.values() for stage in run["stages"]]
    places = {
        "configs": {run["config"] for run in runs.values()},
        "sources": {run["source"] for run in runs.values() if "source" in run},
        "origins": {stage[key] for stage in stages for key in ("origin", "data") if key in stage},
    }
    lists = {name: {i: details[name][i] for i in sorted(held)} for name, held in places.items()}
    return {**lists, "runs": runs}


def _script(value: Any) -> str:
    """Write a script that hands a value to the page, as JSON in a text in single quotes."""
    text = compact(value)
    return "takeDetails('" + text.replace("\\", r"\\").replace("'", r"\'") + "')\n"


def compact(value: Any) -> str:
    """Write JSON without spaces; ``json.dumps`` takes three times as long, and nan is null here."""
    return pydantic_core.to_json(value, inf_nan_mode="null").decode()
