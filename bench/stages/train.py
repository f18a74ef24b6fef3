"""Train one run: python -m bench train --config run.yaml --out DIR

Writes DIR/model.safetensors, then DIR/train.json with the curves and the cheap evaluations, for
which a process of their own would cost more than they do. Goes on from DIR/state/ after a kill.
"""

from typing import TYPE_CHECKING, NamedTuple

from bench import checkpoint
from bench.runs import catalogue
from bench.runs.fingerprints import checkpoint_fingerprint
from bench.runs.record import TRAIN, Best, Data, Engine, Score, Training
from bench.stages import setup
from bench.stages.job import Job, Refused

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.trainer import Outcome, Probe, Select, Trainer

STEPS = 10  # of PGD
EVALUATION_BATCH = 512  # images; verdicts do not depend on it
EVALUATION_SEED = 0  # of PGD's random start, the same for every run


class Ready(NamedTuple):
    """A run that may begin, or go on."""

    loaded: "Loaded"
    data: Data
    trainer: "Trainer"


def prepare(job: Job) -> Ready:
    """Load data, network, method and the newest checkpoint."""
    loaded, data = setup.data(job)
    trainer = make_trainer(job, loaded)
    trainer.resume()
    return Ready(loaded, data, trainer)


def work(job: Job, ready: Ready) -> tuple[Data, Training]:
    """Train, evaluate, keep the weights."""
    from bench.models import parameters
    from evaluation.overfitting import collapse

    loaded, data, trainer = ready
    outcome = trainer.fit()
    net = setup.exact(trainer.net)
    checkpoint.keep_weights(job.folder / setup.WEIGHTS["last"], net)
    x, y = setup.test_images(job, loaded, job.options.test_images)
    training = Training(
        epochs=outcome.epochs,
        updates=outcome.updates,
        parameters=parameters(net),
        train_seconds=outcome.train_seconds,
        data_seconds=outcome.data_seconds,
        probe_seconds=outcome.probe_seconds,
        peak_bytes=outcome.peak_bytes,
        state_bytes=outcome.state_bytes,
        probe_images=min(job.options.probe_images, len(loaded.images.test_y)),
        resumed=outcome.resumed,
        **_scores(net, x, y, eps=job.eps),
        verdict=collapse(
            [epoch.probe for epoch in outcome.curves],
            classes=loaded.info.classes,
            images=min(job.options.probe_images, len(loaded.images.test_y)),
        ),
        method_source=(catalogue.ROOT / f"methods/{job.config.method}.py").read_text(
            encoding="utf-8"
        ),
        curves=outcome.curves,
        best=_best(job, outcome, net, x, y),
        engine=trainer.engine,
    )
    checkpoint.clear(job.folder / "state")
    return data, training


def _best(
    job: Job, outcome: "Outcome", net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor"
) -> Best | None:
    """Evaluate the epoch that was best on validation images; leaves its weights in net."""
    from safetensors.torch import load

    if outcome.best is None:
        return None
    validation = outcome.curves[outcome.best].validation
    assert validation is not None, "a best epoch without a validation score"
    net.load_state_dict(load((job.folder / setup.WEIGHTS["best"]).read_bytes()))
    scores = _scores(net, x, y, eps=job.eps)
    return Best(epoch=outcome.best, validation=validation, **scores)


def make_trainer(
    job: Job, loaded: "Loaded", *, quiet: bool = False, engine: Engine | None = None
) -> "Trainer":
    """Compose network, method and data.

    Args:
        quiet: leave out probe and checkpoints.
        engine: None for the one that the job asks for.

    Raises:
        Refused: the method declines these data.
        ValueError: the engine is not possible.
    """
    from bench.batches import Batches
    from bench.data import split, subset
    from bench.engine import choose
    from bench.runs.protocol import Protocol
    from bench.trainer import Trainer

    images, known = loaded.images, loaded.info
    protocol = Protocol(**job.config.protocol)
    allowed, held_out = split(len(images.train_y), protocol.validation)
    rows = allowed[subset(len(allowed), job.config.train_images)]
    batches = Batches(
        images.train_x,
        images.train_y,
        augment=known.augment,
        batch=protocol.batch,
        seed=job.config.seed,
        device=job.device,
        rows=rows,
        size=known.shape[1:],
        shapes=images.train_size,
    )
    net, method = setup.network(job, loaded), setup.method(job)
    chosen = choose(engine or job.options.engine, method, job.device)
    if quiet:
        return Trainer(net, method, batches, protocol, engine=chosen)
    try:
        return Trainer(
            net,
            method,
            batches,
            protocol,
            engine=chosen,
            probe=_probe(job, loaded),
            select=_select(job, loaded, held_out) if protocol.validation else None,
            best=job.folder / setup.WEIGHTS["best"],
            folder=job.folder / "state",
            interval=job.options.checkpoint_seconds,
            identity=_identity(job, loaded),
            say=job.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None


def _identity(job: Job, loaded: "Loaded") -> str:
    """Name all that a checkpoint's run depends on, so that none goes on with other code or data."""
    config = job.config
    code = checkpoint_fingerprint(TRAIN, config.method, config.dataset, config.architecture)
    return " ".join((config.run_id, code, loaded.checksum))


def _probe(job: Job, loaded: "Loaded") -> "Probe":
    """Attack the first test images; training sees nothing of it but the numbers in its log."""
    x, y = setup.test_images(job, loaded, job.options.probe_images)

    def probe(net: "torch.nn.Module", epoch: int) -> dict[str, float]:
        scores = _scores(net.eval(), x, y, eps=job.eps)
        return {name: score.accuracy for name, score in scores.items()}

    return probe


def _select(job: Job, loaded: "Loaded", held_out: "torch.Tensor") -> "Select":
    """Attack the training images that were held out: all that choosing an epoch may see."""
    from evaluation.pgd import pgd

    x, y = setup.held_out_images(job, loaded, held_out)

    def select(net: "torch.nn.Module") -> float:
        score = pgd(net.eval(), x, y, eps=job.eps, batch=EVALUATION_BATCH, steps=STEPS,
                    seed=EVALUATION_SEED)  # fmt: skip
        return score.accuracy

    return select


def _scores(
    net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor", *, eps: float
) -> dict[str, Score]:
    """Accuracy by the cheap evaluations; net in eval mode."""
    from evaluation.clean import clean
    from evaluation.pgd import fgsm, pgd

    batch = EVALUATION_BATCH
    return {
        "clean": clean(net, x, y, batch=batch),
        "fgsm": fgsm(net, x, y, eps=eps, batch=batch),
        "pgd10": pgd(net, x, y, eps=eps, batch=batch, steps=STEPS, seed=EVALUATION_SEED),
    }
