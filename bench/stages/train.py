"""Train one run: python -m bench train --config run.yaml --out DIR

Writes DIR/model.safetensors, then DIR/train.json with the curves and the cheap evaluations, for
which a process of their own would cost more than they do. Goes on from DIR/state/ after a kill.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench import checkpoint
from bench.runs import catalogue, fingerprints
from bench.runs.record import TRAIN, Best, Engine, Record, Score, Training
from bench.stages import job
from bench.stages.job import Job, Refused

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.trainer import Outcome, Probe, Select, Trainer

STEPS = 10  # of PGD
EVALUATION_BATCH = 512  # images; verdicts do not depend on it
EVALUATION_SEED = 0  # of PGD's random start, the same for every run


def prepare(this: Job) -> Any:
    """Load data, network, method and the newest checkpoint."""
    loaded, data = job.data(this)
    trainer = make_trainer(this, loaded)
    trainer.resume()
    return loaded, data, trainer


def work(this: Job, ready: Any) -> dict[str, Any]:
    """Train, evaluate, keep the weights."""
    from bench.models import parameters
    from evaluation.overfitting import collapse

    loaded, data, trainer = ready
    outcome = trainer.fit()
    net = job.exact(trainer.net)
    checkpoint.keep_weights(this.folder / "model.safetensors", net)
    x, y = job.test_images(this, loaded, this.args.test_images)
    training = Training(
        epochs=outcome.epochs,
        updates=outcome.updates,
        parameters=parameters(net),
        train_seconds=outcome.train_seconds,
        data_seconds=outcome.data_seconds,
        probe_seconds=outcome.probe_seconds,
        peak_bytes=outcome.peak_bytes,
        state_bytes=outcome.state_bytes,
        probe_images=min(this.args.probe_images, len(loaded.images.test_y)),
        resumed=outcome.resumed,
        **_scores(net, x, y, eps=this.eps),
        verdict=collapse(
            [epoch.probe for epoch in outcome.curves],
            classes=loaded.info.classes,
            images=min(this.args.probe_images, len(loaded.images.test_y)),
        ),
        method_source=(catalogue.ROOT / f"methods/{this.config.method}.py").read_text(
            encoding="utf-8"
        ),
        curves=outcome.curves,
        best=_best(this, outcome, net, x, y),
        engine=trainer.engine,
    )
    checkpoint.clear(this.folder / "state")
    return {"data": data, "training": training}


def _best(
    this: Job, outcome: "Outcome", net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor"
) -> Best | None:
    """Evaluate the epoch that was best on validation images; leaves its weights in net."""
    from safetensors.torch import load

    if outcome.best is None:
        return None
    validation = outcome.curves[outcome.best].validation
    assert validation is not None, "a best epoch without a validation score"
    net.load_state_dict(load((this.folder / checkpoint.BEST).read_bytes()))
    scores = _scores(net, x, y, eps=this.eps)
    return Best(epoch=outcome.best, validation=validation, **scores)


def make_trainer(
    this: Job, loaded: "Loaded", *, quiet: bool = False, engine: Engine | None = None
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
    protocol = Protocol(**this.config.protocol)
    allowed, held_out = split(len(images.train_y), protocol.validation)
    rows = allowed[subset(len(allowed), this.config.train_images)]
    batches = Batches(
        images.train_x,
        images.train_y,
        augment=known.augment,
        batch=protocol.batch,
        seed=this.config.seed,
        device=this.device,
        rows=rows,
        size=known.shape[1:],
        shapes=images.train_size,
    )
    net, method = job.network(this, loaded), job.method(this)
    chosen = choose(engine or this.args.engine, method, this.device)
    if quiet:
        return Trainer(net, method, batches, protocol, engine=chosen)
    try:
        return Trainer(
            net,
            method,
            batches,
            protocol,
            engine=chosen,
            probe=_probe(this, loaded),
            select=_select(this, loaded, held_out) if protocol.validation else None,
            best=this.folder / checkpoint.BEST,
            folder=this.folder / "state",
            interval=this.args.checkpoint_seconds,
            identity=_identity(this, loaded),
            say=this.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None


def _identity(this: Job, loaded: "Loaded") -> str:
    """Name all that a checkpoint's run depends on, so that none goes on with other code or data."""
    config = this.config
    method = fingerprints.method_fingerprint(config.method)
    bench = fingerprints.bench_fingerprint(TRAIN, config.dataset, config.architecture)
    return " ".join((config.run_id, method, bench, loaded.checksum))


def _probe(this: Job, loaded: "Loaded") -> "Probe":
    """Attack the first test images; training sees nothing of it but the numbers in its log."""
    x, y = job.test_images(this, loaded, this.args.probe_images)

    def probe(net: "torch.nn.Module", epoch: int) -> dict[str, float]:
        scores = _scores(net.eval(), x, y, eps=this.eps)
        return {name: score.accuracy for name, score in scores.items()}

    return probe


def _select(this: Job, loaded: "Loaded", held_out: "torch.Tensor") -> "Select":
    """Attack the training images that were held out: all that choosing an epoch may see."""
    from evaluation.pgd import pgd

    x, y = job.held_out_images(this, loaded, held_out)

    def select(net: "torch.nn.Module") -> float:
        score = pgd(net.eval(), x, y, eps=this.eps, batch=EVALUATION_BATCH, steps=STEPS,
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


def main(words: Sequence[str] | None = None) -> None:
    """Train one run."""
    parser = job.arguments(TRAIN, "Train one run and evaluate it cheaply.")
    parser.add_argument("--test-images", type=job.positive, help="first ones to evaluate; all")
    parser.add_argument(
        "--probe-images", type=job.positive, default=512, help="attacked every epoch"
    )
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, help="between two; 30")
    job.add_engine(parser)
    args = parser.parse_args(words)

    def fits(record: Record) -> bool:
        made = record.training
        given = job.count(args.test_images, record), job.count(args.probe_images, record)
        same = made is not None and (made.clean.n, made.probe_images) == given
        return same and args.engine in ("auto", made and made.engine)

    job.execute(TRAIN, args, prepare, work, fits=fits)
