"""What tests of methods share: a method for the tiny network, its training, its passes."""

from bench.meter import Passes
from bench.method import Cost
from methods import load


def make(tiny, name, **settings):
    """A method with the tiny network's radius."""
    return load(name)(eps=tiny.eps, **settings)


def trained(tiny, method):
    """The weights that a training by the method, or by that of a name, ends with."""
    trainer = tiny.trainer(method)
    trainer.fit()
    return tiny.weights(trainer.net)


def check_cost(tiny, method):
    trainer = tiny.trainer(method, engine="eager")  # hooks are no part of a compiled network
    with Passes(trainer.net) as passes:
        trainer.advance(1)
    seen = Cost(passes.forward / trainer.batches.batch, passes.backward / trainer.batches.batch)
    said = trainer.method.cost
    assert seen == said, f"declared {tuple(said)} forward, backward; counted {tuple(seen)}"
