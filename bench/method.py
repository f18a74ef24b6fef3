"""The contract between a training method and the bench that trains with it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from bench.threat import Norm, Threat
from bench.view import View

Loss = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> () mean over B
# weights at K updates of a training, the first first: for each of net.parameters(), (K, *its shape)
Way = Callable[[], Iterable[Tensor]]


class Batch(NamedTuple):
    """What a step sees of the data."""

    x: Tensor  # (B, C, H, W) augmented images, float32 in [0, 1]
    y: Tensor  # (B,) labels, int64; (B, classes) probabilities where the protocol smooths them
    rows: Tensor  # (B,) positions in the training set
    view: View  # what took x from its canvas: view(canvas) and view.inverse(patch, canvas)
    t: Tensor  # () share of the training done, in [0, 1)


class Cost(NamedTuple):
    """Images through the network per training image and call of step."""

    forward: int
    backward: int


class Run(NamedTuple):
    """What a method may know of the run when it makes its state."""

    device: torch.device
    batch: tuple[int, ...]  # (B, C, H, W) of a full batch
    canvas: tuple[int, ...] | None  # (N, C, S, S): the padded training set; None without one
    epochs: int  # passes over the data
    images: int  # N, in the training set; a batch's ``rows`` are below it, with and without canvas
    classes: int  # a label is below it
    features: int | None = None  # that the network's last linear layer reads; None: no such layer
    way: Way | None = None  # of the source's training, for a method that follows it; None: no such


class State(dict[str, Tensor]):
    """Named tensors that live as long as the run; 0-dim ones are logged as curves.

    A graph captured from a step holds their addresses, so they are only ever written in place.
    """

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no state {name!r}; init made {sorted(self)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(f"state is written in place only: state.{name}.copy_(...)")


class Descend(Protocol):
    """The only way to change the weights."""

    def __call__(
        self,
        loss: Loss,
        at: Tensor,
        g: Tensor | None = None,
        edit: Callable[[], None] | None = None,
    ) -> Tensor:
        """Take one optimiser step on loss(at); return d loss / d at.

        Args:
            loss: mean over the batch, as a function of the images.
            at: (B, C, H, W), the images to train on.
            g: (B, C, H, W), the first gradient of the method's own attack; traces PertAlign.
            edit: called between the backward pass and the step, to change weight gradients.
        """
        ...

    def ahead(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return where the optimiser would move each weight by these gradients, over its rate.

        Nothing moves, and nothing is remembered: of SGD it is -(mu v + g + decay w).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """The fields are the hyperparameters; step is the algorithm box."""

    eps: float = 8 / 255  # radius of the threat on the [0, 1] scale; set by the run
    norm: Norm = "Linf"  # of the threat; set by the run
    norms: ClassVar[tuple[Norm, ...]] = ("Linf",)  # those that step knows
    graph: ClassVar[bool] = True  # step may be captured as one CUDA graph
    twice: ClassVar[bool] = False  # step differentiates through an input gradient of net
    moves: ClassVar[bool] = False  # step leaves weights moved that descend did not move
    smooths: ClassVar[bool] = False  # step smooths labels, so that no protocol may
    # state.tau (), written in step before descend or in its loss, is the share of the past that the
    # average of the weights keeps at each update, in place of the protocol's
    averages: ClassVar[bool] = False
    tunes: ClassVar[bool] = False  # the source begins with the weights of a trained network
    follows: ClassVar[bool] = False  # init reads run.way, the weights of a source's training
    batchnorm: ClassVar[bool] = True  # trains networks that have BatchNorm
    known_to: ClassVar[float] = math.inf  # largest radius in 1/255 that its weights are known for
    presets: ClassVar[dict[str, dict[str, Any]]] = {}  # published settings, by data set
    added: ClassVar[tuple[str, ...]] = ()  # settings that came later: ids leave out their defaults

    @property
    def threat(self) -> Threat:
        """How far an attack may go, and the words for it."""
        return Threat(self.norm, self.eps)

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Images forward and backward per training image."""

    @property
    def reach(self) -> float:
        """Largest |at - x| handed to descend, in the norm and in units of eps."""
        return 1.0

    @property
    def boxed(self) -> bool:
        """Does ``at`` stay inside [0, 1]; a source that does not clip says False."""
        return True

    @property
    def replays(self) -> int:
        """Optimiser steps per batch; the epochs are divided by it."""
        return 1

    def init(self, run: Run) -> State:
        """Make the state."""
        return State()

    def on_epoch(self, net: nn.Module, state: State, epoch: int) -> None:
        """Act between epochs (0 is the first), outside the captured step."""

    @abstractmethod
    def step(self, net: nn.Module, batch: Batch, state: State, descend: Descend) -> None:
        """Attack one batch and descend on it."""
