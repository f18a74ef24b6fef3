"""Evaluate a trained run by an optional measure: python -m bench.evaluate --measure pgd50_10 ...

Reads DIR/train.json and DIR/model.safetensors, writes DIR/<measure>.json.
"""

import time
from collections.abc import Sequence
from typing import Any

from bench import job
from bench.attack import prepare
from bench.job import Job
from bench.record import MEASURES, TRAIN, Measure, Record

STEPS, RESTARTS = 50, 10
BATCH = 512  # images


def work(this: Job, ready: Any) -> dict[str, Any]:
    """Measure on the first test images."""
    from evaluation.pgd import STEP, pgd_restarts
    from evaluation.sweep import eps_sweep

    loaded, data, net, _ = ready
    x, y = job.test_images(this, loaded, this.args.images)
    start, seed = time.perf_counter(), this.args.seed
    settings = {"seed": seed, "alpha": STEP, "alpha_unit": "eps"}
    if this.stage == "pgd50_10":
        settings |= {"steps": STEPS, "restarts": RESTARTS}
        one = pgd_restarts(
            net, x, y, eps=this.eps, batch=BATCH, steps=STEPS, restarts=RESTARTS, seed=seed
        )
        scores = {"pgd50_10": one}
    else:
        scores = eps_sweep(net, x, y, trained=this.eps, batch=BATCH, seed=seed)
    spent = time.perf_counter() - start
    return {
        "data": data,
        "measure": Measure(settings=settings, scores=scores, measure_seconds=spent),
    }


def main(words: Sequence[str] | None = None) -> None:
    """Evaluate one run."""
    parser = job.arguments("evaluate", "Evaluate a trained run by an optional measure.")
    parser.add_argument("--measure", choices=MEASURES, required=True)
    parser.add_argument("--images", type=job.positive, help="first test images; all")
    parser.add_argument("--seed", type=int, default=0, help="of random starts")
    args = parser.parse_args(words)

    def fits(record: Record) -> bool:
        made, given = record.measure, (args.seed, job.count(args.images, record))
        found = {(made.settings["seed"], one.n) for one in made.scores.values()} if made else set()
        return found == {given}

    job.execute(args.measure, args, prepare, work, reads=TRAIN, fits=fits)


if __name__ == "__main__":
    main()
