"""Train one run: python -m bench train --config run.yaml --out DIR

It writes DIR/model.safetensors, then DIR/train.json with the curves and the accuracies on clean
images and under FGSM and PGD-10. After a kill it goes on from the checkpoint in DIR/state/.
"""

import copy
from typing import TYPE_CHECKING, NamedTuple

from bench.runs import catalogue
from bench.runs.fingerprints import checkpoint_fingerprint
from bench.runs.protocol import Rule
from bench.runs.record import (
    TRACES,
    TRAIN,
    WEIGHTS,
    Averaged,
    Best,
    Data,
    Engine,
    Kept,
    Score,
    Source,
    Training,
)
from bench.runs.run import check_kept, check_watched, kept_for
from bench.runs.stage import numbers, watched
from bench.signals import held
from bench.stages import setup
from bench.stages.faults import MethodError
from bench.stages.job import Job, Refused
from bench.stages.machine import device_name
from bench.weights import TrainedWeights, put

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.runs.protocol import Protocol
    from bench.selection import Selection
    from bench.threat import Threat
    from bench.traces import Watch
    from bench.trainer import Probe, Trainer

STEPS = 10  # of PGD; best_on_test takes twice as many
EVERY, FIRST = 200, 256  # train_pgd: updates between two choices, and images
EVALUATION_BATCH = 512  # images; in Linf, verdicts do not depend on it
EVALUATION_SEED = 0  # of PGD's random start, the same for every run


class Start(NamedTuple):
    """What training starts from, or goes on from."""

    loaded: "Loaded"
    data: Data
    trainer: "Trainer"
    source: Source | None


def prepare(job: Job) -> Start:
    """Load the data set, make network and method, and resume from the newest checkpoint."""
    check_kept(job.config, numbers(job.options.keep_at))
    check_watched(job.config, watched(job.options.watch))
    weights = setup.start_weights(job)
    loaded, data = setup.data(job)
    trainer = make_trainer(job, loaded, weights)
    trainer.resume()
    return Start(loaded, data, trainer, weights and weights.source)


def work(job: Job, start: Start) -> tuple[Data, Training]:
    """Train the network, write its weights and evaluate it."""
    from bench import checkpoint
    from bench.models import parameters
    from bench.traces import kept_weights
    from evaluation.clean import answers
    from evaluation.overfitting import judge

    loaded, data, trainer, source = start
    with held() as asked:  # a cluster grants a job half a minute between SIGTERM and SIGKILL
        outcome = trainer.fit(asked)
    net = setup.exact(trainer.net)
    checkpoint.keep_weights(job.folder / WEIGHTS["last"], net)
    traces = trainer.traces.write(job.folder / TRACES)
    x, y = setup.test_images(job, loaded, job.options.test_images)
    best, on_test = _best(job, trainer, x, y), trainer.protocol.select == "best_on_test"
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
        **scores(net, x, y, threat=job.threat),
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
        average=_average(job, trainer, x, y),
        best=None if on_test else best,
        best_on_test=best if on_test else None,
        engine=trainer.engine,
        segments=outcome.segments,
        weights=_weights(job),
        traces=traces,
        kept={
            str(update): checkpoint.digests(kept_weights(job.folder, update))
            for update in trainer.traces.keep_at
        },
        watched=_watched(job),
        source=source,
    )
    checkpoint.clear(job.folder / "state")
    return data, training


def _average(job: Job, trainer: "Trainer", x: "torch.Tensor", y: "torch.Tensor") -> Averaged | None:
    """Write the averaged weights and evaluate them; None if nothing was averaged."""
    from bench import checkpoint

    if trainer.average is None:
        return None
    net = trainer.average.network()
    checkpoint.keep_weights(job.folder / WEIGHTS["average"], net)
    return Averaged(**scores(net, x, y, threat=job.threat))


def _best(job: Job, trainer: "Trainer", x: "torch.Tensor", y: "torch.Tensor") -> Best | None:
    """Evaluate the weights that the protocol's rule chose; None if it chooses none."""
    from safetensors.torch import load

    chosen = trainer.selection and trainer.selection.best
    if not chosen:
        return None
    rule, net = trainer.protocol.select, copy.deepcopy(trainer.net)
    net.load_state_dict(load((job.folder / WEIGHTS[chosen_weights(rule)]).read_bytes()))
    return Best(
        epoch=chosen.epoch,
        validation=chosen.score,
        rule=rule,
        update=chosen.update,
        network=chosen.network,
        **scores(net, x, y, threat=job.threat),
    )


def chosen_weights(rule: Rule) -> Kept:
    """Name the weights that a rule chooses; a choice on test images has a name of its own."""
    return "best_on_test" if rule == "best_on_test" else "best"


def _weights(job: Job) -> dict[Kept, dict[str, str]]:
    """Compute the digests of the files of weights that the run has left."""
    from bench import checkpoint

    paths = {name: job.folder / file for name, file in WEIGHTS.items()}
    return {name: checkpoint.digests(path) for name, path in paths.items() if path.is_file()}


def make_trainer(
    job: Job,
    loaded: "Loaded",
    begin: TrainedWeights | None = None,
    *,
    quiet: bool = False,
    engine: Engine | None = None,
) -> "Trainer":
    """Make the trainer of a run: its network, method and batches.

    Args:
        begin: weights to begin with; None for initial ones.
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
    from bench.traces import Traces, made_up_way, way
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
        classes=known.classes,
        device=job.device,
        rows=rows,
        size=known.shape[1:],
        shapes=images.train_size,
    )
    net, method = setup.network(job, loaded), setup.method(job)
    if begin is not None:
        put(begin, net)
    chosen = choose(engine or job.options.engine, method, job.device)
    if quiet:
        made_up = made_up_way(len(kept_for(job.config)), net)
        return Trainer(net, method, batches, protocol, engine=chosen, way=made_up)
    try:
        return Trainer(
            net,
            method,
            batches,
            protocol,
            engine=chosen,
            probe=_probe(job, loaded),
            way=way(begin.way, net) if begin else None,
            traces=Traces(_watches(job, loaded), numbers(job.options.keep_at), job.folder),
            selection=_selection(job, loaded, protocol, rows, held_out),
            folder=job.folder / "state",
            interval=job.options.checkpoint_seconds,
            identity=_identity(job, loaded, begin),
            device_name=device_name(job.device),
            say=job.say,
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    except Exception as error:  # what the method keeps is made here
        raise MethodError from error


def _identity(job: Job, loaded: "Loaded", begin: TrainedWeights | None = None) -> str:
    """Name the configuration, code and data of a checkpoint, which goes on only with the same."""
    config, stages = job.config, [TRAIN, *(entry.name for entry in watched(job.options.watch))]
    code = [
        checkpoint_fingerprint(name, config.method, config.dataset, config.architecture)
        for name in stages
    ]
    probe = str(job.options.probe_images)  # the curves are of these
    kept, source = job.options.keep_at or "", [begin.digest] if begin else []
    return " ".join((config.run_id, *code, loaded.checksum, probe, kept, *_watched(job), *source))


def _watched(job: Job) -> list[str]:
    return [entry.spelt for entry in watched(job.options.watch)]


def _watches(job: Job, loaded: "Loaded") -> "list[Watch]":
    """Make what measures the network on the probe's images while it trains."""
    from bench.traces import Watch
    from evaluation.watch import Images, watches

    x, y = setup.test_images(job, loaded, job.options.probe_images)
    images = Images(x, y, job.threat, loaded.info.classes)
    return [Watch(*one) for one in watches(_watched(job), images)]


def _probe(job: Job, loaded: "Loaded") -> "Probe":
    """Make the probe, which attacks the first test images and gives training numbers to log."""
    x, y = setup.test_images(job, loaded, job.options.probe_images)

    def probe(net: "torch.nn.Module", epoch: int) -> dict[str, float]:
        found = scores(net.eval(), x, y, threat=job.threat)
        return {name: score.accuracy for name, score in found.items()}

    return probe


def _selection(
    job: Job, loaded: "Loaded", protocol: "Protocol", rows: "torch.Tensor", held_out: "torch.Tensor"
) -> "Selection | None":
    """Make the rule by which the protocol chooses weights; None if it chooses none."""
    from bench.selection import Selection
    from evaluation.pgd import pgd

    if not protocol.selects:
        return None
    every, steps = None, STEPS
    if protocol.select == "best_on_test":
        steps = 2 * STEPS
        x, y = setup.test_images(job, loaded, job.options.test_images)
    elif protocol.select == "train_pgd":
        every = EVERY
        x, y = setup.plain_images(job, loaded, rows[:FIRST])
    else:
        x, y = setup.plain_images(job, loaded, held_out)

    def score(net: "torch.nn.Module") -> float:
        found = pgd(net.eval(), x, y, threat=job.threat, batch=EVALUATION_BATCH, steps=steps,
                    seed=EVALUATION_SEED)  # fmt: skip
        return found.accuracy

    path = job.folder / WEIGHTS[chosen_weights(protocol.select)]
    return Selection(score, path, every=every)


def scores(
    net: "torch.nn.Module", x: "torch.Tensor", y: "torch.Tensor", *, threat: "Threat"
) -> dict[str, Score]:
    """Measure accuracy on clean images and under FGSM and PGD-10; net is in eval mode."""
    from evaluation.clean import clean
    from evaluation.pgd import fgsm, pgd

    batch = EVALUATION_BATCH
    return {
        "clean": clean(net, x, y, batch=batch),
        "fgsm": fgsm(net, x, y, threat=threat, batch=batch),
        "pgd10": pgd(net, x, y, threat=threat, batch=batch, steps=STEPS, seed=EVALUATION_SEED),
    }
