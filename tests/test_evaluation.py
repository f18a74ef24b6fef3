"""Measures against networks of known robustness, and AutoAttack against the library itself."""

import copy
import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from bench.models import Net
from bench.runs import evaluations
from bench.threat import Threat
from evaluation import load
from evaluation.attack import Task
from evaluation.autoattack import ATTACKS, Padded, autoattack
from evaluation.clean import clean
from evaluation.pgd import _Starts, fgsm, pgd
from evaluation.progress import Progress, pack, unpack
from evaluation.sweep import read, usual

EPS = 0.1
NEAR = 0.18  # where the trained network below keeps some images and loses some
AT, CLOSE = Threat("Linf", EPS), Threat("Linf", NEAR)


class Threshold(nn.Module):
    """Class 1 if the mean pixel is above 0.5: robust where it is further than eps from it."""

    def forward(self, x):
        z = 20 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-z, z], 1)


def found(name, net, x, y, *, threat, seed=0, **rest):
    """What an evaluation finds, by the name that a suite gives it."""
    entry = evaluations.read(name)
    one = load(entry.kind, entry.file)(**entry.settings)
    task = Task(net=net, x=x, y=y, threat=threat, name=entry.printed, classes=10, seed=seed)
    return one.evaluate(task._replace(**rest))


def levels(*means):
    return torch.stack([torch.full((1, 4, 4), m) for m in means])


@pytest.mark.parametrize("threat", [AT, Threat("L2", 4 * EPS)])  # 4: the root of 16 pixels
def test_accuracy_is_exact_on_a_threshold(threat):
    x, y = levels(0.2, 0.45, 0.58, 0.9, 0.3), torch.tensor([0, 0, 1, 1, 1])
    net, weak = Threshold(), dataclasses.replace(threat, eps=0.1 * threat.eps)
    assert clean(net, x, y, batch=2).accuracy == 80.0
    assert fgsm(net, x, y, threat=threat, batch=2).accuracy == 40.0
    for name in ("fgsm", "pgd10", "pgd10_2"):
        assert found(name, net, x, y, threat=threat).scores[name].accuracy == 40.0
    given = {"threat": threat, "batch": 2, "steps": 10, "seed": 0}
    assert pgd(net, x, y, **given).accuracy == 40.0
    assert pgd(net, x, y, **given | {"threat": weak}) == clean(net, x, y, batch=2)


def test_restarts_break_what_one_start_does_not():
    """Two bumps: from most starts the climb ends on the lower one, which does not reach class 0."""

    class Bumps(nn.Module):
        def forward(self, x):
            v = x.flatten(1)[:, :1]
            high = torch.relu(1 - (v - 0.62).abs() / 0.02)
            slope = 0.5 - (v - 0.5)
            return torch.cat([2 * high - 0.5 * slope, 0.5 * slope], 1)

    x, y = torch.full((64, 1, 1, 1), 0.5), torch.ones(64, dtype=torch.long)
    one, many = (
        found(name, Bumps(), x, y, threat=Threat("Linf", 0.13)).scores[name].accuracy
        for name in ("pgd1", "pgd1_10")
    )
    assert many < one < 100


def test_restarts_on_a_threshold_are_exact_and_skip_what_is_broken():
    x, y = levels(0.2, 0.45, 0.58, 0.9, 0.3), torch.tensor([0, 0, 1, 1, 1])
    score = found("pgd10_3", Threshold(), x, y, threat=AT).scores["pgd10_3"]
    assert (score.accuracy, score.n) == (40.0, 5)


def test_sweep_starts_clean_and_falls_as_the_radius_grows():
    x, y = levels(0.2, 0.45, 0.58, 0.9, 0.47), torch.tensor([0, 0, 1, 1, 0])
    scores = found("eps_sweep", Threshold(), x, y, threat=Threat("Linf", 8 / 255)).scores
    assert len(scores) == 2 * 33
    assert scores["fgsm 0/255"] == scores["pgd10 0/255"] == clean(Threshold(), x, y, batch=5)
    # margins of 0.03, 0.05 and 0.08 of the range: 7.65, 12.75 and 20.4 of 255
    steps = [scores[f"fgsm {k}/255"].accuracy for k in (7, 8, 12, 13, 20, 21, 32)]
    assert steps == [100.0, 80.0, 80.0, 60.0, 60.0, 40.0, 40.0]
    assert scores["pgd10 32/255"].accuracy == 40.0
    assert usual("Linf", 51 / 255)[-3:] == [52, 56, 60]
    chosen = found(
        "eps_sweep", Threshold(), x, y, threat=Threat("Linf", 8 / 255), radii=(0, 13)
    ).scores
    assert chosen == {name: scores[name] for name in chosen}
    assert list(chosen) == [f"{a} {k}/255" for k in (0, 13) for a in ("fgsm", "pgd10")]


def test_a_sweep_in_l2_counts_in_parts_of_its_own_radius():
    x, y = levels(0.2, 0.45, 0.58, 0.9, 0.47), torch.tensor([0, 0, 1, 1, 0])
    scores = found("eps_sweep", Threshold(), x, y, threat=Threat("L2", 0.4)).scores
    assert list(scores)[:4] == [
        "fgsm 0/32 eps",
        "pgd10 0/32 eps",
        "fgsm 1/32 eps",
        "pgd10 1/32 eps",
    ]
    swept = read(scores)
    assert swept.unit == "/32 eps"
    assert list(swept.scores["fgsm"]) == usual("L2", 0.4) == [*range(41)]
    # 16 pixels, margins of 0.03, 0.05 and 0.08 of their mean: 9.6, 16 and 25.6 of 32 parts
    for attack in ("fgsm", "pgd10"):
        steps = [swept.scores[attack][k].accuracy for k in (0, 9, 11, 15, 18, 25, 30, 40)]
        assert steps == [100.0, 100.0, 80.0, 80.0, 60.0, 60.0, 40.0, 40.0]
    chosen = found("eps_sweep", Threshold(), x, y, threat=Threat("L2", 0.4), radii=(0, 13)).scores
    assert chosen == {name: scores[name] for name in chosen}


def test_pgd_draws_from_a_generator_of_its_own():
    x, y = levels(0.4, 0.6), torch.tensor([0, 1])
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pgd(Threshold(), x, y, threat=AT, batch=2, steps=2, seed=5)
    assert torch.equal(torch.rand(1), expected)


def test_starts_are_one_stream_of_draws_whatever_is_drawn_ahead():
    generator = torch.Generator().manual_seed(5)
    with ThreadPoolExecutor(1) as pool:
        starts = _Starts(pool, threat=AT, seed=5)
        # restarts may end early, and the last batch is shorter
        for n, after in ((8, 8), (8, 8), (3, 3), (3, None), (8, 1), (1, 1), (1, None)):
            expected = torch.empty(n, 3, 5, 5).uniform_(-EPS, EPS, generator=generator)
            ahead = None if after is None else torch.zeros(after, 3, 5, 5)
            assert torch.equal(starts.take(torch.zeros(n, 3, 5, 5), ahead), expected)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 64, 101])
def test_masks_read_back_as_they_were_written(n):
    verdicts = torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.5
    assert torch.equal(unpack(pack(verdicts), n), verdicts)
    assert len(pack(verdicts)) == -(-n // 4)


def trained(classes):
    """A small network on made-up classes, partly robust at NEAR."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, classes)
    )
    net = Net(body, mean=[0.5], std=[0.25])
    y = torch.arange(24) % classes
    centres = torch.rand(classes, 1, 6, 6)
    x = (centres[y] + 0.3 * torch.randn(24, 1, 6, 6)).clamp(0, 1)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval().requires_grad_(requires_grad=False), x, y


@pytest.fixture
def brief(monkeypatch):
    """AutoAttack with few iterations: what is under test is the adapter, not the attacks."""
    import pyautoattack.autoattack as library

    original = library.AutoAttack._set_version

    def shortened(self, version="standard"):
        original(self, version)
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 5
        self.square.n_queries = 20

    monkeypatch.setattr(library.AutoAttack, "_set_version", shortened)


@pytest.mark.parametrize(
    ("near", "classes"), [(CLOSE, 10), (CLOSE, 9), (CLOSE, 8), (CLOSE, 4), (Threat("L2", 0.7), 10)]
)
def test_verdicts_are_the_librarys_own(brief, near, classes):
    from pyautoattack import AutoAttack

    net, x, y = trained(classes)
    ours = autoattack(net, x, y, threat=near, classes=classes, seed=3, batch=10)
    library = AutoAttack(net, eps=near.eps, norm=near.norm, version="standard", seed=3)
    library.apgd_targeted.n_target_classes = library.fab.n_target_classes = min(9, classes - 1)
    _, predicted = library.run_standard_evaluation(x, y, batch_size=10)
    assert torch.equal(unpack(ours.robust["square"], 24), predicted == y)
    assert 0 < ours.accuracy < 100, "an attack that breaks all or nothing proves nothing"
    assert list(ours.after) == ["clean", *ATTACKS]
    assert sorted(ours.after.values(), reverse=True) == list(ours.after.values())


def test_autoattack_leaves_generator_and_tracer_as_they_were(brief):
    net, x, y = trained(4)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)

    def tracer(*args):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        autoattack(net, x[:4], y[:4], threat=CLOSE, classes=4, seed=3, batch=4)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert torch.equal(torch.rand(1), expected)


def test_autoattack_resumes_after_any_batch_with_the_same_verdicts(brief):
    net, x, y = trained(10)
    kept = []
    whole = autoattack(
        net, x, y, threat=CLOSE, classes=10, seed=3, batch=10,
        keep=lambda now: kept.append(dataclasses.asdict(now)),
    )  # fmt: skip
    assert len(kept) > 4
    assert {now["batches"] for now in kept} >= {1, 2}
    for count, now in enumerate(kept, start=1):
        ran = []
        again = autoattack(
            net, x, y, threat=CLOSE, classes=10, seed=3, batch=10,
            before=Progress(**json.loads(json.dumps(now))), keep=ran.append,
        )  # fmt: skip
        assert again.robust == whole.robust
        assert len(ran) == len(kept) - count, "a batch was attacked twice"
        assert again.attack_seconds >= now["seconds"]


def test_images_that_fell_to_one_attack_are_not_attacked_again(brief, monkeypatch):
    from pyautoattack import AutoAttack

    seen = []
    plain = AutoAttack.run_standard_evaluation

    def spy(self, x, y, **rest):
        seen.append((self.attacks_to_run[0], len(x)))
        return plain(self, x, y, **rest)

    monkeypatch.setattr(AutoAttack, "run_standard_evaluation", spy)
    net, x, y = trained(10)
    found = autoattack(net, x, y, threat=CLOSE, classes=10, seed=3, batch=10)
    before = [round(found.after[name] * 0.24) for name in ("clean", *ATTACKS[:-1])]
    for attack, count in zip(ATTACKS, before, strict=True):
        assert sum(n for name, n in seen if name == attack) == count


GOLDEN = [  # as they were before evaluations were files with settings
    ("pgd50_10", 0.14, {"pgd50_10": 91.66666666666666}),
    ("pgd50_10", 0.17, {"pgd50_10": 41.66666666666667}),
    ("pgd50_10", 0.2, {"pgd50_10": 4.166666666666666}),
    ("pgd4", 0.2, {"pgd4": 62.5}),  # so few steps that their starts decide
    ("pgd4_2", 0.2, {"pgd4_2": 58.333333333333336}),
    ("pgd4_4", 0.2, {"pgd4_4": 54.166666666666664}),
    ("autoattack_best", NEAR, {"autoattack_best": 37.5}),
    ("eps_sweep", NEAR, {"fgsm 0/255": 100.0, "pgd10 0/255": 100.0,
                         "fgsm 40/255": 87.5, "pgd10 40/255": 75.0}),
]  # fmt: skip


@pytest.mark.parametrize(("which", "eps", "scores"), GOLDEN)
def test_moved_evaluations_find_what_they_found(brief, which, eps, scores):
    net, x, y = trained(10)
    made = found(which, net, x, y, threat=Threat("Linf", eps), seed=3, radii=(0, 40), batch=10)
    assert {key: score.accuracy for key, score in made.scores.items()} == scores


FEW = 0.05  # share of verdicts in which fast mode may differ from exact mode


def test_fast_mode_judges_with_the_network_as_trained(brief):
    net, x, y = trained(10)
    rough = copy.deepcopy(net)
    rough.precision = "bf16"
    exact = autoattack(net, x, y, threat=CLOSE, classes=10, seed=3, batch=24)
    fast = autoattack(net, x, y, threat=CLOSE, classes=10, seed=3, batch=24, fast=rough)
    assert (exact.mode, fast.mode) == ("exact", "fast")
    pairs = zip(unpack(exact.robust["square"], 24), unpack(fast.robust["square"], 24), strict=True)
    assert sum(a != b for a, b in pairs) <= FEW * 24
    assert fast.after["clean"] == exact.after["clean"]


def test_a_rough_network_cannot_break_an_image_that_the_trained_one_gets_right(brief):
    """Its adversarial images are judged, and what it gets wrong from the start is attacked."""
    net, x, y = trained(10)
    blind = copy.deepcopy(net)
    torch.nn.init.zeros_(blind.body[-1].weight)  # errs on nearly everything, has no gradient
    exact = autoattack(net, x, y, threat=CLOSE, classes=10, seed=3, batch=24)
    fast = autoattack(net, x, y, threat=CLOSE, classes=10, seed=3, batch=24, fast=blind)
    assert fast.accuracy >= exact.accuracy
    wrong = unpack(fast.robust["clean"], 24) & (blind(x).argmax(1) != y)
    assert wrong.sum() > 10
    # the trained network was attacked where the rough one had been wrong
    both = unpack(exact.robust["square"], 24)[wrong] == unpack(fast.robust["square"], 24)[wrong]
    assert both.float().mean() > 0.9


def test_padding_changes_no_logit(brief, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **rest: function)
    net, x, _ = trained(10)
    padded, seen = Padded(net, 16), []
    net.register_forward_hook(lambda net, args, out: seen.append(len(out)))
    for n in (1, 2, 3, 16, 24):
        assert torch.allclose(padded(x[:n]), net(x[:n]), atol=1e-6)
    assert seen[::2] == [2, 2, 4, 16, 24]


def test_fewer_than_four_classes_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"needs 4 classes or more, .*: the data have 2"):
        autoattack(
            Threshold(),
            levels(0.2),
            torch.tensor([0]),
            threat=AT,
            classes=2,
            seed=0,
            batch=1,
        )


def test_images_outside_the_unit_range_are_not_attacked():
    with pytest.raises(AssertionError, match=r"not in \[0, 1\]"):
        autoattack(
            Threshold(),
            levels(2.0),
            torch.tensor([0]),
            threat=AT,
            classes=4,
            seed=0,
            batch=1,
        )


class Blinks(nn.Module):
    """A perfect network of four levels that answers no number off them, or near a level alone."""

    def __init__(self, number, *, near=1.0):
        super().__init__()
        self.number, self.near = number, near

    def forward(self, x):
        level = x.flatten(1).mean(1)
        logits = 100 - 1000 * (level[:, None] - torch.tensor([0.2, 0.4, 0.6, 0.8])).abs()
        perfect = (x == x.flatten(1)[:, :1, None, None]).flatten(1).all(1)
        hit = ~perfect & ((level - 0.2).abs() < self.near)
        return torch.where(hit[:, None], self.number, logits)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_network_that_answers_no_number_when_attacked_is_broken(brief, number):
    x, y = levels(0.2, 0.4, 0.6, 0.8), torch.arange(4)
    net = Blinks(number)
    assert clean(net, x, y, batch=4).accuracy == 100
    assert pgd(net, x, y, threat=Threat("Linf", 0.01), batch=4, steps=3, seed=0).accuracy == 0
    found = autoattack(net, x, y, threat=Threat("Linf", 0.01), classes=4, seed=0, batch=4)
    assert (found.after["clean"], found.accuracy) == (100, 0)


def test_an_image_near_which_no_number_comes_out_is_the_one_that_breaks(brief):
    """All four are attacked side by side, and the other three stand."""
    x, y = levels(0.2, 0.4, 0.6, 0.8), torch.arange(4)
    net = Blinks(float("nan"), near=0.05)
    found = autoattack(net, x, y, threat=Threat("Linf", 0.01), classes=4, seed=0, batch=4)
    assert unpack(found.robust["square"], 4).tolist() == [False, True, True, True]


def test_what_the_library_warns_of_is_counted_and_not_printed(brief, capfd):
    class Rounds(nn.Module):
        """Answers by steps, so that its gradient is zero everywhere."""

        def forward(self, x):
            level = x.flatten(1).mean(1)[:, None].mul(5).round()
            return (level + 0 * x.flatten(1)[:, :1] == torch.arange(1, 5)) * 9.0 + 0 * level

    x, y = levels(0.2, 0.4, 0.6, 0.8), torch.arange(4)
    found = autoattack(Rounds(), x, y, threat=Threat("Linf", 0.01), classes=4, seed=0, batch=4)
    assert found.warnings["there are points with zero gradient"] > 0
    assert "zero gradient" not in capfd.readouterr().err


def test_a_network_of_no_numbers_gets_nothing_right():
    x, y = levels(0.2, 0.4), torch.tensor([0, 0])  # the class that the largest of NaN is
    net = Blinks(float("nan"))
    net.forward = lambda images: images.flatten(1)[:, :4] * float("nan")
    assert clean(net, x, y, batch=2).accuracy == 0
    assert fgsm(net, x, y, threat=AT, batch=2).accuracy == 0
    found = autoattack(net, x, y, threat=AT, classes=4, seed=0, batch=2)
    assert (found.after["clean"], found.accuracy) == (0, 0)
