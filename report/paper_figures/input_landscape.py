"""Input landscapes: loss and class on planes through test images.

Dark is a large loss, or where the network gives few images the class that it gives them at (0, 0),
on one scale for all planes of a picture. Roughness is the mean absolute
second difference of the loss along FGSM's step: 0 where the loss is linear there. A network that
has overfitted FGSM has a ridge between the image and FGSM's point. "Before", "at" and "after the
onset" are said of a run that collapsed, by the epoch in which it did.

Figure: SORA (arXiv:2606.00738), evolution of the landscape; SEAT (arXiv:2210.05373), Figures 2, 5.

Reads: the evaluation landscape of FGSM and PGD, or of FGSM and noise (landscape-second_random), at
    the end or at updates (landscape-at_315).
"""

from collections.abc import Iterator, Sequence

from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures._planes import picture, squares
from report.paper_figures._updates import Found, measured, named

SECOND = {"pgd": "in moves of PGD-10", "random": "in draws of noise in [0, eps]"}
MOST = 4  # planes in a row


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw the losses and the classes for each pair of directions."""
    for second, title in SECOND.items():
        by_run = [(name, _finest(measured(run, "landscape", first="fgsm", second=second)))
                  for name, run in named(runs)]  # fmt: skip
        found = [
            square
            for name, ones in by_run
            for one in ones
            for square in squares(
                name, one, [one.entry.settings["least"], one.entry.settings["most"]],
                number="roughness",
            )
        ]  # fmt: skip
        across = min(max((len(ones) for _, ones in by_run), default=1), MOST)
        for shown, words in (("loss", "fgsm"), ("same", "class-fgsm")):
            yield from picture(
                f"input_landscape-{words}_{second}", found, x="in steps of FGSM", y=title,
                across=across, number="roughness", shown=shown,
            )  # fmt: skip


def _finest(found: Sequence[Found]) -> list[Found]:
    """Keep one plane of each update, that of the most points."""
    by_points = sorted(found, key=lambda one: one.entry.settings["points"])
    best = {one.update: one for one in by_points}
    return [best[update] for update in sorted(best)]
