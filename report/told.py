"""What the runs of one method tell of catastrophic overfitting, in sentences made from records."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.runs.ending import plural
from bench.runs.record import Training
from evaluation.binomial import standard_error
from evaluation.sweep import Sweep, k_trained
from report import sweep
from report.collect import RunRecords
from report.groups import groups
from report.notes import has_learned
from report.rows import Row

SUBJECT = "fgsm"  # the method whose story it is
ERRORS = 3.0  # standard errors within which an accuracy has not fallen


class Point(NamedTuple):
    """A point of a curve."""

    run: int
    kind: str  # fgsm, pgd10 or PertAlign
    x: float
    y: float


@dataclass(frozen=True)
class Run:
    """A run that is trained and learned something; others have nothing to tell."""

    training: Training
    swept: Sweep | None

    @property
    def collapsed(self) -> bool:
        """Whether it ended in collapse."""
        return self.training.verdict.collapsed


@dataclass(frozen=True)
class Told:
    """The runs of one method."""

    row: Row
    runs: list[Run]

    @property
    def name(self) -> str:
        """The method's, as the suite calls it."""
        return self.row.method

    @property
    def title(self) -> str:
        """The method's name as the field writes it."""
        return self.row.title

    @property
    def eps(self) -> str:
        """The radius that it is trained for."""
        return self.row.runs[0].config.eps

    @property
    def collapsed(self) -> list[Run]:
        """The runs that ended in collapse."""
        return [run for run in self.runs if run.collapsed]

    @property
    def main(self) -> list[Run]:
        """The runs that numbers are means of: those that collapsed, or all where none did."""
        return self.collapsed or self.runs

    @property
    def onsets(self) -> list[int]:
        """The epochs, from 1, in which collapses began."""
        found = [run.training.verdict.onset_epoch for run in self.runs]
        return sorted(epoch + 1 for epoch in found if epoch is not None)

    @property
    def outcome(self) -> str:
        """What became of the runs, in words."""
        if not self.runs:
            return self.row.reason or self.row.status
        n = plural(len(self.runs), "run")
        if lacking := len(self.row.runs) - len(self.runs):
            n += f" ({lacking} more learned nothing or did not end)"
        if self.collapsed:
            since = ", ".join(map(str, self.onsets))
            return f"{len(self.collapsed)} of {n} collapsed, from epoch {since} on"
        back = sum(run.training.verdict.outcome == "recovered" for run in self.runs)
        return f"0 of {n} ended in collapse" + (
            f"; {back} fell into one and recovered" if back else ""
        )

    def by_epoch(self) -> Iterator[Point]:
        """Yield accuracy on the probe images, of every run."""
        for i, run in enumerate(self.runs):
            for epoch in run.training.curves:
                for kind in ("fgsm", "pgd10"):
                    if kind in epoch.probe:
                        yield Point(i, kind, epoch.epoch + 1, epoch.probe[kind])

    def by_radius(self) -> Iterator[Point]:
        """Yield accuracy over the radius of the attack, as the sweep counts it, of every run."""
        for i, run in enumerate(self.runs):
            for point in sweep.points(run.swept):
                yield Point(i, point.attack, point.k, point.accuracy)

    def alignment(self) -> Iterator[Point]:
        """Yield PertAlign by epoch, of every run."""
        for i, run in enumerate(self.runs):
            for epoch in run.training.curves:
                if epoch.pert_align is not None:
                    yield Point(i, "PertAlign", epoch.epoch + 1, epoch.pert_align)


def tell(runs: Iterable[RunRecords], methods: Sequence[str]) -> list[Told]:
    """Sort runs of one table by method, in the order of the methods."""
    rows = {row.method: row for group in reversed(groups(runs)) for row in group.rows}
    return [Told(rows[method], [*_runs(rows[method])]) for method in methods]


def _runs(row: Row) -> Iterator[Run]:
    for run in row.runs:
        if has_learned(run) and (training := run.training):
            yield Run(training, sweep.of(run))


def foil(told: Sequence[Told]) -> Told | None:
    """Choose what to show beside the subject: the first that held, best without any spell."""
    held = [one for one in told if one.runs and not one.collapsed and one.name != SUBJECT]
    steady = [one for one in held if not any(r.training.verdict.episodes for r in one.runs)]
    return next(iter(steady or held), None)


def headline(subject: Told) -> str:
    """Say in a sentence or two what became of the subject."""
    if not subject.runs:
        return f"No run of {subject.title} has anything to tell yet: {subject.outcome}."
    last = [run.training for run in subject.main]
    fgsm, pgd10 = (_mean(getattr(t, kind).accuracy for t in last) for kind in ("fgsm", "pgd10"))
    scores = (
        f"it reads {fgsm} of digits right that were attacked in one step, and {pgd10} of those "
        f"attacked in ten ({_means(subject, len(last))}, {_images(t.clean.n for t in last)} each)."
    )
    n, trained = plural(len(subject.runs), "run"), "A network trained against attacks of one step"
    if subject.collapsed:
        return f"{trained} collapsed in {len(subject.collapsed)} of {n}: {scores}"
    return (
        f"{trained} did not collapse in any of {n}: {scores} That is no catastrophic overfitting."
    )


def epochs_said(one: Told) -> str:
    """Say what became of the runs, and how accuracy on the probe images ended."""
    last = [run.training.curves[-1].probe for run in one.main]
    if not last or not all({"fgsm", "pgd10"} <= probe.keys() for probe in last):
        return f"{one.title}: {one.outcome}; its records lack accuracies by epoch."
    fgsm, pgd10 = (_mean(probe[kind] for probe in last) for kind in ("fgsm", "pgd10"))
    images = _images(run.training.probe_images for run in one.main)
    return (
        f"{one.title}: {one.outcome}. After the last epoch it reads {fgsm} right under one step, "
        f"{pgd10} under ten ({_means(one, len(last))}, {images})."
    )


def radii_said(one: Told) -> str:
    """Say how accuracy goes with the radius of the attack, up to the trained one."""
    swept = [run.swept for run in one.main if run.swept]
    fgsm, pgd10 = (
        {
            k: statistics.fmean(other.scores[kind][k].accuracy for other in swept)
            for k in (swept[0].scores.get(kind, {}) if swept else {})
            if all(k in other.scores.get(kind, {}) for other in swept)
        }
        for kind in ("fgsm", "pgd10")
    )
    unit = swept[0].unit if swept else ""
    trained = round(k_trained(one.eps, unit))
    smaller = [k for k in fgsm if 0 < k < trained]
    if not smaller or trained not in fgsm or fgsm.keys() != pgd10.keys():
        return f"{one.title}: its records lack accuracies at {one.eps} and at smaller radii."
    n = min(score.n for other in swept for points in other.scores.values()
            for score in points.values())  # fmt: skip
    at = smaller[len(smaller) // 3]
    said = (
        f"{one.title}: one step of {at}{unit} leaves {fgsm[at]:.0f} % right, one of {one.eps} "
        f"leaves {fgsm[trained]:.0f} %; ten steps leave {pgd10[at]:.0f} % and "
        f"{pgd10[trained]:.0f} % ({_means(one, len(swept))}, {_images([n])})."
    )
    noise = ERRORS * max(standard_error(fgsm[k], n) for k in (at, trained))
    if fgsm[at] - fgsm[trained] <= noise and pgd10[trained] <= pgd10[at] / 2:
        said += " The longer step does no more harm, ten steps do: the network has learnt the step."
    return said


def alignment_said(one: Told) -> str:
    """Say how PertAlign went."""
    ends = [
        (run.training.curves[0].pert_align, run.training.curves[-1].pert_align) for run in one.main
    ]
    known = [(first, last) for first, last in ends if first is not None and last is not None]
    if not known:
        return f"{one.title}: its records lack PertAlign."
    first, last = (statistics.fmean(values) for values in zip(*known, strict=True))
    of = _means(one, len(known))
    return f"{one.title}: {first:.2f} in the first epoch, {last:.2f} in the last ({of})."


def alignments_said(told: Sequence[Told]) -> str:
    """Say whether PertAlign, in the end, tells runs that collapsed from those that did not."""
    ends: dict[bool, list[float]] = {True: [], False: []}  # by whether the run collapsed
    for run in (run for one in told for run in one.runs):
        if (last := run.training.curves[-1].pert_align) is not None:
            ends[run.collapsed].append(last)
    if not (ends[True] and ends[False]):
        return ""
    fell, held = (
        f"{min(of):.2f} to {max(of):.2f} in {plural(len(of), 'run')}"
        for of in (ends[True], ends[False])
    )
    apart = max(ends[True]) < min(ends[False])
    found = (
        "lower in every run that collapsed" if apart else "they overlap: alone it tells no collapse"
    )
    return f"Last epochs of all methods: {fell} that collapsed, {held} that did not; {found} here."


def all_said(told: Sequence[Told]) -> str:
    """Say which of the methods collapsed, and which did not."""
    parts: dict[str, list[str]] = {"Ended in collapse": [], "Did not": [], "Nothing to tell": []}
    for one in told:
        if not one.runs:
            parts["Nothing to tell"].append(f"{one.title} ({one.outcome})")
            continue
        share = f"{one.title} ({len(one.collapsed)} of {plural(len(one.runs), 'run')})"
        parts["Ended in collapse" if one.collapsed else "Did not"].append(share)
    return " ".join(f"{said}: {', '.join(names)}." for said, names in parts.items() if names)


def _mean(values: Iterable[float]) -> str:
    return f"{statistics.fmean(values):.0f} %"


def _means(one: Told, n: int) -> str:
    """Say which runs a number is the mean of."""
    which = f"{plural(n, 'run')}{' that collapsed' if one.collapsed else ''}"
    return f"mean of {which}" if n > 1 else which


def _images(counts: Iterable[int]) -> str:
    return f"{' or '.join(f'{n:,}' for n in sorted({*counts}))} images"
