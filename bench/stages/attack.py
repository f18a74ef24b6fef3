"""Attack a trained run with AutoAttack: python -m bench attack --config run.yaml --out DIR

Reads DIR/train.json and DIR/model.safetensors, writes DIR/autoattack.json. Goes on after the last
finished batch, from DIR/state/, when it was killed.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs.files import write_json
from bench.runs.record import AUTOATTACK, TRAIN, Record
from bench.stages import job
from bench.stages.job import Job, Refused, Skipped

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.models import Net
    from evaluation.autoattack import Progress


def prepare(this: Job) -> Any:
    """Load data and trained network.

    Raises:
        Skipped: there is none, because training failed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    trained = job.upstream(this)
    if trained.status != "done":
        raise Skipped(f"training {trained.status}: {trained.reason}")
    loaded, data = job.data(this)
    net = job.exact(job.network(this, loaded))
    path = this.folder / "model.safetensors"
    try:
        content = path.read_bytes()
        net.load_state_dict(load(content))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as this run's weights ({str(error).splitlines()[0]}); remove "
            f"{this.folder} and train the run again"
        ) from None
    # without weight gradients FAB takes a quarter less time, with the same output
    net.requires_grad_(requires_grad=False)
    return loaded, data, net, hashlib.sha256(content).hexdigest()


def work(this: Job, ready: Any) -> dict[str, Any]:
    """Attack the first test images."""
    from evaluation.autoattack import LIBRARY, autoattack

    loaded, data, net, weights = ready
    x, y = job.test_images(this, loaded, this.args.images)
    args = this.args
    # what the kept verdicts depend on
    key = [weights, data.checksum, this.config.eps, LIBRARY, args.seed, args.batch, len(y)]
    key += ["batches", args.mode]
    path = this.folder / "state" / f"{AUTOATTACK}.json"
    try:
        attack = autoattack(
            net,
            x,
            y,
            eps=this.eps,
            classes=loaded.info.classes,
            seed=args.seed,
            batch=args.batch,
            fast=fast_network(this, loaded, net) if args.mode == "fast" else None,
            before=_before(path, key),
            keep=lambda now: write_json(path, {"key": key, "progress": dataclasses.asdict(now)}),
            say=this.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
    return {"data": data, "attack": attack}


def fast_network(this: Job, loaded: "Loaded", net: "Net") -> "torch.nn.Module":
    """Make the network that fast mode attacks: bf16 inside, and compiled on a GPU."""
    from bench.engine import compiler
    from evaluation.autoattack import Padded

    rough = this._replace(config=dataclasses.replace(this.config, precision="bf16"))
    other = job.network(rough, loaded)
    other.load_state_dict(net.state_dict())
    other.requires_grad_(requires_grad=False).eval()
    return Padded(other, this.args.batch) if this.device.type == "cuda" and compiler() else other


def _before(path: Path, key: list[Any]) -> "Progress | None":
    """Read the verdicts of an earlier try at the same work."""
    from evaluation.autoattack import Progress

    if not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to attack afresh") from None
    return Progress(**kept["progress"]) if kept.get("key") == key else None


def main(words: Sequence[str] | None = None) -> None:
    """Attack one run."""
    parser = job.arguments(AUTOATTACK, "Attack a trained run with AutoAttack standard.")
    parser.add_argument("--images", type=job.positive, help="first test images to attack; all")
    parser.add_argument(
        "--batch", type=job.positive, default=256, help="images at once; changes the draws"
    )
    parser.add_argument(
        "--mode",
        choices=("exact", "fast"),
        default="exact",
        help="fast attacks in bf16; the network in fp32 judges what was found",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the attacks; changes the draws")
    args = parser.parse_args(words)

    def fits(record: Record) -> bool:
        made = record.attack
        given = (args.mode, args.batch, args.seed, job.count(args.images, record))
        return made is not None and (made.mode, made.batch, made.seed, made.n) == given

    job.execute(AUTOATTACK, args, prepare, work, reads=TRAIN, fits=fits)
