"""Random numbers of evaluations: drawn on the host, so the same for every device."""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.seeds import DRAWS, stream


class Draw:
    """What an attack draws for one batch, start after start.

    Each batch has a generator of its own, so that how often one is attacked changes no other. All
    images of a batch have their numbers drawn, so that those of one do not depend on which of the
    others still stand.
    """

    def __init__(self, seed: int, batch: int, images: int) -> None:
        self._state = _host(seed if batch == 0 else stream(seed, DRAWS, batch))
        self._images = images
        self.rows = torch.arange(images)  # of the batch, that are attacked
        self.queries: Tensor | None = None  # by image of the batch, if the attack counts them

    def __call__(self, make: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Draw by a function of images, such as ``threat.uniform`` or ``torch.randn_like``.

        Args:
            make: draws from torch's own generator for images like the ones that it gets, (B, C, H,
                W) on the host; what it returns begins with B.
            x: the images that are attacked, of which those may be more.
        """
        like = torch.zeros(self._images, *x.shape[1:], dtype=x.dtype)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._state)
            drawn = make(like)
            self._state = torch.get_rng_state()
        return drawn[self.rows].to(x.device)

    def count(self, queries: Tensor) -> None:
        """Note how often the network was asked about each of the images that are attacked, (B,)."""
        if self.queries is None:
            self.queries = torch.zeros(self._images)
        self.queries[self.rows] += queries.cpu()

    def seed(self) -> int:
        """Draw a seed for a library that has generators of its own."""
        return int(self(lambda x: torch.randint(2**31, (len(x),)), torch.zeros(1))[0])


def _host(seed: int) -> Tensor:
    return torch.Generator().manual_seed(seed).get_state()
