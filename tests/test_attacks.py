"""The laws of attacks: what every file in evaluation/attacks/ must keep, whoever wrote it.

Like tests/test_methods.py; the second half seeds one fault each and sees it caught. What an attack
alone must do, on a network where that is known, stands in tests/test_attack_NAME.py.
"""

import dataclasses
import json
from types import SimpleNamespace

import measured
import pytest
import torch
from measured import RADIUS, brief, task

from bench.method import Cost
from bench.ops import box, ce, grad
from bench.stages.kept import kept
from bench.threat import Threat
from evaluation import load
from evaluation.attack import Attack
from evaluation.draw import Draw
from evaluation.progress import Progress, unpack

CASES = 200  # images of the law on balls, a radius each batch of
BATCH = 8
BITS = 1e-5  # that rounding may add to a length


def made(attack):
    return brief(load("attack", attack)())


def by_batch(one):
    """Whether it has a perturb of its own, that laws may call."""
    return type(one).perturb is not Attack.perturb


def check_ball(tiny, one):
    for norm in one.norms:
        for case in range(CASES // BATCH):
            given = task(tiny, norm=norm, n=BATCH, seed=case)
            threat = Threat(norm, RADIUS[norm] * (1 + case) / 8)
            x = (2 * given.x - 0.5).clamp(0, 1) if case % 2 else given.x  # many pixels at the ends
            y = given.net(x).argmax(1)
            at = one.perturb(given.net, x, y, threat, Draw(case, 0, BATCH))
            assert at.shape == x.shape, f"images of {tuple(at.shape)} from {tuple(x.shape)}"
            assert not at.isnan().any(), "a pixel is no number"
            assert at.min() >= 0, f"a pixel of {at.min():.4f}"
            assert at.max() <= 1, f"a pixel of {at.max():.4f}"
            far = (threat.length(at - x) / threat.eps).max()
            if one.bounded:
                assert far <= 1 + BITS, f"{far:.4f} eps from the image in {norm}"


def standing(one, given):
    """Say which images stand, (N,) bool."""
    kept = []
    one.evaluate(given._replace(keep=lambda now: kept.append(now.standing)))
    return unpack(kept[-1], len(given.y))


def check_restarts(tiny, one):
    if "restarts" not in {field.name for field in dataclasses.fields(one)}:
        return
    for seed in range(4):
        given = task(tiny, seed=seed)
        few = None
        for restarts in (1, 2, 4):
            stand = standing(dataclasses.replace(one, restarts=restarts), given)
            assert few is None or not (stand & ~few).any(), "an image stands after more starts"
            few = stand


def check_best(tiny, one):
    if "best" not in {field.name for field in dataclasses.fields(one)}:
        return
    for seed in range(4):
        given = task(tiny, seed=seed)
        last = standing(dataclasses.replace(one, best=False), given)
        best = standing(dataclasses.replace(one, best=True), given)
        assert not (best & ~last).any(), "an image that the last iterate breaks stands"


def check_resumes(tiny, one, monkeypatch):
    monkeypatch.setattr(type(one), "batch", BATCH)
    given, kept = task(tiny), []
    given.y[0] = (given.y[0] + 1) % given.classes  # wrong without attack

    def keep(now):
        kept.append(json.dumps(dataclasses.asdict(now), allow_nan=False))

    whole = one.evaluate(given._replace(keep=keep))
    assert len(kept) == -(-len(given.y) // BATCH), "not kept after every batch"
    for now in kept:
        again = one.evaluate(given._replace(before=Progress(**json.loads(now))))
        same = (again.scores, again.values) == (whole.scores, whole.values)
        assert same, f"resumed, it finds {again.scores}, and else {whole.scores}"


def test_stays_in_the_ball_and_in_the_unit_range(tiny, attack):
    """End with threat.project(d, x); say bounded = False if it goes as far as it needs."""
    if by_batch(made(attack)):
        check_ball(tiny, made(attack))


def test_more_restarts_never_help_the_network(tiny, attack):
    """Draw by draw(...) alone: the first starts are then the same ones, however many follow."""
    if by_batch(made(attack)):
        check_restarts(tiny, made(attack))


def test_best_of_iterates_is_never_worse_than_the_last(tiny, attack):
    """Keep the first iterate that the network errs on."""
    if by_batch(made(attack)):
        check_best(tiny, made(attack))


def test_same_seed_gives_the_same_verdicts(tiny, attack):
    """Draw by draw(threat.uniform, x) or draw(torch.randn_like, x), or seed by draw.seed()."""
    if by_batch(made(attack)):
        measured.check_seeded(tiny, made(attack))


def test_network_and_generators_are_left_as_they_were(tiny, attack):
    """Take gradients by grad of bench.ops, and draw by draw(...)."""
    if by_batch(made(attack)):
        measured.check_undisturbed(tiny, made(attack))


def test_resumed_is_uninterrupted(tiny, attack, monkeypatch):
    """Keep nothing from one batch for the next."""
    if by_batch(made(attack)):
        check_resumes(tiny, made(attack), monkeypatch)


def test_cost_is_not_exceeded(tiny, attack):
    """Say in cost how many images perturb sends forward and backward for each of the batch."""
    if by_batch(made(attack)):
        measured.check_cost(tiny, made(attack), lambda one: one.perturb)


def test_docstring_says_what_the_page_shows(attack):
    """CONTRIBUTING.md shows a docstring with all of it."""
    measured.check_text("attack", attack)


def test_settings_and_names_read_back(attack):
    """Give each setting a type and a plain value, and each form in names the settings it holds."""
    measured.check_names("attack", attack, load("attack", attack)())


def test_it_has_a_test_of_its_own(attack):
    """Try it on a network where its result is known, in tests/test_attack_NAME.py."""
    measured.check_tested("attack", attack, load("attack", attack)(), "perturb")


# The same laws on attacks with one fault each.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound(Attack):
    restarts: int = 1
    best: bool = False

    cost = Cost(1, 1)

    def perturb(self, net, x, y, threat, draw):
        d = box(draw(threat.uniform, x), x)
        g = grad(ce(net, y), at=x + d)
        return x + threat.project(d + threat.eps * g.sign(), x)


class Far(Sound):
    def perturb(self, net, x, y, threat, draw):
        return (super().perturb(net, x, y, threat, draw) + 0.1 * threat.eps).clamp(0, 1)


class Unboxed(Sound):
    def perturb(self, net, x, y, threat, draw):
        return x + 0.5 * draw(threat.uniform, x)


class Tires(Sound):
    """Does nothing where it has many starts."""

    def perturb(self, net, x, y, threat, draw):
        return x if self.restarts > 2 else super().perturb(net, x, y, threat, draw)


class KeepsWorst(Sound):
    def perturb(self, net, x, y, threat, draw):
        return x if self.best else super().perturb(net, x, y, threat, draw)


class DrawsElsewhere(Sound):
    def perturb(self, net, x, y, threat, draw):
        return x + box(threat.uniform(x), x)


class Learns(Sound):
    def perturb(self, net, x, y, threat, draw):
        for weight in net.parameters():
            weight.mul_(1.01)
        return super().perturb(net, x, y, threat, draw)


class Remembers(Sound):
    """Attacks every other batch that this process sees."""

    calls = 0

    def perturb(self, net, x, y, threat, draw):
        Remembers.calls += 1
        return super().perturb(net, x, y, threat, draw) if Remembers.calls % 2 else x


class Costly(Sound):
    def perturb(self, net, x, y, threat, draw):
        net(x)
        return super().perturb(net, x, y, threat, draw)


def resumes(tiny, one):
    with pytest.MonkeyPatch.context() as patch:
        check_resumes(tiny, one, patch)


CHECKS = {
    "ball": check_ball,
    "restarts": check_restarts,
    "best": check_best,
    "seeded": measured.check_seeded,
    "undisturbed": measured.check_undisturbed,
    "resumes": resumes,
    "cost": lambda tiny, one: measured.check_cost(tiny, one, lambda each: each.perturb),
}


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_attack_keeps_all_laws(tiny, check, strong):
    CHECKS[check](tiny, Sound())


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        (Far, "ball", "eps from the image in Linf"),
        (Unboxed, "ball", "a pixel of"),
        (Tires, "restarts", "stands after more starts"),
        (KeepsWorst, "best", "that the last iterate breaks stands"),
        (DrawsElsewhere, "undisturbed", "torch's own generator"),
        (Learns, "undisturbed", "changes weights"),
        (Remembers, "resumes", "resumed, it finds"),
        (DrawsElsewhere, "seeded", "two runs differ"),
        (Costly, "cost", "declared"),
    ],
)
def test_a_fault_is_caught(tiny, strong, fault, check, said):
    with pytest.raises(AssertionError, match=said):
        CHECKS[check](tiny, fault())


@pytest.fixture
def strong(monkeypatch):
    """A radius at which some images stand and some fall."""
    monkeypatch.setitem(RADIUS, "Linf", 0.1)


def test_draws_of_a_batch_do_not_depend_on_what_is_attacked():
    x, whole, part = torch.zeros(6, 1, 2, 2), Draw(3, 1, 6), Draw(3, 1, 6)
    part.rows = torch.tensor([1, 4])
    for _ in range(2):
        assert torch.equal(whole(torch.randn_like, x)[[1, 4]], part(torch.randn_like, x[:2]))
    assert not torch.equal(Draw(3, 0, 6)(torch.randn_like, x), Draw(3, 1, 6)(torch.randn_like, x))


def test_verdicts_are_kept_beside_the_run_until_they_are_a_record(tmp_path):
    said = []
    job = SimpleNamespace(folder=tmp_path, stage=SimpleNamespace(name="pgd20"), say=said.append)
    path = tmp_path / "state/pgd20.json"
    now = Progress(standing="f0", batches=1, seconds=2.0, values={"moved": [0.5]})

    def killed(key):
        """What a job reads that is killed after it has kept its verdicts."""
        with kept(job, key) as (before, keep):
            raise Killed(keep(before or now), before)

    with pytest.raises(Killed) as first:
        killed(["a", 1])
    assert first.value.args[1] is None
    with kept(job, ["a", 1]) as (before, _):
        assert before == now
    assert not path.parent.exists()
    with pytest.raises(Killed):
        killed(["a", 1])
    with pytest.raises(Killed) as other:
        killed(["a", 2])
    assert other.value.args[1] is None, "verdicts on other weights or settings were read"
    ours = '{"key": ["a", 1]'
    for damage in ("{", "[" * 100_000, "[]", ours + "}", ours + ', "progress": {"batches": "1"}}'):
        path.write_text(damage)
        with pytest.raises(Killed) as afresh:
            killed(["a", 1])
        assert afresh.value.args[1] is None
        assert f"{path} is damaged, so the attack begins anew: " in said.pop()


class Killed(Exception):
    """As a signal would end it."""
