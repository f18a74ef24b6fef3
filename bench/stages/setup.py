"""What stages prepare in the same way: data, network, method, trained weights, test images."""

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from bench.runs.record import TRAIN, WEIGHTS, Data, Record, Training, Weights
from bench.stages.faults import MethodError
from bench.stages.job import Job, Refused, Skipped

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


def data(job: Job) -> "tuple[Loaded, Data]":
    """Load the run's data set, and describe it for the record."""
    from bench.data import load

    found = load(job.config.dataset, job.data_dir)
    count = len(found.images.train_y) - job.config.protocol.get("validation", 0)
    return found, Data(
        checksum=found.checksum,
        official=found.official,
        train_images=min(job.config.train_images or count, count),
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
        return load(job.config.method)(eps=job.eps, **job.config.settings)
    except Exception as error:
        raise MethodError from error


def trained(job: Job) -> Trained:
    """Load the data set and the trained network.

    Raises:
        Skipped: training is not done.
        Refused: the best epoch is asked for, and the protocol chooses none.
        ValueError: a file is missing or damaged; the message says what to do.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    training = upstream(job)
    if training.status != "done":
        raise Skipped(f"training {training.status}: {training.reason}")
    path = job.folder / WEIGHTS[job.options.weights]
    if job.options.weights == "best" and not path.is_file():
        name = job.config.protocol["name"]
        raise Refused(f"protocol {name} holds no validation images out, so no epoch was chosen")
    loaded, seen = data(job)
    net = exact(network(job, loaded))
    try:
        content = path.read_bytes()
        net.load_state_dict(load(content))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as this run's weights ({str(error).splitlines()[0]}); remove "
            f"{job.folder} and train the run again"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    assert training.training, "a training that is done has numbers"
    if not is_tied(training.training, job.options.weights, digest):
        raise ValueError(
            f"{path} holds other weights than {TRAIN}.json names (SHA-256 {digest[:12]}); put the "
            f"trained ones back, or remove {job.folder} and train the run again"
        )
    # without weight gradients FAB takes a quarter less time, with the same output
    net.requires_grad_(requires_grad=False)
    return Trained(loaded, seen, net, digest)


def is_tied(training: Training, epoch: Weights, digest: str) -> bool:
    """Tell whether training left these weights, or their copy in half precision.

    Records from before weights were tied to them name none, and any will do.
    """
    known = training.weights.get(epoch)
    return known is None or digest in known.values()


def upstream(job: Job) -> Record:
    """Read the record of the run's training.

    Raises:
        ValueError: the record is missing or invalid.
    """
    path = job.folder / f"{TRAIN}.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing; train the run first")
    return Record.read(path)


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


def held_out_images(
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
