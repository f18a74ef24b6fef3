"""Cost against robustness in totals: seconds and peak memory of a run, and minutes an epoch.

Seconds are those of all updates of a run, and of the run that it begins with, at the pace that its
cost stage measured; making batches, probes and attacks on test images are not in them. Memory is
the peak of the device in an update, and exists on GPUs only. Costs are of one run, accuracies are
means over seeds, upright bars their 95 % intervals; dashed are the methods that no other beats on
both axes.

Figure: SORA (arXiv:2606.00738), cost; SEAT (arXiv:2210.05373), Table 1, minutes an epoch.

Reads: trained runs and their costs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from bench.runs.record import COST, TRAIN, Expense, Training
from report import figures
from report.collect import RunRecords
from report.figures import Picture
from report.paper_figures import _parts as parts
from report.rows import Row

TOTALS = {"seconds": "seconds of a run", "minutes": "minutes an epoch",
          "memory": "peak memory of a run, MB"}  # fmt: skip
NO_MEMORY = "Peak memory: not measured, as there is none to measure without a GPU."


def draw(runs: Sequence[RunRecords]) -> Iterator[Picture]:
    """Draw a picture of each total, of each table and device.

    Raises:
        ValueError: there are runs, and costs of none.
    """
    trained = sum(run.has(TRAIN) for run in runs)
    if trained and not any(run.has(COST) for run in runs):
        raise ValueError(f"{trained} trained runs are here, and the cost of none")
    by_id = {run.config.run_id: run for run in runs}
    for name, group in parts.tables("cost_totals", runs):
        points: dict[tuple[str, str], list[parts.Compared]] = defaultdict(list)
        for row in group.rows:
            for device, total, x, records in _totals(row, by_id):
                points[device, total].append(_point(row, x, records))
        devices = list(dict.fromkeys(device for device, _ in points))
        for (device, total), shown in points.items():
            place = f"-{devices.index(device) + 1}" if len(devices) > 1 else ""
            picture = parts.compared(
                f"{name}-{total}{place}", shown, f"{TOTALS[total]}, {device}, n = 1 run",
                "PGD-10 accuracy, %", is_cost=True,
            )  # fmt: skip
            if not any(key == (device, "memory") for key in points):
                dim = figures.paper_colours()["dim"]
                picture.spec["title"] = {"text": NO_MEMORY, "anchor": "start", "color": dim,
                                         "fontSize": 11, "fontWeight": "normal"}  # fmt: skip
            yield picture


def _totals(
    row: Row, by_id: Mapping[str, RunRecords]
) -> Iterator[tuple[str, str, float, list[str]]]:
    """Yield the totals of a row's runs, which are alike but for their seeds: costs are of one."""
    run = next((run for run in row.runs if run.has(COST) and run.has(TRAIN)), None)
    if run is None:
        return
    source = run.config.source
    chain = [run] if source is None else [by_id.get(source.run_id), run]
    seconds, records = 0.0, []
    for one in chain:
        if one is None or not (one.has(COST) and one.has(TRAIN)):
            return  # what the source took is not known
        training, expense = _bodies(one)
        seconds += training.updates * expense.update_seconds
        records.append(parts.record(one, TRAIN, COST))
    training, expense = _bodies(run)
    origin = run.records[COST].origin
    device = origin.device if origin else "device unknown"
    yield device, "seconds", seconds, records
    own = training.updates * expense.update_seconds
    yield device, "minutes", own / training.epochs / 60, records[-1:]
    if expense.peak_bytes:
        most = max(peak for one in chain if one and (peak := _bodies(one)[1].peak_bytes))
        yield device, "memory", most / 1e6, records


def _bodies(run: RunRecords) -> tuple[Training, Expense]:
    training, expense = run.records[TRAIN].training, run.records[COST].expense
    assert training and expense, "stages that are done have numbers"
    return training, expense


def _point(row: Row, x: float, records: list[str]) -> parts.Compared:
    named = dict.fromkeys(" ".join([*records, *parts.records(row.runs, TRAIN)]).split())
    return parts.Compared(row, x, "pgd10", [*named])
