"""Seeds for the generators of a run, one for each use."""

import numpy as np

# initial weights; a method's draws; order, crops and flips; what an evaluation draws for a batch
WEIGHTS, NOISE, PICTURES, DRAWS = 1, 2, 3, 4


def stream(seed: int, use: int, part: int = 0) -> int:
    """Mix a seed with a use, and its epoch or batch, into the 32 bits that torch's generator sees.

    torch drops the higher bits without a word, so ``seed << 32`` would make all runs the same.
    """
    return int(np.random.SeedSequence((seed, use, part)).generate_state(1)[0])
