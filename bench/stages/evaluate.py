"""Attack or measure a trained run: python -m bench evaluate --evaluation NAME ... --out DIR

It reads DIR/train.json and the weights that training wrote, and writes DIR/NAME.json. NAME names a
file of evaluation/attacks or evaluation/diagnostics and its settings (bench/runs/evaluations.py).
After a kill an attack goes on behind the last finished batch.
"""

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runs import evaluations
from bench.runs.evaluations import Entry
from bench.runs.files import write_bytes
from bench.runs.record import SWEEP, Data, Evaluation, radius
from bench.stages import setup
from bench.stages.attack import fast_network
from bench.stages.job import Job
from bench.stages.kept import kept
from bench.stages.setup import Trained

if TYPE_CHECKING:
    from torch import Tensor

    from evaluation.attack import Attack
    from evaluation.diagnostic import Diagnostic


def prepare(job: Job) -> tuple[Trained, Trained | None]:
    """Load the data set and the trained network, after a check of the radii.

    Returns:
        The network, and that of another run if the attack is made on one.
    """
    _radii(job)
    entry = evaluations.read(job.stage.name)
    if lacks := evaluations.lacking(entry, job.config.norm):
        raise ValueError(lacks)
    source = evaluations.source(entry, job.config)
    return setup.trained(job), setup.trained_source(job, source) if source else None


def work(job: Job, prepared: tuple[Trained, Trained | None]) -> tuple[Data, Evaluation]:
    """Evaluate the network on the first test images."""
    from bench.threat import Threat
    from evaluation.attack import Task

    trained, other = prepared
    options, entry = job.options, evaluations.read(job.stage.name)
    x, y = setup.test_images(job, trained.loaded, options.images)
    fast = fast_network(job, trained, x) if options.mode == "fast" else None
    one = load(entry)
    # what kept verdicts depend on
    key: list[Any] = [trained.digest, trained.data.checksum, job.config.norm, job.config.eps]
    key += [entry.name, options.seed, options.batch, options.mode, options.radii, len(y)]
    key += [other.digest] if other else []
    start = time.perf_counter()
    with kept(job, key) as (before, keep):
        earlier = before.seconds if before else 0.0
        found = one.evaluate(
            Task(
                net=trained.net,
                x=x,
                y=y,
                threat=Threat(entry.norm or job.config.norm, radius(entry.eps or job.config.eps)),
                name=entry.printed,
                classes=trained.loaded.info.classes,
                seed=options.seed,
                say=job.say,
                before=before,
                keep=keep,
                radii=_radii(job),
                batch=options.batch,
                source=other and other.net,
                fast=fast,
            )
        )
    settings = {"seed": options.seed} | evaluations.as_mapping(entry) | found.settings
    if options.weights != entry.weights:
        settings["weights"] = options.weights
    if options.radii:
        settings["radii"] = options.radii
    return trained.data, Evaluation(
        settings=settings,
        scores=found.scores,
        values=found.values,
        arrays=_write(found.arrays, job.folder / f"{entry.name}.safetensors"),
        images=len(y),
        measure_seconds=earlier + time.perf_counter() - start,
        digest=trained.digest,
        source=other and other.source,
    )


def load(entry: Entry) -> "Attack | Diagnostic":
    """Make the attack or the diagnostic of an entry."""
    from evaluation import load as load_class

    made: Attack | Diagnostic = load_class(entry.kind, entry.file)(**entry.settings)
    return made


def _write(arrays: "dict[str, Tensor]", path: Path) -> dict[str, str]:
    """Write what is more than a number beside the record; return the file's name and SHA-256."""
    from safetensors.torch import save

    if not arrays:
        path.unlink(missing_ok=True)
        return {}
    content = save({name: tensor.contiguous() for name, tensor in arrays.items()})
    write_bytes(path, content)
    return {path.name: hashlib.sha256(content).hexdigest()}


def _radii(job: Job) -> tuple[int, ...]:
    """Read the radii that a sweep was given, as it counts them; none stands for the usual ones.

    Raises:
        ValueError: the evaluation is no sweep, or the text is no list of radii.
    """
    text = job.options.radii
    if text is None:
        return ()
    if job.stage.name != SWEEP:
        raise ValueError(f"{job.stage.name} takes no radii, only {SWEEP} does; leave --radii out")
    words = text.split(",")
    if not all(word.isdecimal() and int(word) < 255 for word in words):
        raise ValueError(f"--radii {text!r} is no list of whole numbers from 0 to 254, as 0,8,16")
    return tuple(map(int, words))
