"""What residual networks share: stages of blocks, and weights that begin over the fan-out."""

from collections.abc import Callable, Sequence

from torch import nn

Block = Callable[[int, int, int], nn.Module]  # channels in and out, stride


def stages(
    block: Block, inputs: int, outputs: Sequence[int], blocks: Sequence[int]
) -> list[nn.Module]:
    """Make blocks stage by stage; the first block of each stage but the first halves the image.

    Args:
        inputs: channels that go into the first stage.
        outputs: channels of each stage.
        blocks: of each stage.
    """
    made: list[nn.Module] = []
    for stage, (channels, count) in enumerate(zip(outputs, blocks, strict=True)):
        made.append(block(inputs, channels, 2 if stage else 1))
        made += [block(channels, channels, 1) for _ in range(count - 1)]
        inputs = channels
    return made


def begin_over_fan_out(net: nn.Module) -> None:
    """Draw the weights of all convolutions as Kaiming normal over their fan-out."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
