"""Lemma 2: gradient alignment of networks with random weights, against a lower bound.

The network has one layer of filters u ~ N(0, 1) with ReLU, and reads it with random weights. With
ever more filters, its alignment at a patch z and at z + noise becomes the share of filters that
both switch alike. By Hoeffding's inequality this is at least 1 - E exp(-<u/|u|, z>^2 / (2 eps^2)),
and by symmetry 1/2. The paper's bound is of this form; its constants could not be checked here.
Nothing is trained: the picture is computed as it is drawn, from 1,000 patches of 27 pixels in
[0, 1], each with a network and noise of its own, seed 0.

Figure: GradAlign (arXiv:2007.02617), Lemma 2 and its figure.

Reads: nothing.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

DRAWS, PIXELS, SEED = 1000, 27, 0
RADII = [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32]  # 1/255
FILTERS = (4, 100)
COLUMNS = {"line": "what", "x": "eps, in 1/255", "y": "gradient alignment", "n": "draws",
           "seed": "seed of the draws"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, whatever runs there are."""
    lines = {f"{filters} filters": alignments(RADII, filters) for filters in FILTERS}
    lines["lower bound, ever more filters"] = bounds(RADII)
    title = f"patches of {PIXELS} pixels, random weights"
    points = [
        {"panel": title, "line": name, "x": k, "y": value, "n": DRAWS, "seed": SEED, "records": ""}
        for name, line in lines.items() for k, value in zip(RADII, line, strict=True)
    ]  # fmt: skip
    view = parts.lines(
        title, {name: parts.shade(i) for i, name in enumerate(lines)}, width=350, domain=(0.5, 1),
        x="eps, in 1/255", y=["mean gradient alignment (cosine)", f"{DRAWS:,} draws"],
    )  # fmt: skip
    yield parts.picture("gradalign_lemma2", points, COLUMNS, view)


def bounds(radii: Sequence[float]) -> list[float]:
    """Return the lower bound for infinitely many filters, by radius in 1/255."""
    generator = np.random.default_rng(SEED)
    z = generator.uniform(0, 1, (DRAWS, PIXELS))
    u = generator.standard_normal((DRAWS, PIXELS))
    height = (u * z).sum(1) / np.linalg.norm(u, axis=1)
    return [max(0.5, 1 - _switched(height, k / 255)) for k in radii]


def _switched(height: np.ndarray, eps: float) -> float:
    """Bound the share of filters that noise of eps switches, by <u/|u|, z> of each."""
    return float(np.exp(-((height / eps) ** 2) / 2).mean()) if eps else 0.0


def alignments(radii: Sequence[float], filters: int) -> list[float]:
    """Return the mean cosine of the gradients at patches and at random points of their balls."""
    generator = np.random.default_rng(SEED)
    z = generator.uniform(0, 1, (DRAWS, PIXELS))
    noise = generator.uniform(-1, 1, (DRAWS, PIXELS))
    u = generator.standard_normal((DRAWS, filters, PIXELS))
    v = generator.standard_normal((DRAWS, filters))

    def slope(at: np.ndarray) -> np.ndarray:
        active = np.einsum("nfp,np->nf", u, at) > 0
        return np.einsum("nf,nfp->np", v * active, u)

    first = slope(z)
    return [float(_cosine(first, slope(z + k / 255 * noise)).mean()) for k in radii]


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return cosines of rows; 0/0 counts as 1, as in the diagnostic."""
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.divide((one * other).sum(1), length, out=np.ones(len(one)), where=length > 0)
