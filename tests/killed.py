"""A training that is killed, as by kill -9, before an update."""

import itertools

import pytest


class Killed(BaseException):
    """Ends a job at once, without any except clause of it."""


def kill(trainer, at):
    """Train until the update `at`, counted from 0, and die before it is made."""
    descend, count = trainer.descend, itertools.count()

    def killed(*args, **rest):
        if next(count) == at:
            raise Killed
        return descend(*args, **rest)

    trainer.descend = killed
    with pytest.raises(Killed):
        trainer.fit()
