"""Lemma 1: how long the step of FGSM-RS is, against the bound.

FGSM-RS starts at random in the ball, steps by alpha and is cut back to the ball. Up to alpha = 2
eps its mean length is at most sqrt(d) sqrt(-alpha^3 / (6 eps) + alpha^2 / 2 + eps^2 / 3), which is
less than FGSM's, sqrt(d) eps. No network enters: the picture is computed as it is drawn, from 1,000
draws with seed 0 of a start and of the signs of a gradient.

Figure: GradAlign (arXiv:2007.02617), Figure 2 and Lemma 1.

Reads: nothing.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

DRAWS, PIXELS, EPS, SEED = 1000, 3072, 8 / 255, 0
STEPS = [i / 8 for i in range(17)]  # alpha, in units of eps
MEAN, BOUND = "mean length of FGSM-RS", "bound of Lemma 1"
COLUMNS = {"line": "what", "x": "alpha, in units of eps", "y": "length over sqrt(d), in 1/255",
           "n": "draws", "seed": "seed of the draws"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, whatever runs there are."""
    lines = {BOUND: [bound(step) for step in STEPS], MEAN: means(STEPS)}
    points = [
        {"line": name, "x": step, "y": 255 * length / math.sqrt(PIXELS), "n": DRAWS, "seed": SEED,
         "records": ""}
        for name, line in lines.items() for step, length in zip(STEPS, line, strict=True)
    ]  # fmt: skip
    across = {"field": "x", "type": "quantitative", "axis": {"grid": False},
              "title": "alpha, in units of eps = 8/255"}  # fmt: skip
    up = {"field": "y", "type": "quantitative", "scale": {"zero": False},
          "title": f"length over sqrt(d), in 1/255, {DRAWS:,} draws"}  # fmt: skip
    marks = {BOUND: {"type": "line", "strokeWidth": 2},
             MEAN: {"type": "point", "filled": True, "size": 70, "opacity": 1}}  # fmt: skip
    shapes = {BOUND: "stroke", MEAN: "circle"}
    shown = {name: parts.shade(i)._replace(shape=shapes[name]) for i, name in enumerate(marks)}
    look = parts.look(shown, "color")
    look["color"]["legend"] = {"symbolStrokeWidth": 2}  # of the line
    yield parts.picture("gradalign_lemma1", points, COLUMNS, {
        "width": 350, "height": 240,
        "encoding": {"x": across, "y": up},
        "layer": [{"mark": mark, "transform": [{"filter": {"field": "line", "equal": name}}],
                   "encoding": look | (parts.look(shown, "shape") if name == MEAN else {})}
                  for name, mark in marks.items()],
    })  # fmt: skip


def bound(step: float) -> float:
    """Return the lemma's bound of the mean L2 length; the step is in units of eps."""
    return EPS * math.sqrt(PIXELS * (-(step**3) / 6 + step**2 / 2 + 1 / 3))


def means(steps: Sequence[float]) -> list[float]:
    """Draw FGSM-RS's perturbation, and return its mean L2 length for each step."""
    generator = np.random.default_rng(SEED)
    start = generator.uniform(-EPS, EPS, (DRAWS, PIXELS))
    sign = generator.choice([-1.0, 1.0], (DRAWS, PIXELS))  # of the gradient, whatever it is
    ends = (np.clip(start + step * EPS * sign, -EPS, EPS) for step in steps)
    return [float(np.linalg.norm(end, axis=1).mean()) for end in ends]
