"""Optimisers whose rates are tensors, so that a captured step reads them anew at every replay."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from bench.runs.protocol import Protocol


class Optimizer(Interface):
    """What the trainer asks of an optimiser."""

    tensors: dict[str, Tensor]  # what it remembers, by name; written in place

    def step(self, lr: Tensor, momentum: Tensor) -> None:
        """Move the weights by their gradients; rates are () on the device."""
        ...

    def ahead(self, gradients: Sequence[Tensor], momentum: Tensor) -> list[Tensor]:
        """Return where ``step`` would move each weight by these gradients, over the rate.

        Raises:
            ValueError: the optimiser has no such direction.
        """
        ...


class SGD:
    """torch.optim.SGD to the bit, with momentum as a tensor, which torch's own takes as a float.

    The velocity is decayed first; torch's fused kernel then adds gradients and moves weights.
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, weight_decay: float) -> None:
        self._weights: list[Tensor] = list(weights)
        self._decay = weight_decay
        self._velocity = [torch.zeros_like(weight) for weight in self._weights]
        self.tensors = {f"{k}.velocity": v for k, v in enumerate(self._velocity)}

    def step(self, lr: Tensor, momentum: Tensor) -> None:
        """Move the weights by their gradients."""
        with torch.no_grad():
            torch._foreach_mul_(self._velocity, momentum)
            torch._fused_sgd_(
                self._weights, _gradients(self._weights), self._velocity,
                weight_decay=self._decay, momentum=1.0, lr=lr, dampening=0.0, nesterov=False,
                maximize=False, is_first_step=False,
            )  # fmt: skip

    def ahead(self, gradients: Sequence[Tensor], momentum: Tensor) -> list[Tensor]:
        """Return minus what the velocity would be."""
        return [
            -(momentum * v + g + self._decay * w.detach())
            for v, g, w in zip(self._velocity, gradients, self._weights, strict=True)
        ]


class Adam:
    """torch.optim's Adam or AdamW, by the kernel, with their usual betas; ignores momentum.

    Adam adds the weights' decay to their gradients, AdamW takes it off the weights themselves.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], *, weight_decay: float, kernel: Callable[..., Any]
    ) -> None:
        self._kernel = kernel
        self._weights: list[Tensor] = list(weights)
        self._decay = weight_decay
        self._mean = [torch.zeros_like(weight) for weight in self._weights]
        self._square = [torch.zeros_like(weight) for weight in self._weights]
        self._count = [torch.zeros((), device=weight.device) for weight in self._weights]
        named = {"mean": self._mean, "square": self._square, "count": self._count}
        self.tensors = {f"{k}.{name}": v for name, vs in named.items() for k, v in enumerate(vs)}

    def step(self, lr: Tensor, momentum: Tensor) -> None:
        """Move the weights by their gradients."""
        with torch.no_grad():
            torch._foreach_add_(self._count, 1.0)
            self._kernel(
                self._weights, _gradients(self._weights), self._mean, self._square, [],
                self._count, lr=lr, beta1=0.9, beta2=0.999, weight_decay=self._decay, eps=1e-8,
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def ahead(self, gradients: Sequence[Tensor], momentum: Tensor) -> list[Tensor]:
        """Refuse: methods that look ahead are published with SGD alone."""
        raise ValueError(
            "a method asks where the optimiser would move the weights, which is known of sgd "
            "alone; choose a protocol with it"
        )


def optimizer(protocol: Protocol, net: nn.Module) -> Optimizer:
    """Make the optimiser of a protocol."""
    assert not protocol.nesterov, "no protocol uses Nesterov momentum, so it is not written"
    kinds: dict[str, Callable[..., Optimizer]] = {
        "sgd": SGD,
        "adam": partial(Adam, kernel=torch._fused_adam_),
        "adamw": partial(Adam, kernel=torch._fused_adamw_),
    }
    return kinds[protocol.optimizer](net.parameters(), weight_decay=protocol.weight_decay)


def _gradients(weights: Iterable[Tensor]) -> list[Tensor]:
    found = [weight.grad for weight in weights]
    given = [g for g in found if g is not None]
    if len(given) < len(found):
        raise ValueError("the loss given to descend does not depend on some weight")
    return given
