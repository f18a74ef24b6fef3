"""Notes of a row: what a reader must know before comparing its numbers with those of other rows."""

import typing
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from bench.runs import catalogue
from bench.runs.fingerprints import equivalent
from bench.runs.record import COST
from evaluation.masking import Doubt, DoubtId, doubts
from report import weights
from report.collect import SUBMITTED, RunRecords

NoteId = (
    Literal[
        "declared cost", "one seed", "fast mode", "published", "unofficial data", "image count",
        "other weights", "stale code", "stale method code", "no method code", "start", "weights",
        "submitted",
    ]
    | DoubtId
)  # fmt: skip
DOUBT_IDS: tuple[str, ...] = typing.get_args(DoubtId)


class Note(NamedTuple):
    """A remark beside a row: an id for code, a text for people."""

    id: NoteId
    text: str

    @property
    def is_doubt(self) -> bool:
        """Whether evaluation.masking raised it."""
        return self.id in DOUBT_IDS


ONE_SEED = Note("one seed", "indicative (n = 1)")
FAST_MODE = Note("fast mode", "AutoAttack in fast mode: may call an image robust that is not")
PUBLISHED = Note("published", "published record")
UNOFFICIAL = Note("unofficial data", "unofficial data")
STALE_CODE = Note("stale code", "older code")
STALE_METHOD = Note("stale method code", "older method code")
NO_METHOD = Note("no method code", "no method code to compare with")


class CurrentCode(NamedTuple):
    """Fingerprints of the code as it is now; a record with another one is stale."""

    bench: Callable[[str, str, str], str]  # of a stage, a data set and an architecture
    method: Callable[[str], str | None]  # of a method; None where its file is gone or half written


def notes(
    runs: Sequence[RunRecords], *, attacked: int, unofficial: bool, current: CurrentCode | None
) -> list[Note]:
    """List the notes of a row, one method's runs.

    Args:
        attacked: seeds with a result of AutoAttack.
        unofficial: the data differ from the published copy.
        current: to mark stale records; None marks none.
    """
    found = [*_start(runs), *_declared_cost(runs)]
    if attacked == 1:
        found.append(ONE_SEED)
    attacks = [attack for run in runs if (attack := run.attack)]
    if any(attack.mode == "fast" for attack in attacks):
        found.append(FAST_MODE)
    others = {attack.weights for attack in attacks if attack.weights != "last"}
    found += [Note("other weights", f"AutoAttack of the {one} weights") for one in sorted(others)]
    found += _doubts(runs)
    if changed := [run for run in runs if run.weights == weights.CHANGED]:
        seeds = ", ".join(str(run.config.seed) for run in changed)
        found.append(Note("weights", f"weights changed since they were trained (seed {seeds})"))
    if any(run.published for run in runs):
        found.append(PUBLISHED)
    found += [Note("submitted", f"submitted by {name}") for name in _submitters(runs)]
    if unofficial:
        found.append(UNOFFICIAL)
    if current:
        found += _stale(runs, current)
    return found


def has_learned(run: RunRecords) -> bool | None:
    """Tell whether a run learned something, by evaluation.masking; None if it is not trained."""
    found = _doubted(run)
    return None if found is None else all(doubt.id != "learning" for doubt in found)


def image_count(images: Iterable[int]) -> Note:
    """Note that AutoAttack met another number of images in this row than in others of its group."""
    numbers = " or ".join(map(str, images))
    return Note("image count", f"AutoAttack on {numbers} images, other rows on others")


def _start(runs: Sequence[RunRecords]) -> Iterable[Note]:
    """Note whose weights the runs began with, and how many epochs these had taken."""
    found = [source for run in runs if (source := run.config.source)]
    if not found:
        return
    trained = (training for run in runs if (training := run.training))
    epochs = {training.source.epochs for training in trained if training.source}
    took = " or ".join(map(str, sorted(epochs or {found[0].protocol["epochs"]})))
    ids = ", ".join(dict.fromkeys(source.run_id for source in found))
    yield Note("start", f"starts from {found[0].method}, {took} epochs (run {ids})")


def _declared_cost(runs: Iterable[RunRecords]) -> Iterable[Note]:
    """Note where a method makes more or fewer passes per update than its file declares."""
    for expense in (run.records[COST].expense for run in runs if run.has(COST)):
        assert expense is not None, "a cost that is done has numbers"
        counted = (expense.forward, expense.backward)
        if counted != (expense.declared_forward, expense.declared_backward):
            declared = f"{expense.declared_forward:g} / {expense.declared_backward:g}"
            text = f"declares {declared} passes, makes {counted[0]:g} / {counted[1]:g}"
            yield Note("declared cost", text)


def _doubts(runs: Sequence[RunRecords]) -> list[Note]:
    """Note each doubt once: the numbers of the first seed that raises it, and how many do."""
    raised: dict[DoubtId, list[tuple[int, Doubt]]] = defaultdict(list)
    trained = [(run, found) for run in runs if (found := _doubted(run)) is not None]
    for run, found in trained:
        for doubt in found:
            raised[doubt.id].append((run.config.seed, doubt))
    if len(trained) == 1:
        return [Note(doubt.id, doubt.text) for ((_, doubt),) in raised.values()]
    return [
        Note(first.id, f"{first.text} (seed {seed}; {len(seeds)} of {len(trained)} seeds)")
        for seeds in raised.values()
        for seed, first in seeds[:1]
    ]


def _doubted(run: RunRecords) -> list[Doubt] | None:
    """Ask evaluation.masking about a run; None if it is not trained."""
    if run.training is None:
        return None
    return doubts(
        run.training, run.attack,
        classes=catalogue.classes(run.config.dataset), norm=run.config.norm,
        measured={name: one.measure for name, one in run.records.items() if one.measure},
    )  # fmt: skip


def _submitters(runs: Sequence[RunRecords]) -> list[str]:
    """List who submitted published runs: the folder between published/submitted/ and the run's."""
    places = (run.place.parts for run in runs if run.place and run.published)
    return sorted({parts[-5] for parts in places if parts[-6:-5] == (SUBMITTED,)})


def _stale(runs: Iterable[RunRecords], current: CurrentCode) -> Iterable[Note]:
    """Note whether records were made by bench code or method code that has changed since."""
    records = [r for run in runs for r in run.records.values()]
    made = {(r.origin.bench_code, r.stage, r.config.dataset, r.config.architecture)
            for r in records if r.origin}  # fmt: skip
    if not all(equivalent(code, current.bench(*where)) for code, *where in made):
        yield STALE_CODE
    by_method = {(r.config.method, r.origin.method_code) for r in records if r.origin}
    methods = {method: current.method(method) for method, _ in by_method}
    if None in methods.values():
        yield NO_METHOD
    elif not all(equivalent(code, methods[method] or "") for method, code in by_method):
        yield STALE_METHOD
