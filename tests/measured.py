"""Help for the laws of attacks and diagnostics: tiny tasks for them, and what both must keep."""

import dataclasses

import torch

from bench.meter import Passes
from bench.runs import catalogue, evaluations
from bench.runs.catalogue import EVALUATIONS, ROOT
from bench.threat import Threat
from evaluation.attack import Task
from evaluation.draw import Draw
from report.sources import entries

RADIUS = {"Linf": 8 / 255, "L2": 0.5}
WORDS = ("Source", "Cite", "Meaning", "Cost", "Differs")
# of settings that only make an evaluation longer
FEW = {"steps": 3, "steps_l2": 3, "restarts": 2, "points": 3, "side": 1}


def brief(one):
    """The same attack with few steps."""
    known = {field.name for field in dataclasses.fields(one)}
    few = {key: min(n, getattr(one, key)) for key, n in FEW.items() if key in known}
    return dataclasses.replace(one, **few)


def frozen(net):
    return net.eval().requires_grad_(requires_grad=False)


def task(tiny, *, norm="Linf", n=20, seed=0, net=None):
    """Images that the network gets right without attack, so that all of them are attacked."""
    net = frozen(net or tiny.net(seed=seed))
    x = tiny.data(n=n)[0].float() / 255
    y = net(x).argmax(1)
    threat = Threat(norm, RADIUS[norm])
    return Task(net=net, x=x, y=y, threat=threat, name="tried", classes=4, seed=seed)


def check_undisturbed(tiny, one):
    given = task(tiny)
    weights = tiny.weights(given.net).clone()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one.evaluate(given)
    assert torch.equal(torch.rand(1), expected), "it draws from torch's own generator"
    assert torch.equal(tiny.weights(given.net), weights), "it changes weights"
    assert not any(module.training for module in given.net.modules()), "it leaves eval mode"
    assert all(p.grad is None for p in given.net.parameters()), "it leaves weight gradients"


def check_seeded(tiny, one):
    given = task(tiny)
    found = one.evaluate(given)
    torch.manual_seed(4)
    again = one.evaluate(given)
    assert (found.scores, found.values) == (again.scores, again.values), "two runs differ"
    assert all(torch.equal(array, again.arrays[name]) for name, array in found.arrays.items())


def check_cost(tiny, one, call):
    given = task(tiny)
    with Passes(given.net) as passes:
        call(one)(given.net, given.x, given.y, given.threat, Draw(0, 0, len(given.y)))
    seen = (passes.forward / len(given.y), passes.backward / len(given.y))
    said = tuple(one.cost)
    within = all(a <= b for a, b in zip(seen, said, strict=True))
    assert within, f"declared {said} forward, backward; counted {seen}"


def check_text(kind, name):
    missing = [w for w in WORDS if not catalogue.described(name, w, EVALUATIONS[kind])]
    assert not missing, f"the class's docstring lacks {', '.join(f'{word}:' for word in missing)}"
    assert catalogue.title(name, EVALUATIONS[kind]), f"the first line of {name}.py names nothing"
    key = catalogue.described(name, "Cite", EVALUATIONS[kind])
    assert key == "none" or key in entries(), f"Cite: {key} is not in report/references.bib"


def check_names(kind, name, one):
    fields = {field.name: field.default for field in dataclasses.fields(one)}
    read = catalogue.default_settings(name, EVALUATIONS[kind])
    assert read == fields, f"read off the file: {read}; the class has {fields}"
    made = [{}, *({key: value} for key, value in others(one).items())]
    for settings in [*made, {"eps": "6/255"}, {"weights": "best"}]:
        entry = evaluations.read({kind: name} | settings)
        for written in (entry.name, entry.printed):
            assert evaluations.read(written) == entry, f"{written} does not read back"


def others(one):
    """Another value for each number among the settings."""
    numbers = {k: v for k, v in dataclasses.asdict(one).items() if type(v) in (int, float)}
    return {key: value + 1 for key, value in numbers.items()}


def check_tested(kind, name, one, call):
    if call in vars(type(one)):
        path = ROOT / f"tests/test_{kind}_{name}.py"
        assert path.is_file(), f"{path.relative_to(ROOT)} is missing"
        assert "def test_" in path.read_text(), f"{path.name} tests nothing"
