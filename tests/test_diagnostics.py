"""The laws of diagnostics: what every file in evaluation/diagnostics/ must keep.

Like tests/test_attacks.py. A closed form of each stands in tests/test_diagnostic_NAME.py.
"""

import dataclasses
import hashlib

import measured
import pytest
import torch
from measured import task
from safetensors.torch import load_file

from bench.method import Cost
from bench.ops import ce, grad
from bench.stages.evaluate import _write
from evaluation import load
from evaluation.diagnostic import Diagnostic


def made(diagnostic):
    return measured.brief(load("diagnostic", diagnostic)())


def by_batch(one):
    return "measure" in vars(type(one))


def check_values(tiny, one):
    given = task(tiny)
    found = one.evaluate(given)
    assert found.values.keys() >= one.values.keys(), f"found {[*found.values]}"
    for name, (unit, least, most) in one.values.items():
        value = found.values[name]
        assert value.unit == unit, f"{name} in {value.unit}, not {unit}"
        assert 0 < value.n <= len(given.y), f"{name} of {value.n} images"
        assert value.value is not None, f"{name} is not a number"
        assert least is None or value.value >= least, f"{name} = {value.value}, below {least}"
        assert most is None or value.value <= most, f"{name} = {value.value}, above {most}"
    assert found.arrays.keys() == {*one.arrays}, f"arrays {[*found.arrays]}, not {one.arrays}"


def test_values_have_their_unit_and_range(tiny, diagnostic):
    """Say in values the unit of each number, and the least and the largest that it can be."""
    check_values(tiny, made(diagnostic))


def test_same_seed_gives_the_same_numbers(tiny, diagnostic):
    """Draw by draw(threat.uniform, x) or draw(torch.randn_like, x)."""
    measured.check_seeded(tiny, made(diagnostic))


def test_network_and_generators_are_left_as_they_were(tiny, diagnostic):
    """Take gradients by grad of bench.ops, and draw by draw(...)."""
    measured.check_undisturbed(tiny, made(diagnostic))


def test_cost_is_not_exceeded(tiny, diagnostic):
    """Say in cost how many images measure sends forward and backward for each of the batch."""
    if by_batch(made(diagnostic)):
        measured.check_cost(tiny, made(diagnostic), lambda one: one.measure)


def test_docstring_says_what_the_page_shows(diagnostic):
    """CONTRIBUTING.md shows a docstring with all of it."""
    measured.check_text("diagnostic", diagnostic)


def test_settings_and_names_read_back(diagnostic):
    """Give each setting a type and a plain value, and each form in names the settings it holds."""
    measured.check_names("diagnostic", diagnostic, load("diagnostic", diagnostic)())


def test_it_has_a_closed_form(diagnostic):
    """Try it on an affine or quadratic network, in tests/test_diagnostic_NAME.py."""
    measured.check_tested("diagnostic", diagnostic, load("diagnostic", diagnostic)(), "measure")


# The same laws on diagnostics with one fault each.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound(Diagnostic):
    values = {"norm": ("gradient", 0, None)}  # noqa: RUF012

    cost = Cost(1, 1)

    def measure(self, net, x, y, threat, draw):
        return {"norm": grad(ce(net, y), at=x).flatten(1).norm(dim=1)}


class Negative(Sound):
    def measure(self, net, x, y, threat, draw):
        return {"norm": -super().measure(net, x, y, threat, draw)["norm"]}


class NoNumber(Sound):
    def measure(self, net, x, y, threat, draw):
        return {"norm": torch.full((len(x),), float("nan"))}


class Unnamed(Sound):
    def measure(self, net, x, y, threat, draw):
        return {"length": torch.zeros(len(x))}


class Draws(Sound):
    def measure(self, net, x, y, threat, draw):
        return {"norm": torch.rand(len(x))}


class Costly(Sound):
    def measure(self, net, x, y, threat, draw):
        net(x)
        return super().measure(net, x, y, threat, draw)


CHECKS = {
    "values": check_values,
    "seeded": measured.check_seeded,
    "undisturbed": measured.check_undisturbed,
    "cost": lambda tiny, one: measured.check_cost(tiny, one, lambda each: each.measure),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_diagnostic_keeps_all_laws(tiny, check):
    CHECKS[check](tiny, Sound())


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        (Negative, "values", "below 0"),
        (NoNumber, "values", "not a number"),
        (Unnamed, "values", "measured"),
        (Draws, "seeded", "two runs differ"),
        (Draws, "undisturbed", "torch's own generator"),
        (Costly, "cost", "declared"),
    ],
)
def test_a_fault_is_caught(tiny, fault, check, said):
    with pytest.raises(AssertionError, match=said):
        CHECKS[check](tiny, fault())


class Landscape(Sound):
    arrays = ("loss",)
    batch = 8

    def measure(self, net, x, y, threat, draw):
        return super().measure(net, x, y, threat, draw) | {"loss": x[:, 0, :2, :3]}


def test_arrays_are_of_all_images_and_lie_beside_the_record(tiny, tmp_path):
    given, path = task(tiny), tmp_path / "landscape.safetensors"
    check_values(tiny, Landscape())
    found = Landscape().evaluate(given)
    assert torch.equal(found.arrays["loss"], given.x[:, 0, :2, :3])
    written = _write(found.arrays, path)
    assert written == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert torch.equal(load_file(path)["loss"], found.arrays["loss"])
    assert _write({}, path) == {}
    assert not path.exists(), "arrays of a former record are left"
