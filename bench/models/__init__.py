"""Networks, one file an architecture, inside a shell that normalises and sets the precision."""

import importlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "tf32", "bf16"]


class Net(nn.Module):
    """Images (B, C, H, W) in [0, 1], float32, to logits (B, classes), float32.

    Normalisation, memory layout and precision are the network's business, so that attacks,
    losses and statistics stay in pixels and in float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        precision: Precision = "fp32",
    ) -> None:
        super().__init__()
        self.layout = self._layout(body)
        self.body = body.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    @property
    def features(self) -> int | None:
        """How many numbers of an image the body's last linear layer reads; None if it has none."""
        layers = [*self.body.children()] if isinstance(self.body, nn.Sequential) else []
        return layers[-1].in_features if layers and isinstance(layers[-1], nn.Linear) else None

    def forward(self, x: Tensor, *, featured: bool = False) -> Any:
        """Compute logits; if ``featured``, a pair of them and what the last linear layer reads."""
        x = ((x - self.mean) / self.std).contiguous(memory_format=self.layout)
        if self.precision != "bf16":
            return self._both(x) if featured else self.body(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            if featured:
                logits, features = self._both(x)
                return logits.float(), features.float()
            return self.body(x).float()

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        *layers, last = self.body.children()
        for layer in layers:
            x = layer(x)
        return last(x), x

    @staticmethod
    def _layout(body: nn.Module) -> torch.memory_format:
        """Choose channels_last, except where oneDNN would write past the end of a buffer.

        On CPUs its backward pass of a strided 1 x 1 convolution of channels_last does so with fewer
        channels than a vector has lanes: glibc's heap checker ends it with 7 or fewer under AVX2
        from 32 x 32 pixels on, with 15 or fewer under AVX-512 at 112 x 112 (torch 2.11).
        """
        narrow = any(
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.in_channels < 16
            for layer in body.modules()
        )
        return torch.contiguous_format if narrow else torch.channels_last


def build(
    name: str,
    *,
    shape: tuple[int, int, int],
    classes: int,
    width: int,
    mean: Sequence[float],
    std: Sequence[float],
    precision: Precision = "fp32",
) -> Net:
    """Make a network with fresh weights from torch's default generator.

    Images are normalised unless its file says ``NORMALISED = False``.

    Args:
        name: a file of bench/models/.
        shape: (C, H, W) of the images.
        classes: number of logits.
        width: channels of the first layer; the file's WIDTH is the published one.
        mean, std: per channel, on the [0, 1] scale.
        precision: of the network's insides; logits are float32 at any.
    """
    module = importlib.import_module(f"bench.models.{name}")
    body = module.build(shape=shape, classes=classes, width=width)
    if not getattr(module, "NORMALISED", True):
        mean, std = [0.0] * shape[0], [1.0] * shape[0]
    return Net(body, mean=mean, std=std, precision=precision)


def allow(precision: Precision) -> None:
    """Let torch use TF32 in this process or not; its own default allows it in convolutions."""
    rough = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = rough


def parameters(net: nn.Module) -> int:
    """Count the weights that training moves."""
    return sum(weight.numel() for weight in net.parameters())
