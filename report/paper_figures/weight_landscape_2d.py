"""Weight landscapes on a plane: the adversarial loss around the weights along two directions.

Both directions are random and filter-normalised; images are attacked anew at each point. Dark is a
large loss, on one scale for all planes.

Figure: SEAT (arXiv:2210.05373), Figure 4.

Reads: the evaluation weight_landscape with dims 2, at the end or at updates
    (weight_landscape-dims_2-at_315).
"""

from collections.abc import Iterator, Sequence

from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures._planes import picture, squares
from report.paper_figures._updates import measured, named


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw one picture, a plane a network."""
    found = (
        square
        for name, run in named(runs)
        for one in measured(run, "weight_landscape", dims=2)
        for square in squares(
            name, one, [-one.entry.settings["most"], one.entry.settings["most"]],
            number="adversarial_loss",
        )
    )  # fmt: skip
    yield from picture(
        "weight_landscape_2d", found, x="direction 1, in norms of filters",
        y="direction 2, in norms of filters",
        across=4, number="adversarial loss at the weights",
    )  # fmt: skip
