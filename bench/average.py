"""The exponential average of a network's weights and statistics over the updates of a run."""

import copy

from torch import Tensor, nn


class Average:
    """e <- tau e + (1 - tau) state of the network, with whole numbers copied; in place.

    Its tensors stay where they are, on the device, so that a captured step may average, too.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._now = net.state_dict()  # shares memory with the network
        self.tensors = {name: tensor.clone() for name, tensor in self._now.items()}

    def take(self, tau: Tensor) -> None:
        """Average once more; tau () on the device, where 0 forgets and 1 keeps."""
        for name, now in self._now.items():
            if now.is_floating_point():
                self.tensors[name].lerp_(now, 1 - tau)  # exact at 0 and 1, and where both agree
            else:
                self.tensors[name].copy_(now)

    def network(self) -> nn.Module:
        """Make a copy of the network that has the average's weights."""
        other = copy.deepcopy(self._net)
        other.load_state_dict(self.tensors)
        return other
