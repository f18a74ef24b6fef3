"""A snapshot of a run in training: all that a checkpoint holds of it, taken and put back."""

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.checkpoint import Checkpoint
from bench.runs.record import Epoch, Segment
from bench.selection import Chosen

if TYPE_CHECKING:
    from bench.trainer import Trainer


def take(trainer: "Trainer", epoch: int, batch: int) -> Checkpoint:
    """Copy the state of training before a batch of an epoch, both counted from 0."""
    tensors = {f"net.{k}": v for k, v in trainer.net.state_dict().items()}
    tensors |= {f"state.{k}": v for k, v in trainer.state.items()}
    tensors |= {f"optimizer.{k}": v for k, v in trainer.optimizer.tensors.items()}
    if trainer.average is not None:
        tensors |= {f"average.{k}": v for k, v in trainer.average.tensors.items()}
    tensors |= {f"traces.{k}": v for k, v in trainer.traces.tensors.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if trainer.device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(trainer.device)
    tensors["log"] = trainer.log.table
    facts: dict[str, Any] = {
        "identity": trainer.identity,
        "epoch": epoch,
        "batch": batch,
        "row": trainer.log.row,
        "update": trainer.update,
        "resumed": trainer.outcome.resumed,
        "peak_bytes": trainer.peak.bytes,
        "seconds": {name: clock.seconds for name, clock in trainer.clocks.items()},
        "best": trainer.selection and trainer.selection.best and vars(trainer.selection.best),
        "segments": [vars(past) for past in trainer.outcome.segments],
        "curves": [vars(past) for past in trainer.outcome.curves],
    }
    return Checkpoint(tensors, facts)


def restore(trainer: "Trainer", found: Checkpoint) -> None:
    """Put a snapshot back into a trainer of the same run, which then goes on from there."""
    tensors, facts = found
    trainer.net.load_state_dict(_below("net.", tensors))
    for name, tensor in _below("state.", tensors).items():
        trainer.state[name].copy_(tensor)
    for name, tensor in _below("optimizer.", tensors).items():
        trainer.optimizer.tensors[name].copy_(tensor)
    if trainer.average is not None:
        for name, tensor in _below("average.", tensors).items():
            trainer.average.tensors[name].copy_(tensor)
    trainer.traces.tensors = _below("traces.", tensors)
    torch.set_rng_state(tensors["random.cpu"])
    if trainer.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], trainer.device)
    trainer.log.table.copy_(tensors["log"])
    trainer.count(facts["update"], facts["row"])
    trainer.first_epoch, trainer.first_batch = facts["epoch"], facts["batch"]
    trainer.peak.bytes = facts["peak_bytes"]
    for name, seconds in facts["seconds"].items():
        trainer.clocks[name].credit(seconds)
    trainer.outcome.curves = [Epoch(**past) for past in facts["curves"]]
    if trainer.selection is not None and facts["best"] is not None:
        trainer.selection.best = Chosen(**facts["best"])
    trainer.outcome.resumed = facts["resumed"] + 1
    past = [Segment(**segment) for segment in facts["segments"]]
    now = dataclasses.replace(trainer.segment, update=trainer.update)
    trainer.outcome.segments = [*past, now]


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
