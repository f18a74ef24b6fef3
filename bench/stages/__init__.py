"""The stages of a run, one program each: train, attack, evaluate, cost."""
