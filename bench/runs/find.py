"""Find a run by its folder or its id: one way for all commands, and for `bench.load`."""

import re
from pathlib import Path

from bench.runs.record import TRAIN

WAYS = (
    "its folder, which holds train.json, or its id of 12 digits, looked for in {0}/runs and then "
    "in {0}/published"
)
RUN = f"a trained run: {WAYS.format('results')}"  # what the commands' help says


def run_folder(given: str | Path, results: Path = Path("results")) -> Path:
    """Find the folder of a run; of several with its id this machine's, which the page shows too.

    Args:
        given: a folder anywhere, or an id.
        results: where an id is looked for.

    Raises:
        ValueError: there is no run of this name that has a record of training.
    """
    folders = [Path(given)]
    if is_id(str(given)):
        for place in ("runs/*/*/*", "published/**"):
            folders += sorted(results.glob(f"{place}/{given}"))
    for folder in folders:
        if (folder / f"{TRAIN}.json").is_file():
            return folder
    raise ValueError(f"there is no trained run {str(given)!r}; give {WAYS.format(results)}")


def is_id(name: str) -> bool:
    """Say whether a name has the form of a run's id."""
    return re.fullmatch("[0-9a-f]{12}", name) is not None
