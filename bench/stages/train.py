"""Train one run: python -m bench train --config run.yaml --out DIR

It writes DIR/model.safetensors, then DIR/train.json with the curves and the accuracies on clean
images and under FGSM and PGD-10. After a kill it goes on from the checkpoint in DIR/state/.
"""

from typing import TYPE_CHECKING, NamedTuple

from bench import checkpoint
from bench.runs import catalogue
from bench.runs.fingerprints import checkpoint_fingerprint
from bench.runs.record import TRAIN, WEIGHTS, Best, Data, Engine, Score, Training, Weights
from bench.signals import held
from bench.stages import setup
from bench.stages.faults import MethodError
from bench.stages.job import Job, Refused
from bench.stages.machine import device_name

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.trainer import Outcome, Probe, Select, Trainer

STEPS = 10  # of PGD
EVALUATION_BATCH = 512  # images; verdicts do not depend on it
EVALUATION_SEED = 0  # of PGD's random start, the same for every run


class Start(NamedTuple):
    """What training starts from, or goes on from."""

    loaded: "Loaded"
    data: Data
    trainer: "Trainer"


def prepare(job: Job) -> Start:
    """Load the data set, make network and method, and resume from the newest checkpoint."""
    loaded, data = setup.data(job)
    trainer = make_trainer(job, loaded)
    trainer.resume()
    return Start(loaded, data, trainer)


def work(job: Job, start: Start) -> tuple[Data, Training]:
    """Train the network, write its weights and evaluate it."""
    from bench.models import parameters
    from evaluation.clean import answers
    from evaluation.overfitting import judge

    loaded, data, trainer = start
    with held() as asked:  # a cluster grants a job half a minute between SIGTERM and SIGKILL
        outcome = trainer.fit(asked)
    net = setup.exact(trainer.net)
    checkpoint.keep_weights(job.folder / WEIGHTS["last"], net)
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
        answers=answers(net, x, batch=EVALUATION_BATCH),
        verdict=judge(
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
        segments=outcome.segments,
        weights=_weights(job, outcome),
    )
    checkpoint.clear(job.folder / "state")
    return data, training


def _best(
    job: Job, outcome: "Outcome", net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor"
) -> Best | None:
    """Load the weights of the epoch that is best on validation images into net and evaluate it."""
    from safetensors.torch import load

    if outcome.best is None:
        return None
    validation = outcome.curves[outcome.best].validation
    assert validation is not None, "a best epoch without a validation score"
    net.load_state_dict(load((job.folder / WEIGHTS["best"]).read_bytes()))
    scores = _scores(net, x, y, eps=job.eps)
    return Best(epoch=outcome.best, validation=validation, **scores)


def _weights(job: Job, outcome: "Outcome") -> dict[Weights, dict[str, str]]:
    """Compute the digests of the files of weights that the run has left."""
    epochs: list[Weights] = ["last"] if outcome.best is None else ["last", "best"]
    return {epoch: checkpoint.digests(job.folder / WEIGHTS[epoch]) for epoch in epochs}


def make_trainer(
    job: Job, loaded: "Loaded", *, quiet: bool = False, engine: Engine | None = None
) -> "Trainer":
    """Make the trainer of a run: its network, method and batches.

    Args:
        quiet: True for a trainer that only takes steps, without probe and checkpoints.
        engine: None for the one that the job asks for.

    Raises:
        Refused: the method cannot train on these data.
        ValueError: the engine cannot run this method or device.
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
            best=job.folder / WEIGHTS["best"],
            folder=job.folder / "state",
            interval=job.options.checkpoint_seconds,
            identity=_identity(job, loaded),
            device_name=device_name(job.device),
            say=job.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    except Exception as error:  # what the method keeps is made here
        raise MethodError from error


def _identity(job: Job, loaded: "Loaded") -> str:
    """Name the configuration, code and data of a checkpoint, which goes on only with the same."""
    config = job.config
    code = checkpoint_fingerprint(TRAIN, config.method, config.dataset, config.architecture)
    probe = str(job.options.probe_images)  # the curves are of these
    return " ".join((config.run_id, code, loaded.checksum, probe))


def _probe(job: Job, loaded: "Loaded") -> "Probe":
    """Make the probe, which attacks the first test images and gives training numbers to log."""
    x, y = setup.test_images(job, loaded, job.options.probe_images)

    def probe(net: "torch.nn.Module", epoch: int) -> dict[str, float]:
        scores = _scores(net.eval(), x, y, eps=job.eps)
        return {name: score.accuracy for name, score in scores.items()}

    return probe


def _select(job: Job, loaded: "Loaded", held_out: "torch.Tensor") -> "Select":
    """Make the function that scores an epoch, by PGD-10 on the training images held out."""
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
    """Measure accuracy on clean images and under FGSM and PGD-10; net is in eval mode."""
    from evaluation.clean import clean
    from evaluation.pgd import fgsm, pgd

    batch = EVALUATION_BATCH
    return {
        "clean": clean(net, x, y, batch=batch),
        "fgsm": fgsm(net, x, y, eps=eps, batch=batch),
        "pgd10": pgd(net, x, y, eps=eps, batch=batch, steps=STEPS, seed=EVALUATION_SEED),
    }
