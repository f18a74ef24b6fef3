"""What an evaluation left beside its numbers: arrays, such as the losses of a landscape."""

import numpy as np
from safetensors.numpy import load

from report.collect import RunRecords
from report.traces import checked


def read(run: RunRecords, stage: str) -> dict[str, np.ndarray]:
    """Read the arrays of a stage; none where it is not done, or was published without them.

    Raises:
        ValueError: the file is not the one that the record names; says what to do.
    """
    measure = run.records[stage].measure if run.has(stage) else None
    found: dict[str, np.ndarray] = {}
    for name, digest in measure.arrays.items() if measure and run.place else ():
        assert run.place is not None, "the loop is empty without"
        path = run.place / name
        if not path.is_file():
            continue
        remedy = f"from where it was made, or remove {stage}.json to have it made again"
        found |= load(checked(path, digest, f"{stage}.json", remedy))
    return found
