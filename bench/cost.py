"""Measure what a run's updates cost: python -m bench.cost --config run.yaml --out DIR

Writes DIR/cost.json. Wants the device to itself. The method and the reference, FGSM-RS, take turns,
so that a machine that slows down slows both, and their ratio holds.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from bench import job
from bench.job import Job
from bench.record import COST, Expense, Record
from workflows import grid

REFERENCE = "fgsm_rs"
SECONDS = 0.2  # that a repetition should take at least


def prepare(this: Job) -> Any:
    """Load the data and compose both trainers' ingredients."""
    return job.data(this)


def work(this: Job, ready: Any) -> dict[str, Any]:
    """Count passes and operations once, then time and weigh updates."""
    import torch

    from bench.engine import WARM_UP
    from bench.meter import Clock, Flops, Passes, Peak
    from bench.train import make_trainer

    loaded, data = ready
    other = dataclasses.replace(this.config, method=REFERENCE, settings=grid.settings(REFERENCE))
    peaks = {}
    for one in (this, this._replace(config=other)):
        peak = Peak(this.device)
        alone = make_trainer(one, loaded, quiet=True)
        alone.advance(WARM_UP)
        peak.note()
        peaks[one.config.method] = peak.bytes
        del alone
    mine = make_trainer(this, loaded, quiet=True)
    reference = make_trainer(this._replace(config=other), loaded, quiet=True)
    for trainer in (mine, reference):
        trainer.advance(WARM_UP)
    replays = mine.method.replays  # updates a step; so many fewer steps does a run have
    images = mine.batches.batch * replays
    plain = make_trainer(this, loaded, quiet=True, engine="eager")  # a recorded step shows nothing
    with Passes(plain.net) as passes, Flops() as flops:
        plain.advance(1)
    del plain
    once = Clock(this.device)
    with once.running():
        reference.advance(WARM_UP)
    updates = max(3, round(SECONDS / (once.seconds / WARM_UP)))
    times: dict[str, list[float]] = {"mine": [], "reference": [], "data": []}
    for _ in range(this.args.repetitions):
        before = mine.clocks["data"].seconds
        for name, trainer in (("mine", mine), ("reference", reference)):
            clock = Clock(this.device)
            with clock.running():
                trainer.advance(updates)
            times[name].append(clock.seconds / updates / trainer.method.replays)
        times["data"].append((mine.clocks["data"].seconds - before) / updates / replays)
    declared = mine.method.cost
    ratios = [a / b for a, b in zip(times["mine"], times["reference"], strict=True)]
    expense = Expense(
        forward=passes.forward / images,
        backward=passes.backward / images,
        declared_forward=declared.forward / replays,
        declared_backward=declared.backward / replays,
        flops_per_image=flops.total / images,
        update_seconds=statistics.median(times["mine"]),
        update_seconds_sd=statistics.stdev(times["mine"]),
        reference=REFERENCE,
        reference_seconds=statistics.median(times["reference"]),
        time_ratio=statistics.median(ratios),
        data_seconds=statistics.median(times["data"]),
        repetitions=this.args.repetitions,
        updates=updates,
        peak_bytes=peaks[this.config.method],
        reference_bytes=peaks[REFERENCE],
        state_bytes=mine.outcome.state_bytes,
        engine=mine.engine,
    )
    this.say(f"{expense.time_ratio:.2f} times {REFERENCE} on {torch.get_num_threads()} threads")
    return {"data": data, "expense": expense}


def main(words: Sequence[str] | None = None) -> None:
    """Measure one run."""
    parser = job.arguments(COST, "Measure passes, operations, time and memory of one update.")
    parser.add_argument(
        "--repetitions", type=int, default=5, help="of each, taking turns; 2 or more"
    )
    job.add_engine(parser)
    args = parser.parse_args(words)
    if args.repetitions < 2:
        parser.error("--repetitions must be 2 or more; their spread is recorded")

    def fits(record: Record) -> bool:
        made = record.expense
        same = made is not None and made.repetitions == args.repetitions
        return same and args.engine in ("auto", made and made.engine)

    job.execute(COST, args, prepare, work, fits=fits)


if __name__ == "__main__":
    main()
