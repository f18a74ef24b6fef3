"""Epsilon overfitting: accuracy under FGSM and PGD-10 at radii other than the trained one.

Source: the SORA benchmark's epsilon sweep. A network that overfitted to its training attack shows
FGSM accuracy that rises again near the training radius while PGD's falls to 0.
"""

from torch import Tensor, nn

from bench.record import Score
from evaluation.pgd import fgsm, pgd

RADII = range(33)  # 1/255


def eps_sweep(net: nn.Module, x: Tensor, y: Tensor, *, batch: int, seed: int) -> dict[str, Score]:
    """Accuracy at 0 to 32/255 under one step of eps, and under ten of eps/4.

    Args:
        net: in eval mode.
        x: (N, C, H, W) in [0, 1].
        y: (N,) labels.
        batch: images at once.
        seed: of PGD's random starts.

    Returns:
        Scores by "fgsm k/255" and "pgd10 k/255"; k = 0 is the clean accuracy.
    """
    scores = {}
    for k in RADII:
        eps = k / 255
        scores[f"fgsm {k}/255"] = fgsm(net, x, y, eps=eps, batch=batch)
        scores[f"pgd10 {k}/255"] = pgd(net, x, y, eps=eps, batch=batch, steps=10, seed=seed)
    return scores
