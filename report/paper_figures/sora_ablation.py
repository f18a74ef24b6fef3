"""SORA's ablations: 17 readings of four printed rows, each printed row below the nearest reading.

The paper's table takes away random sampling (u), the clamped step and the optimal step, and does
not say whether one by one or one after the other. So every reading is run: u per pixel or 1; the
step as published, without its cap, fixed at alpha_max = 2 eps, fixed at eps; both rules for
alpha_0; and FGSM-RS. With a fixed step the rule changes nothing. All are drawn as the change from
the full method under the same rule, in points. Hollow is what the paper prints (CIFAR-10,
PreActResNet-18, 8/255); it stands below the reading whose changes in clean, FGSM and PGD-10
accuracy are the least away. Network and images are others: nearness is a hint, and no finding on
CIFAR-10.

Figure: SORA (arXiv:2606.00738), table of ablations.

Reads: trained runs of the full sora and of its settings draw, adapt, cap, alpha_max and rule.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.runs.record import Config
from report import printed, sources
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts

KEYS = ("clean", "fgsm", "pgd10")
TABLE, FULL = "Ablation table", "SORA (full)"
Means = dict[str, float]  # by column's key


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture a table."""
    asked = [run for run in runs if run.config.method in ("sora", "fgsm_rs")]
    for name, group in parts.tables("sora_ablation", asked):
        found: dict[str, list[parts.Measured]] = defaultdict(list)
        for one in parts.measured(group, KEYS):
            if named := reading(one.run.config):
                found[named].append(one)
        means = {named: _means(ones) for named, ones in found.items()}
        full = {rule: means.get(f"{rule}: full") for rule in ("code", "paper")}
        base = full["code"] or full["paper"]
        if base is None or len(means) < 2:
            continue
        bases = {named: full.get(named.partition(":")[0]) or base for named in means}
        change = {named: _less(numbers, bases[named]) for named, numbers in means.items()}
        points = [
            one.point(name=named, hollow=False, value=one.value,
                      y=one.value - bases[named][one.column.key])
            for named, ones in found.items() for one in ones
        ]  # fmt: skip
        order = sorted(change, key=lambda named: -change[named]["pgd10"])
        for label, (numbers, less) in reversed(_printed().items()):
            distances = {named: _distance(less, own) for named, own in change.items()}
            order.insert(order.index(min(distances, key=distances.__getitem__)) + 1, label)
            points += [
                {"line": parts.title(key), "name": label, "hollow": True, "y": less[key],
                 "value": numbers[key], "seed": None, "n": None,
                 "records": parts.file(printed.FOLDER / "sora.csv")}
                for key in KEYS
            ]  # fmt: skip
        columns = {"name": "reading", "line": "attack", "seed": "seed", "n": "images",
                   "value": "accuracy, %", "y": "change from the full method, points"}  # fmt: skip
        ours = [point for point in points if not point["hollow"]]
        lines = {parts.title(key): parts.MEASURES[key] for key in KEYS}
        view = parts.dots(order, lines, x=parts.titled("change from the full method, points", ours))
        yield parts.picture(name, points, columns, view)


def reading(config: Config) -> str | None:
    """Name what a run takes away from SORA; None for what the table has nothing to do with."""
    chosen = sources.settings(config)
    if config.method == "fgsm_rs":
        return f"FGSM-RS, step {chosen['alpha']:g} eps"
    if chosen["draw"] == "image" or (chosen["tau"], chosen["theta"]) != (0.02, 0.05):
        return None
    taken = ["u = 1"] if chosen["draw"] == "none" else []
    if not chosen["adapt"]:
        taken.append(f"step fixed at {chosen['alpha_max']:g} eps")
    elif chosen["alpha_max"] != 2:
        return None
    elif not chosen["cap"]:
        taken.append("no cap")
    return f"{chosen['rule']}: {', '.join(taken) or 'full'}"


def _means(ones: Sequence[parts.Measured]) -> Means:
    by_key: dict[str, list[float]] = defaultdict(list)
    for one in ones:
        by_key[one.column.key].append(one.value)
    return {key: statistics.fmean(values) for key, values in by_key.items()}


def _less(numbers: Mapping[str, float], full: Mapping[str, float]) -> Means:
    return {key: numbers[key] - full[key] for key in KEYS}


def _distance(one: Means, other: Means) -> float:
    return math.dist([one[key] for key in KEYS], [other[key] for key in KEYS])


def _printed() -> dict[str, tuple[Means, Means]]:
    """Read the printed rows: their numbers, and how far these are from the full method's."""
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for number in printed.printed("sora"):
        if number.table == TABLE:
            rows[number.label][number.attack] = number.number
    full: dict[str, Any] = rows[FULL]
    return {f"printed: {label.removeprefix('SORA ')}": (numbers, _less(numbers, full))
            for label, numbers in rows.items()}  # fmt: skip
