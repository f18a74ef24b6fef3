"""Attack a trained run with AutoAttack: python -m bench attack --config run.yaml --out DIR

It reads DIR/train.json and DIR/model.safetensors, and writes DIR/autoattack.json. After a kill it
goes on behind the last finished batch, whose verdicts are in DIR/state/.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.files import write_json
from bench.runs.record import AUTOATTACK, Attack, Data
from bench.stages import setup
from bench.stages.job import Job, Refused
from bench.stages.setup import Trained

if TYPE_CHECKING:
    import torch

    from evaluation.autoattack import Progress


def prepare(job: Job) -> Trained:
    """Load the data set and the trained network."""
    return setup.trained(job)


def work(job: Job, trained: Trained) -> tuple[Data, Attack]:
    """Attack the network on the first test images."""
    from evaluation.autoattack import LIBRARY, autoattack

    loaded, data, net, digest = trained
    x, y = setup.test_images(job, loaded, job.options.images)
    options = job.options
    # what the kept verdicts depend on
    key = [digest, data.checksum, job.config.eps, LIBRARY, options.seed, options.batch, len(y)]
    key += ["batches", options.mode]
    path = job.folder / "state" / f"{AUTOATTACK}.json"
    try:
        attack = autoattack(
            net,
            x,
            y,
            threat=job.threat,
            classes=loaded.info.classes,
            seed=options.seed,
            batch=options.batch,
            fast=fast_network(job, trained, x) if options.mode == "fast" else None,
            before=_before(path, key),
            keep=lambda now: write_json(path, {"key": key, "progress": dataclasses.asdict(now)}),
            say=job.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return data, dataclasses.replace(attack, weights=options.weights, digest=digest)


def fast_network(job: Job, trained: Trained, x: "torch.Tensor") -> "torch.nn.Module":
    """Return a copy of the network, in bf16 and on a GPU compiled, for fast mode to attack x."""
    from bench.engine import lacking
    from evaluation.autoattack import Padded
    from evaluation.parts import fitting

    batch = job.options.batch
    rough = job._replace(config=dataclasses.replace(job.config, precision="bf16"))
    other = setup.network(rough, trained.loaded)
    other.load_state_dict(trained.net.state_dict())
    other.requires_grad_(requires_grad=False).eval()
    fits = fitting(other, x, batch)
    compiles = fits is other and job.device.type == "cuda" and not lacking(job.device)
    return Padded(other, batch) if compiles else fits


def _before(path: Path, key: list[Any]) -> "Progress | None":
    """Read the verdicts that a killed job with the same key left; None if there are none.

    Raises:
        ValueError: the file is damaged.
    """
    from evaluation.autoattack import Progress

    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to attack afresh") from None
    return Progress(**kept["progress"]) if kept.get("key") == key else None
