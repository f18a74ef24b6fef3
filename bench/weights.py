"""Weights that trainings left: checked by their sums, put into networks, and halved.

Torch is imported where it is used, because a job chooses its GPU before.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

from bench.runs import catalogue, dropped
from bench.runs.files import write_bytes
from bench.runs.find import run_folder
from bench.runs.fingerprints import bench_fingerprint, equivalent
from bench.runs.record import TRAIN, WEIGHTS, Config, Record, Source, Training, Weights

if TYPE_CHECKING:
    import torch

    from bench.models import Net

LACKING = {  # why a protocol leaves no such weights
    "best": "holds no validation images out, so no epoch was chosen",
    "average": "averages no weights",
}


class Untrained(ValueError):
    """A run has no record of training."""


class NotDone(ValueError):
    """The training of a run has failed; the text says why."""


class NoneLeft(ValueError):
    """A training left no such weights, or they were dropped; the text says why."""


class TrainedWeights(NamedTuple):
    """The weights that a training left, checked by their sum."""

    record: Record  # of the training
    path: Path
    tensors: "dict[str, torch.Tensor]"
    digest: str  # SHA-256 of the file
    way: tuple[Path, ...] = ()  # the files of those that it kept, for a run that reads them

    @property
    def training(self) -> Training:
        """What the training found."""
        assert self.record.training, "a training that is done has numbers"
        return self.record.training

    @property
    def source(self) -> Source:
        """What the record of a stage of another run says of them."""
        training = self.training
        return Source(
            run=self.record.run,
            digest=self.digest,
            epochs=training.epochs,
            updates=training.updates,
            train_seconds=training.train_seconds,
        )


def read(
    folder: Path, name: Weights, config: Config | None = None, at: int | None = None
) -> TrainedWeights:
    """Read the weights that the training of a run left, and check them by their sum.

    Args:
        name: which of those that it ended with.
        config: that the run has to have; None: any.
        at: the update whose kept weights are meant instead.

    Raises:
        Untrained, NotDone, NoneLeft: there are none.
        ValueError: a file is missing, damaged or another run's; the message says what to do.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from bench.traces import kept_weights

    trained = folder / f"{TRAIN}.json"
    if not trained.is_file():
        raise Untrained(f"{trained} is missing; train the run first")
    record = Record.read(trained)
    if config is not None and record.config != config:
        raise ValueError(f"{folder} holds run {record.run}, not {config.run_id}")
    if record.status != "done":
        raise NotDone(f"training {record.status}: {record.reason}")
    assert record.training, "a training that is done has numbers"
    training, path = record.training, folder / WEIGHTS[name]
    if at is not None:
        path = kept_weights(folder, at)
        if str(at) not in training.kept:
            raise ValueError(
                f"the training of {folder} kept no weights of update {at}, only of "
                f"{', '.join(training.kept) or 'none'}; train it again with --keep-at {at}"
            )
    elif name in LACKING and getattr(training, name) is None:
        raise NoneLeft(f"protocol {record.config.protocol['name']} {LACKING[name]}")
    if not path.is_file():
        if why := dropped.reason(folder):
            raise NoneLeft(
                f"{path.name} was dropped: {why}; to have them, train the run again in "
                f"another folder: python -m bench reproduce {folder} --into DIR"
            )
        raise ValueError(
            f"{path} is missing (published records come without weights); put it back, or train "
            f"the run again in another folder: python -m bench reproduce {folder} --into DIR"
        )
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None
    digest = hashlib.sha256(content).hexdigest()
    if not training.left(name, digest, at):
        raise ValueError(
            f"{path} holds other weights than {TRAIN}.json names (SHA-256 {digest[:12]}); put the "
            f"trained ones back, or remove {folder} and train the run again"
        )
    return TrainedWeights(record, path, tensors, digest)


def put(found: TrainedWeights, net: "torch.nn.Module") -> None:
    """Write trained weights, with the statistics of BatchNorm, into a network in place.

    Raises:
        ValueError: they are of another network.
    """
    try:
        net.load_state_dict(found.tensors)
    except RuntimeError as error:
        raise _unreadable(found.path, error) from None


def halve(folder: Path, training: Training, say: Callable[[str], None]) -> None:
    """Replace a run's files of weights by their copies in half precision, which its record names.

    Weights beyond what half precision can hold stay as they are.
    """
    from safetensors.torch import load

    from bench.checkpoint import half

    for path in (folder / WEIGHTS[name] for name in training.weights):
        copy = half(path.read_bytes())
        if all(tensor.isfinite().all() for tensor in load(copy).values()):
            write_bytes(path, copy)
        else:
            say(f"{path.name} stays in full precision: half cannot hold its numbers")


def network(dataset: str, architecture: str, width: int) -> "Net":
    """Make a network in fp32, with weights of no seed.

    Raises:
        ValueError: its architecture or data set has no file here.
    """
    for kind, name in (("bench/models", architecture), ("bench/data", dataset)):
        if name not in catalogue.names(kind):
            raise ValueError(catalogue.unknown(kind, name, catalogue.names(kind)))
    from bench.data import info
    from bench.models import build

    known = info(dataset)
    return build(
        architecture, shape=known.shape, classes=known.classes, width=width,
        mean=known.mean, std=known.std,
    )  # fmt: skip


def network_of(config: Config) -> "Net":
    """Make the network of a run likewise."""
    return network(config.dataset, config.architecture, config.width)


def load(run: str | Path, weights: Weights, results: Path) -> "Net":
    """Make the trained network of a run; `bench.load` says how."""
    from bench.models import allow

    if weights not in get_args(Weights):
        raise ValueError(catalogue.unknown("weights", weights, get_args(Weights)))
    found = read(run_folder(run, results), weights)
    net = network_of(found.record.config)
    put(found, net)
    if older := _older_code(found.record):
        warnings.warn(older, stacklevel=3)
    allow("fp32")  # as all evaluations have it
    return net.eval().requires_grad_(requires_grad=False)


def _older_code(record: Record) -> str | None:
    """Say that a network was trained by other code than is here; None if it was not."""
    config, origin = record.config, record.origin
    assert origin, "a training that is done has an origin"
    now = bench_fingerprint(TRAIN, config.dataset, config.architecture)
    if equivalent(origin.bench_code, now):
        return None
    return (
        f"run {record.run} was trained by other code than is here (commit {origin.commit}): "
        "compare the network's clean accuracy with its record before you trust it"
    )


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as this run's weights ({str(error).splitlines()[0]}); remove "
        f"{path.parent} and train the run again"
    )
