"""Evaluate a trained run by an optional measure: python -m bench evaluate --measure pgd50_10 ...

Reads DIR/train.json and DIR/model.safetensors, or DIR/best.safetensors, writes DIR/<measure>.json.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.runs.record import MEASURES, TRAIN, Measure, Record, Score
from bench.stages import job
from bench.stages.attack import prepare
from bench.stages.job import Job, Refused

if TYPE_CHECKING:
    import torch

    from bench.models import Net

STEPS, RESTARTS = 50, 10
BATCH = 512  # images
ATTACK_BATCH = 256  # images of AutoAttack, whose draws it changes


def work(this: Job, ready: Any) -> dict[str, Any]:
    """Measure on the first test images."""
    from evaluation.pgd import STEP, pgd_restarts
    from evaluation.sweep import eps_sweep

    loaded, data, net, _ = ready
    x, y = job.test_images(this, loaded, this.args.images)
    start, seed = time.perf_counter(), this.args.seed
    settings: dict[str, Any] = {"seed": seed}
    if this.stage == "autoattack_best":
        settings |= {"batch": ATTACK_BATCH}
        scores = {this.stage: _attack_best(this, net, x, y, loaded.info.classes)}
    elif this.stage == "pgd50_10":
        settings |= {"alpha": STEP, "alpha_unit": "eps", "steps": STEPS, "restarts": RESTARTS}
        one = pgd_restarts(
            net, x, y, eps=this.eps, batch=BATCH, steps=STEPS, restarts=RESTARTS, seed=seed
        )
        scores = {this.stage: one}
    else:
        settings |= {"alpha": STEP, "alpha_unit": "eps"}
        scores = eps_sweep(net, x, y, trained=this.eps, batch=BATCH, seed=seed)
    spent = time.perf_counter() - start
    return {
        "data": data,
        "measure": Measure(settings=settings, scores=scores, measure_seconds=spent),
    }


def _attack_best(
    this: Job, net: "Net", x: "torch.Tensor", y: "torch.Tensor", classes: int
) -> Score:
    """Attack the epoch that was best on validation images; leaves its weights in net.

    Raises:
        Refused: no epoch was chosen.
    """
    from safetensors.torch import load

    from bench import checkpoint
    from evaluation.autoattack import autoattack

    path = this.folder / checkpoint.BEST
    if not path.is_file():
        name = this.config.protocol["name"]
        raise Refused(f"protocol {name} holds no validation images out, so no epoch was chosen")
    net.load_state_dict(load(path.read_bytes()))
    attack = autoattack(
        net, x, y, eps=this.eps, classes=classes, seed=this.args.seed, batch=ATTACK_BATCH,
        say=this.say,
    )  # fmt: skip
    return Score(accuracy=attack.accuracy, n=attack.n)


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
