"""Seeds for the generators of a run, one for each use."""

import numpy as np

WEIGHTS, NOISE, PICTURES = 1, 2, 3  # initial weights; a method's draws; order, crops and flips


def stream(seed: int, use: int, epoch: int = 0) -> int:
    """Mix a run's seed with a use, into the 32 bits that torch's CPU generator looks at.

    torch drops the higher bits without a word, so ``seed << 32`` would make all runs the same.
    """
    return int(np.random.SeedSequence((seed, use, epoch)).generate_state(1)[0])
