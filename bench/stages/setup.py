"""What stages prepare in the same way: data, network, method, trained weights, test images."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.runs.record import TRAIN, Config, Data, Source, Weights
from bench.runs.run import kept_for
from bench.stages.faults import MethodError
from bench.stages.job import Job, Refused, Skipped
from bench.weights import NoneLeft, NotDone, TrainedWeights, Untrained, put, read

if TYPE_CHECKING:
    import torch

    from bench.data import Loaded
    from bench.method import Method
    from bench.models import Net


class Trained(NamedTuple):
    """A trained network and its data set."""

    loaded: "Loaded"
    data: Data
    net: "Net"  # in eval mode and fp32, weights frozen
    digest: str  # SHA-256 of the file of weights
    source: Source  # the same, and what they cost, for the record of another run's stage


def data(job: Job) -> "tuple[Loaded, Data]":
    """Load the run's data set, and describe it for the record.

    Raises:
        ValueError: it has fewer images to train on than the run asks for.
    """
    from bench.data import load

    config = job.config
    found = load(config.dataset, job.data_dir)
    count = len(found.images.train_y) - config.protocol.get("validation", 0)
    if config.train_images and config.train_images > count:
        raise ValueError(
            f"train_images asks for {config.train_images}, and {config.dataset} in {job.data_dir}, "
            f"which is not the published copy, has {count} to train on; give fewer, or null for all"
        )
    return found, Data(
        checksum=found.checksum,
        official=found.official,
        train_images=config.train_images or count,
        test_images=len(found.images.test_y),
    )


def network(job: Job, loaded: "Loaded") -> "Net":
    """Build the run's network with initial weights, which depend on the seed alone.

    Raises:
        ValueError: the precision is tf32 and the device a CPU.
    """
    import torch

    from bench.models import allow, build
    from bench.seeds import WEIGHTS, stream

    if job.config.precision == "tf32" and job.device.type == "cpu":
        raise ValueError("tf32 is a format of GPUs; use fp32 or bf16 on a CPU")
    allow(job.config.precision)
    torch.manual_seed(stream(job.config.seed, WEIGHTS))
    known = loaded.info
    net = build(
        job.config.architecture,
        shape=known.shape,
        classes=known.classes,
        width=job.config.width,
        mean=known.mean,
        std=known.std,
        precision=job.config.precision,
    )
    return net.to(job.device)


def method(job: Job) -> "Method":
    """Make the run's method with its settings, and seed the noise that its steps draw."""
    import torch

    from bench.seeds import NOISE, stream
    from methods import load

    torch.manual_seed(stream(job.config.seed, NOISE))
    try:
        kind, threat = load(job.config.method), job.threat
        return kind(norm=threat.norm, eps=threat.eps, **job.config.settings)
    except Exception as error:
        raise MethodError from error


def trained(job: Job) -> Trained:
    """Load the data set and the trained network.

    Raises:
        Skipped: training is not done.
        Refused: weights are asked for that the protocol does not make, or that were dropped.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    return _trained(job, weights(job, job.options.weights, job.stage.at))


def trained_source(job: Job, config: Config) -> Trained:
    """Load the network of another run's last epoch, and the data set, as ``trained`` does.

    The stage has to name that run among its ``reads``, so that it is trained before.

    Raises:
        Skipped: that run's training is not done.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    other = job.of(config)
    return _trained(other, source_weights(job, config))


def start_weights(job: Job) -> TrainedWeights | None:
    """Read the weights that a run begins with; None for initial ones.

    Those are the last of its source, or the first that the source kept for it.

    Raises:
        Skipped: the source's training is not done.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    from safetensors.torch import load_file

    from bench.traces import kept_weights

    if job.config.source is None:
        return None
    updates, source = kept_for(job.config), job.of(job.config.source)
    found = source_weights(job, job.config.source, kept=updates)
    way = tuple(kept_weights(source.folder, update) for update in updates)
    for update, path in zip(updates, way, strict=True):
        content = path.read_bytes() if path.is_file() else b""
        if not found.training.left("last", hashlib.sha256(content).hexdigest(), update):
            raise ValueError(
                f"this run reads {path}, which is not as {TRAIN}.json beside it says; train that "
                f"run again: {_command(source, updates)} --again"
            )
    return found._replace(path=way[0], tensors=load_file(way[0]), way=way) if way else found


def source_weights(job: Job, config: Config, *, kept: Sequence[int] = ()) -> TrainedWeights:
    """Read the weights of another run's last epoch.

    Args:
        kept: updates after which that run has to keep its weights, too.

    Raises:
        Skipped: that run's training is not done.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    other, said = job.of(config), f"{config.method} seed {config.seed} (run {config.run_id})"
    try:
        return weights(other, "last")
    except Skipped as error:
        raise Skipped(f"of {said}, which this run reads: {error}") from None
    except Untrained as error:
        command = _command(other, kept)
        raise ValueError(f"this run reads weights of {said}: {error}: {command}") from None


def _command(job: Job, kept: Sequence[int]) -> str:
    """Write the command that trains a run and keeps its weights after some updates."""
    words = ["train", "--config", json.dumps(job.config.as_dict()), "--out", str(job.folder)]
    words += ["--keep-at", ",".join(map(str, kept))] if kept else []
    return f"python -m bench {shlex.join(words)}"


def weights(job: Job, name: Weights, at: int | None = None) -> TrainedWeights:
    """Read the weights that the run's training left, and check them by their sum.

    Args:
        name: which of those that it ended with.
        at: the update whose kept weights are meant instead.

    Raises:
        Skipped: training is not done.
        Refused: weights are asked for that the protocol does not make, or that were dropped.
        Untrained: there is no record of training.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    try:
        return read(job.folder, name, job.config, at)
    except NotDone as error:
        raise Skipped(str(error)) from None
    except NoneLeft as error:
        raise Refused(str(error)) from None


def _trained(job: Job, found: TrainedWeights) -> Trained:
    loaded, seen = data(job)
    net = exact(network(job, loaded))
    put(found, net)
    # without weight gradients FAB takes a quarter less time, with the same output
    net.requires_grad_(requires_grad=False)
    return Trained(loaded, seen, net, found.digest, found.source)


def exact(net: "torch.nn.Module") -> "Net":
    """Put a trained network into eval mode and fp32, in which all its accuracies are measured.

    In bf16, rounding of the logits misleads attacks, and a network looks more robust than it is.
    """
    from bench.models import Net, allow

    allow("fp32")
    assert isinstance(net, Net), "a network without its shell"
    net.precision = "fp32"
    net.eval()
    return net


def test_images(job: Job, loaded: "Loaded", n: int | None) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the first n test images in [0, 1] and their labels, on the device; all if None."""
    x, y = loaded.images.test_x[:n], loaded.images.test_y[:n]
    return x.to(job.device).float() / 255, y.to(job.device)


def plain_images(
    job: Job, loaded: "Loaded", rows: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return some training images without augmentation, in [0, 1], and their labels, on the device.

    Of a picture that is larger than the network's input, this is the middle.
    """
    x, y = loaded.images.train_x[rows], loaded.images.train_y[rows]
    (_, height, width), side = loaded.info.shape, x.shape[3]
    top, left = (side - height) // 2, (side - width) // 2
    x = x[:, :, top : top + height, left : left + width]
    return x.to(job.device).float() / 255, y.to(job.device)
