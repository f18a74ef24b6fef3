"""Count the memory and the disk that runs take, on the meta device, which computes nothing.

Torch is imported by the functions that count, so that a plan may import this without it.
"""

import functools
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from bench.runs import catalogue
from bench.runs.catalogue import pictures, published_width
from bench.runs.fingerprints import method_fingerprint
from bench.runs.protocol import PROTOCOLS, Protocol
from bench.runs.record import Config
from bench.runs.run import kept_for
from bench.runs.suite import KeepWeights
from bench.runs.typed import parse
from bench.tools.counts import kept
from bench.tools.estimate import blamed, method, network, refused

if TYPE_CHECKING:
    from torch import Tensor

    from bench.trainer import Trainer

USABLE = 0.9  # of a GPU's memory: the rest is CUDA's, and for what libraries need for themselves


class Lack(NamedTuple):
    """Runs of one data set and architecture that need more than the memory of a GPU."""

    dataset: str
    architecture: str
    methods: list[str]
    bytes: int  # that the least of them needs, or more


def gpu_bytes(run: Config) -> int:
    """Count the device memory of a run: what training keeps, and what an update keeps at its peak.

    Evaluations take no more than there is (``evaluation.parts``), and pictures are on the device
    only where they leave room. bf16 is counted as fp32.
    """
    text = json.dumps(run.with_seed(0).as_dict(), sort_keys=True)
    return _gpu_bytes(text, _code(run.method))


def pass_bytes(run: Config) -> int:
    """Count what a gradient of one training batch keeps at its peak, without the weights."""
    return int(run.protocol["batch"]) * _bytes_of_one(run.dataset, run.architecture, run.width)


def passes(run: Config) -> int:
    """Count the passes of a batch that an update keeps at once: 1 unless a loss has several."""
    return _passes(run.method, json.dumps(run.settings, sort_keys=True), _code(run.method))


def weights_bytes(runs: Iterable[Config], keep: KeepWeights = "full") -> int:
    """Count the disk that the trained weights of runs take, chosen and averaged ones included."""
    count = sum(
        _state_bytes(run.dataset, run.architecture, run.width) * _files(run) for run in runs
    )
    return count if keep == "full" else count // 2


def lacking(runs: Iterable[Config], gigabytes: float) -> list[Lack]:
    """List the runs that do not fit a GPU, by data set and architecture."""
    room = USABLE * 1e9 * gigabytes
    found: dict[tuple[str, str], dict[str, int]] = {}
    distinct = {run.with_seed(0).run_id: run for run in runs}
    for run in distinct.values():
        kept, cost = pass_bytes(run), method(run).cost
        # no method keeps less than a pass, or more than it makes; counting more takes a while
        decided = kept > room or (cost.forward + cost.backward) * kept <= room
        if refused(run):
            continue
        if (needed := kept if decided else gpu_bytes(run)) > room:
            found.setdefault((run.dataset, run.architecture), {})[run.method] = needed
    return [Lack(*pair, [*needs], min(needs.values())) for pair, needs in found.items()]


def format_bytes(count: int) -> str:
    """Write a number of bytes as MB or GB; a dash for 0."""
    if not count:
        return "-"
    if count < 1e9:
        return f"{count / 1e6:.0f} MB" if count >= 1e6 else "< 1 MB"
    return f"{count / 1e9:.1f} GB"


def _files(run: Config) -> int:
    protocol = Protocol(**run.protocol)
    averages = protocol.ema > 0 or catalogue.declares(run.method, "averages")
    return 1 + protocol.selects + averages + len(kept_for(run))  # these are its source's


@kept
def _gpu_bytes(config: str, code: str) -> int:
    run: Config = parse(Config, config, "run")
    if method(run).twice:  # a gradient of a gradient keeps more of some networks than of others
        return _update(run)[1]
    stays = sum(tensor.nbytes for tensor in _kept(_trainer(run)))
    return stays + passes(run) * pass_bytes(run)


@functools.cache
def _code(method: str) -> str:
    return method_fingerprint(method)


@kept
def _state_bytes(dataset: str, architecture: str, width: int) -> int:
    state = network(dataset, architecture, width).state_dict()
    return sum(tensor.nbytes for tensor in state.values())


@kept
def _bytes_of_one(dataset: str, architecture: str, width: int) -> int:
    import torch

    from bench.data import info
    from evaluation.parts import bytes_of_one

    x = torch.empty(1, *info(dataset).shape, device="meta")
    return bytes_of_one(network(dataset, architecture, width).train(), x)


@kept
def _passes(method: str, settings: str, code: str) -> int:
    """Count on one pair of data set and network: an update takes seconds to count on large ones."""
    architecture = "preact_resnet18"
    run = Config(
        dataset="cifar10", architecture=architecture, width=published_width(architecture),
        method=method, settings=json.loads(settings), eps="8/255", seed=0,
        protocol=PROTOCOLS["sora-paper"].as_dict(),
    )  # fmt: skip
    before, peak = _update(run)
    return round((peak - before) / pass_bytes(run))


def _update(run: Config) -> tuple[int, int]:
    """Take an update; return the bytes that are taken before it and at its peak."""
    from bench.meter import Memory

    with blamed(run.method):
        trainer = _trainer(run)
        trainer.optimizer.step = lambda lr, momentum: None  # type: ignore[method-assign]
        with Memory(_kept(trainer)) as memory:
            before = memory.bytes
            trainer.advance(1)
        trainer.net.zero_grad()
    return before, memory.peak


def _trainer(run: Config) -> "Trainer":
    """Make the trainer of a run on the meta device."""
    import torch

    from bench.batches import Batches
    from bench.data import info
    from bench.traces import made_up_way
    from bench.trainer import Trainer

    known, protocol, meta = info(run.dataset), Protocol(**run.protocol), torch.device("meta")
    images, *shape = pictures(run.dataset)
    count = min(run.train_images or images, images)
    x = torch.empty(count, *shape, dtype=torch.uint8, device=meta)
    shapes = torch.full((count, 2), shape[-1]) if known.augment.resized else None
    batches = Batches(
        x, torch.zeros(count, dtype=torch.int64), augment=known.augment, batch=protocol.batch,
        seed=0, classes=known.classes, device=meta, size=known.shape[1:], shapes=shapes,
        resident=True,
    )  # fmt: skip
    net = network(run.dataset, run.architecture, run.width)
    way = made_up_way(len(kept_for(run)), net)
    return Trainer(net, method(run), batches, protocol, way=way)


def _kept(trainer: "Trainer") -> "list[Tensor]":
    kept = [*trainer.net.state_dict().values(), *trainer.state.values()]
    kept += trainer.average.tensors.values() if trainer.average else []
    return [*kept, *trainer.optimizer.tensors.values()]
