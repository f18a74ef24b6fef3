"""Accuracy over the radius of the attack, of networks that FGSM trained at different radii.

A line is the trainings at one radius, the mean over seeds. A network that has overfitted FGSM holds
where FGSM's step is as long as in training, and nowhere under PGD-10.

Figure: GradAlign (arXiv:2007.02617), Figure 3.

Reads: the evaluation eps_sweep of runs of fgsm, with its own step, at two radii or more.
"""

from collections.abc import Iterator, Sequence

from bench.runs.record import SWEEP, radius
from report import sweep
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

ATTACKS = {"fgsm": "FGSM", "pgd10": "PGD-10"}
COLUMNS = {"panel": "attack", "line": "trained at", "seed": "seed", "x": "radius, 1/255",
           "y": "accuracy, %", "n": "images"}  # fmt: skip


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, a panel an attack."""
    chosen = [run for run in runs if run.config.method == "fgsm"
              and run.config.settings["alpha"] == 1.0 and sweep.of(run)]  # fmt: skip
    trained = sorted({run.config.eps for run in chosen}, key=radius)
    if len(trained) < 2:
        return
    points = [
        {"panel": ATTACKS[point.attack], "line": f"trained at {run.config.eps}", "x": point.k,
         "y": point.accuracy, "n": point.n, "seed": run.config.seed,
         "records": parts.record(run, SWEEP)}
        for run in chosen for point in sweep.points(sweep.of(run))
    ]  # fmt: skip
    shown = {f"trained at {eps}": parts.shade(i) for i, eps in enumerate(trained)}
    panels = [
        parts.lines(title, shown, x="radius of the attack, 1/255",
                    y=parts.titled("accuracy, %", points))
        for title in ATTACKS.values()
    ]  # fmt: skip
    yield parts.picture("gradalign_radii", points, COLUMNS, {"hconcat": panels})
