"""What every method and every evaluation stands on; and `load`, for whoever attacks a network."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.models import Net
    from bench.runs.record import Weights


def load(run: str | Path, weights: "Weights" = "last", *, results: str | Path = "results") -> "Net":
    """Load the trained network of a run, ready for any attack library.

    It takes images (B, C, H, W) in [0, 1] and returns logits; normalisation is inside. It is in
    eval mode, in float32 and on the CPU, with its weights frozen; TF32 is off from then on, as in
    all evaluations. It warns of a run that other code has trained than is here.

    Args:
        run: the run's folder, or its id.
        weights: of the last epoch, of the one that the protocol's rule chose, or their average.
        results: folder in which an id is looked for, in runs/ and then in published/.

    Raises:
        ValueError: there is no such run or no such weights, or they are not those that training
            left; the message says what to do.
    """
    from bench import weights as trained  # here, because Snakemake imports this package too

    return trained.load(run, weights, Path(results))
