"""Epsilon overfitting: accuracy under FGSM and PGD-10 at radii other than the trained one.

Source: the SORA benchmark's epsilon sweep. A network that overfitted to its training attack shows
FGSM accuracy that rises again near the training radius while PGD's falls to 0.
"""

from torch import Tensor, nn

from bench.runs.record import Score
from evaluation.pgd import fgsm, pgd


def radii(eps: float) -> list[int]:
    """Radii in 1/255: 0 to 32, and on in fours beyond a trained eps that is larger."""
    return [*range(33), *range(36, int(1.25 * 255 * eps) + 1, 4)]


def eps_sweep(
    net: nn.Module, x: Tensor, y: Tensor, *, trained: float, batch: int, seed: int
) -> dict[str, Score]:
    """Accuracy over the radius of the attack, under one step of eps and under ten of eps/4.

    Args:
        net: in eval mode.
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels.
        trained: radius that the network was trained for, on the [0, 1] scale.
        batch: images at once.
        seed: of PGD's random starts.

    Returns:
        Scores by "fgsm k/255" and "pgd10 k/255"; k = 0 is the clean accuracy.
    """
    scores = {}
    for k in radii(trained):
        eps = k / 255
        scores[f"fgsm {k}/255"] = fgsm(net, x, y, eps=eps, batch=batch)
        scores[f"pgd10 {k}/255"] = pgd(net, x, y, eps=eps, batch=batch, steps=10, seed=seed)
    return scores
