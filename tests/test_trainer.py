"""The loop: schedule, checkpoints, clocks, guards, and that a probe changes nothing."""

import dataclasses
import itertools
import json

import pytest
import torch
from killed import Killed, kill
from made_up_methods import SOUND
from safetensors.torch import load_file

from bench import checkpoint, meter
from bench.batches import Batches
from bench.method import Cost, Method
from bench.runs.catalogue import ROOT
from bench.runs.protocol import PROTOCOLS, Protocol
from bench.selection import Chosen, Selection
from bench.signals import Stopped
from bench.steplog import Diverged
from bench.view import Augment


def test_sora_paper_is_the_published_protocol():
    paper = PROTOCOLS["sora-paper"]
    assert (paper.epochs, paper.batch, paper.weight_decay, paper.nesterov) == (30, 128, 5e-4, False)
    updates = 30 * 391
    lr = [paper.lr(update, updates) for update in (0, updates // 2, updates)]
    momentum = [paper.momentum(update, updates) for update in (0, updates // 2, updates)]
    assert lr == pytest.approx([0.01, 0.2, 0.01])
    assert momentum == pytest.approx([0.9, 0.8, 0.9])


@pytest.mark.parametrize("updates", [10, 11, 391])
def test_schedule_is_torchs_cyclic_lr_at_every_update(updates):
    paper = PROTOCOLS["sora-paper"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.01, max_lr=0.2, step_size_up=updates // 2,
        step_size_down=updates - updates // 2,
    )  # fmt: skip
    for update in range(updates):
        group = optimizer.param_groups[0]
        assert paper.lr(update, updates) == pytest.approx(group["lr"])
        assert paper.momentum(update, updates) == pytest.approx(group["momentum"])
        optimizer.step()
        cyclic.step()


@pytest.mark.parametrize("updates", [10, 11, 391])
def test_the_cosine_is_torchs_at_every_update(updates):
    cosine = PROTOCOLS["sora-cosine"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    other = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates, eta_min=0.001)
    for update in range(updates):
        lr = optimizer.param_groups[0]["lr"]
        assert cosine.lr(update, updates) == pytest.approx(lr, rel=1e-6)
        assert cosine.momentum(update, updates) == 0.9
        optimizer.step()
        other.step()


def followed(protocol, updates, make, steps=None):
    """Compare a protocol's rates with a scheduler of torch's, which steps once a unit."""
    optimizer = torch.optim.SGD(
        [torch.zeros(1, requires_grad=True)], lr=protocol.lr_peak, momentum=0.9
    )
    theirs, every = make(optimizer), updates // (steps or updates)
    for update in range(updates):
        group = optimizer.param_groups[0]
        ours = protocol.lr(update, updates), protocol.momentum(update, updates)
        assert ours == pytest.approx((group["lr"], group["momentum"]), rel=1e-6), update
        optimizer.step()
        if (update + 1) % every == 0 and update + 1 < updates:
            theirs.step()


@pytest.mark.parametrize("updates", [10, 11, 391])
def test_the_triangle_peaks_at_any_share_as_torchs(updates):
    flat = dataclasses.replace(PROTOCOLS["sora-paper"], peak_at=0.4)
    up = int(0.4 * updates)

    def cyclic(optimizer):
        return torch.optim.lr_scheduler.CyclicLR(
            optimizer, base_lr=0.01, max_lr=0.2, step_size_up=up, step_size_down=updates - up
        )

    followed(flat, updates, cyclic)


@pytest.mark.parametrize(
    ("known", "updates", "steps"),
    [("seat-30", 300, None), ("seat-30", 391, None), ("fastat-100", 700, 100)],
)
def test_onecycle_is_torchs_with_its_momentum(known, updates, steps):
    protocol = PROTOCOLS[known]

    def onecycle(optimizer):  # torch's usual shares, which both papers keep
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=protocol.lr_peak, total_steps=steps or updates
        )

    followed(protocol, updates, onecycle, steps)


@pytest.mark.parametrize(
    ("known", "updates", "steps", "drops"),
    [
        ("soar-standard-200", 1400, 200, [100, 150]),
        ("pgi-110", 770, 110, [100, 105]),
        ("gat-100", 500, 100, [71, 86]),
    ],
)
def test_drops_are_torchs_multi_step(known, updates, steps, drops):
    def multi_step(optimizer):
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=drops, gamma=0.1)

    followed(PROTOCOLS[known], updates, multi_step, steps)


def test_drops_can_be_counted_in_updates():
    mma = PROTOCOLS["mma-50k"]
    lr = [mma.lr(k, 50_048) for k in (0, 19_999, 20_000, 29_999, 30_000, 40_000, 50_047)]
    assert lr == pytest.approx([0.3, 0.3, 0.09, 0.09, 0.03, 0.009, 0.009])


def test_a_constant_rate_stays():
    sub_at = PROTOCOLS["sub-at-40"]
    assert {sub_at.lr(k, 100) for k in (0, 50, 99)} == {1.0}
    assert {sub_at.momentum(k, 100) for k in (0, 50, 99)} == {0.9}


def test_a_run_of_few_updates_has_rates_whatever_its_schedule():
    for protocol in PROTOCOLS.values():
        for updates in range(1, 12):
            lr = [protocol.lr(k, updates) for k in range(updates)]
            assert 0 <= min(lr) <= max(lr) <= max(protocol.lr_peak, protocol.lr_start), protocol


def test_named_protocols_do_not_contradict_themselves():
    assert {name: [*one.contradictions()] for name, one in PROTOCOLS.items()} == {
        name: [] for name in PROTOCOLS
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"milestones": [1]}, "one factor a milestone"),
        ({"schedule": "piecewise"}, "piecewise has one factor a milestone"),
        ({"milestones": [1], "factors": [0.1]}, "no other has any"),
        ({"schedule": "piecewise", "milestones": [2, 1], "factors": [1, 1]}, "do not rise"),
        ({"select": "train_pgd", "validation": 5}, "held out for nobody"),
        ({"smoothing_form": "noisy"}, "smoothing 0"),
        ({"ema_warmup": True}, "without ema"),
    ],
)
def test_values_of_a_protocol_that_do_not_go_together_are_named(tiny, change, said):
    (mistake,) = dataclasses.replace(tiny.brief, **change).contradictions()
    assert said in mistake


def test_the_vits_rate_rises_for_a_tenth_of_the_updates_and_falls_as_a_cosine():
    vit = PROTOCOLS["sora-vit"]
    lr = [vit.lr(update, 1000) for update in (0, 50, 100, 550, 1000)]
    assert lr == pytest.approx([0.0, 2.5e-4, 5e-4, (5e-4 + 1e-6) / 2, 1e-6])
    higher = dataclasses.replace(vit, lr_start=1e-4)
    assert higher.lr(50, 1000) == pytest.approx(3e-4)
    assert vit.optimizer == "adamw"


def test_protocols_of_before_are_kept_in_records_as_they_were():
    """Run ids hash them; a field that came later must not rename the runs of earlier."""
    assert set(PROTOCOLS["sora-paper"].as_dict()) == {
        "name", "epochs", "batch", "schedule", "lr_start", "lr_peak", "momentum_start",
        "momentum_peak", "weight_decay", "nesterov",
    }  # fmt: skip
    for protocol in PROTOCOLS.values():
        assert Protocol(**protocol.as_dict()) == protocol


def test_published_runs_have_the_protocols_of_now():
    for path in (ROOT / "results/published").rglob("train.json"):
        protocol = json.loads(path.read_text())["config"]["protocol"]
        if protocol["name"] in PROTOCOLS:
            assert PROTOCOLS[protocol["name"]].as_dict() == protocol, path


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_updates_are_torchs_adam_and_adamw(tiny, kind):
    vit = dataclasses.replace(
        tiny.brief, optimizer=kind.lower(), schedule="warmup-cosine", warmup=0.5
    )
    trainer = tiny.trainer("standard", protocol=vit)
    other = tiny.net()
    lr = torch.tensor(0.0)
    optimizer = getattr(torch.optim, kind)(other.parameters(), lr=lr, weight_decay=5e-4, fused=True)
    for i in range(trainer.updates):
        lr.fill_(vit.lr(i, trainer.updates))
        batch = trainer.batches.take(*divmod(i, 3), torch.zeros(()))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(other(batch.x), batch.y).backward()
        optimizer.step()
    trainer.fit()
    assert torch.equal(tiny.weights(trainer.net), tiny.weights(other))


def selected(tiny, folder, scores):
    """A trainer whose validation accuracy after each epoch is prescribed."""
    long = dataclasses.replace(tiny.brief, epochs=len(scores))
    best = folder / "best.safetensors"
    weights = []

    def score(net):
        weights.append(tiny.weights(net).clone())
        return scores[len(trainer.outcome.curves)]

    trainer = tiny.trainer(
        "fgsm", protocol=long, selection=Selection(score, best), folder=folder / "state"
    )
    return trainer, best, weights


def test_the_first_best_epoch_on_held_out_images_is_kept(tiny, tmp_path):
    trainer, best, weights = selected(tiny, tmp_path, [20.0, 35.0, 35.0, 10.0])
    outcome = trainer.fit()
    best_epoch = Chosen(score=35.0, epoch=1, update=6, network="raw")
    assert trainer.selection.best == best_epoch
    assert [epoch.validation for epoch in outcome.curves] == [20.0, 35.0, 35.0, 10.0]
    other = tiny.net(seed=9)
    other.load_state_dict(load_file(best))
    assert torch.equal(tiny.weights(other), weights[1])
    assert torch.equal(tiny.weights(trainer.net), weights[3])  # training goes on regardless


def test_an_epoch_of_no_accuracy_at_all_can_be_the_best(tiny, tmp_path):
    trainer, best, _ = selected(tiny, tmp_path, [0.0, 0.0])
    trainer.fit()
    assert trainer.selection.best.epoch == 0
    assert best.is_file()


def test_the_best_epoch_survives_a_kill(tiny, tmp_path):
    trainer, best, weights = selected(tiny, tmp_path, [20.0, 35.0, 10.0, 30.0])
    trainer.interval = 0
    step, count = trainer.method.step, itertools.count()

    def killed(*args):
        if next(count) == 10:  # in the fourth epoch
            raise Killed
        step(*args)

    object.__setattr__(trainer.method, "step", killed)
    with pytest.raises(Killed):
        trainer.fit()
    again, _, _ = selected(tiny, tmp_path, [20.0, 35.0, 10.0, 30.0])
    again.resume()
    again.fit()
    assert again.selection.best.epoch == 1
    other = tiny.net(seed=9)
    other.load_state_dict(load_file(best))
    assert torch.equal(tiny.weights(other), weights[1])


def test_updates_are_torchs_sgd(tiny):
    trainer = tiny.trainer("standard")
    other = tiny.net()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    brief = tiny.brief
    for i in range(trainer.updates):
        optimizer.param_groups[0]["lr"] = brief.lr(i, trainer.updates)
        optimizer.param_groups[0]["momentum"] = brief.momentum(i, trainer.updates)
        batch = trainer.batches.take(*divmod(i, 3), torch.zeros(()))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(other(batch.x), batch.y).backward()
        optimizer.step()
    trainer.fit()
    assert torch.equal(tiny.weights(trainer.net), tiny.weights(other))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_a_run_killed_in_any_batch_ends_bit_for_bit_the_same(tiny, name, tmp_path, batch):
    check_resumes(tiny, name, tmp_path, batch)


@pytest.mark.parametrize("sound", SOUND)
def test_whatever_a_method_keeps_survives_a_kill(tiny, sound, tmp_path):
    check_resumes(tiny, sound(eps=tiny.eps), tmp_path, 4)


def check_resumes(tiny, name, tmp_path, batch):
    whole = tiny.trainer(name)
    curves = whole.fit().curves
    at = min(batch * whole.method.replays, whole.updates - 1)

    first = tiny.trainer(name, folder=tmp_path, interval=0, identity="a")
    kill(first, at)

    second = tiny.trainer(name, folder=tmp_path, interval=0, identity="a")
    torch.manual_seed(99)  # whatever the generator was, the checkpoint's counts
    second.resume()
    outcome = second.fit()
    assert torch.equal(tiny.weights(whole.net), tiny.weights(second.net))
    assert all(
        torch.equal(whole.net.state_dict()[k], v) for k, v in second.net.state_dict().items()
    )
    assert all(torch.equal(whole.state[k], v) for k, v in second.state.items())
    assert outcome.curves == curves
    assert (outcome.resumed, outcome.updates) == (1, whole.updates)
    began = [segment.update for segment in outcome.segments]
    assert began[0] == 0 < began[1] <= at


def test_looking_ahead_tells_the_next_step_and_takes_none(tiny):
    """With momentum, weight decay and a velocity, at the rates of the next update."""
    trainer = tiny.trainer("fgsm")
    assert trainer.protocol.weight_decay > 0
    trainer.advance(3)
    kept = {k: v.clone() for k, v in trainer.optimizer.tensors.items()}
    before = [w.detach().clone() for w in trainer.net.parameters()]
    told = []

    def look():
        told.extend(trainer.ahead([w.grad for w in trainer.net.parameters()]))
        assert all(torch.equal(kept[k], v) for k, v in trainer.optimizer.tensors.items())

    x, y = tiny.data()
    trainer.images = x = x / 255
    lr = trainer._rates()[0]
    trainer.descend(lambda z: torch.nn.functional.cross_entropy(trainer.net(z), y), x, edit=look)
    moves = [w - old for w, old in zip(trainer.net.parameters(), before, strict=True)]
    assert any(velocity.abs().max() > 1e-3 for velocity in kept.values())
    assert all(torch.allclose(lr * u, v, atol=1e-7) for u, v in zip(told, moves, strict=True))


def test_looking_ahead_is_refused_where_no_velocity_is_known(tiny):
    protocol = dataclasses.replace(tiny.brief, optimizer="adamw", lr_start=1e-4, lr_peak=1e-3)
    with pytest.raises(ValueError, match="sgd alone"):
        tiny.trainer("lap", protocol=protocol).advance(1)


@pytest.mark.parametrize("when", [*range(1, 7), "probe 0", "probe 1"])
def test_a_run_asked_to_stop_keeps_the_update_in_hand(tiny, tmp_path, when):
    """Of six updates in two epochs, each ends with a probe."""
    passed, lines = [], []

    def make(probe, **rest):
        return tiny.trainer("sora", folder=tmp_path, probe=probe, say=lines.append, **rest)

    whole = tiny.trainer("sora", probe=lambda net, epoch: {})
    curves = whole.fit().curves
    first = make(lambda net, epoch: passed.append(f"probe {epoch}") or {})
    with pytest.raises(Stopped):
        first.fit(lambda: "SIGTERM" if when in (first.update, *passed) else None)
    at = {"probe 0": 3, "probe 1": 6}.get(when, when)
    assert lines[-1].startswith(f"SIGTERM: kept update {at} of 6; the same command goes on")

    second = make(lambda net, epoch: {})
    torch.manual_seed(99)
    second.resume()
    assert second.update == at
    outcome = second.fit()
    assert torch.equal(tiny.weights(whole.net), tiny.weights(second.net))
    assert (outcome.curves, outcome.updates) == (curves, 6)


def test_an_adamw_run_killed_in_a_batch_ends_bit_for_bit_the_same(tiny, tmp_path):
    adamw = dataclasses.replace(tiny.brief, optimizer="adamw")
    whole = tiny.trainer("fgsm_rs", protocol=adamw)
    whole.fit()
    first = tiny.trainer("fgsm_rs", protocol=adamw, folder=tmp_path, interval=0)
    kill(first, 4)
    second = tiny.trainer("fgsm_rs", protocol=adamw, folder=tmp_path, interval=0)
    second.resume()
    second.fit()
    assert torch.equal(tiny.weights(whole.net), tiny.weights(second.net))


def test_checkpoints_of_other_code_are_moved_aside(tiny, tmp_path):
    state = tmp_path / "state"
    for identity, aside in (("new", 1), ("newer", 2)):
        tiny.trainer("fgsm", folder=state, interval=0, identity="old").fit()
        kept = {path.name for path in state.iterdir()}
        second = tiny.trainer("fgsm", folder=state, interval=0, identity=identity)
        second.resume()
        assert second.update == 0
        assert checkpoint.newest(state) is None
        assert {path.name for path in (tmp_path / f"state-aside-{aside}").iterdir()} == kept


def test_the_last_two_checkpoints_are_kept(tiny, tmp_path):
    tiny.trainer("fgsm", folder=tmp_path, interval=0).fit()
    kept = sorted(path.name.split("-")[1] for path in tmp_path.iterdir())
    assert kept == ["000000005", "000000006"]


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_refused_with_its_remedy(tiny, tmp_path, damage):
    tiny.trainer("fgsm", folder=tmp_path, interval=0).fit()
    newest = sorted(tmp_path.iterdir())[-1]
    content = bytearray(newest.read_bytes())
    if damage == "truncated":
        content = content[:-7]
    else:
        content[-1] ^= 1
    newest.write_bytes(content)
    trainer = tiny.trainer("fgsm", folder=tmp_path)
    with pytest.raises(
        ValueError, match=r"damaged .* remove this file to go on from the one before"
    ):
        trainer.resume()
    newest.unlink()
    trainer.resume()
    assert trainer.update == 5


def test_a_probe_changes_nothing(tiny):
    def probe(net, epoch):
        net.eval()
        net(torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(epoch)))
        return {"pgd10": 50.0}

    plain, probed = tiny.trainer("sora"), tiny.trainer("sora", probe=probe)
    torch.manual_seed(7)
    plain.fit()
    torch.manual_seed(7)
    curves = probed.fit().curves
    assert torch.equal(tiny.weights(plain.net), tiny.weights(probed.net))
    assert [epoch.probe for epoch in curves] == [{"pgd10": 50.0}] * 2


def test_probe_seconds_are_not_training_seconds(tiny, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])

    def probe(net, epoch):
        now[0] += 10.0
        return {}

    outcome = tiny.trainer("fgsm", probe=probe).fit()
    assert (outcome.probe_seconds, outcome.train_seconds) == (20.0, 0.0)


def test_state_is_logged_as_a_curve(tiny):
    curves = tiny.trainer("sora").fit().curves
    assert set(curves[0].state) == {"c"}
    assert curves[0].state != curves[1].state
    assert -1 <= curves[0].pert_align <= 1
    assert tiny.trainer("standard").fit().curves[0].pert_align is None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explodes(Method):
    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        descend(lambda z: net(z).square().mean() * torch.inf, at=batch.x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spoils(Method):
    """Finite in every loss; its sixth gradient, the last one of the run, is not."""

    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        def spoil():
            if batch.t.item() > 0.8:  # five of six updates are taken
                next(net.parameters()).grad.fill_(torch.nan)

        descend(lambda z: net(z).square().mean(), at=batch.x, edit=spoil)


def test_weights_that_the_last_update_spoils_end_the_run(tiny):
    with pytest.raises(Diverged, match=r"is not finite after the last update"):
        tiny.trainer(Spoils(eps=tiny.eps)).fit()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanders(Method):
    """Goes twice as far as it declares, or leaves the box, or descends too often."""

    cost = Cost(forward=1, backward=1)
    far: float = 0.0
    out: float = 0.0
    calls: int = 1

    def step(self, net, batch, state, descend):
        for _ in range(self.calls):
            at = (batch.x + self.far * self.eps).clamp(0, 1) + self.out
            descend(lambda z: net(z).square().mean(), at=at)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"far": 2.0}, r"Wanders gave descend images .* eps away, and declares reach = 1"),
        ({"out": 0.01}, r"Wanders gave descend pixels in .*, outside \[0, 1\]"),
        ({"out": float("nan")}, "loss is nan"),
        ({"calls": 2}, "Wanders calls descend more often than it declares: replays = 1"),
        ({"calls": 0}, "Wanders called descend 0 times in an epoch of 3 updates"),
    ],
)
def test_a_method_is_held_to_what_it_declares(tiny, fault, said):
    with pytest.raises((ValueError, Diverged), match=said):
        tiny.trainer(Wanders(eps=tiny.eps, **fault)).fit()


def test_a_loss_that_is_not_finite_ends_the_run(tiny):
    with pytest.raises(Diverged, match=r"loss is (inf|nan) in epoch 1 of 2"):
        tiny.trainer(Explodes(eps=tiny.eps)).fit()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replays(Method):
    cost = Cost(forward=2, backward=2)

    @property
    def replays(self):
        return 2

    def step(self, net, batch, state, descend):
        for _ in range(2):
            descend(lambda z: net(z).square().mean(), at=batch.x)


def test_replays_divide_the_epochs_and_keep_the_updates(tiny):
    protocol = dataclasses.replace(tiny.brief, epochs=3)
    trainer = tiny.trainer(Replays(eps=tiny.eps), protocol=protocol)
    outcome = trainer.fit()
    assert (outcome.epochs, outcome.updates) == (2, 2 * 3 * 2)  # ceil(3 / 2) epochs of 3 batches


def test_pictures_depend_on_seed_and_epoch_alone(tiny):
    x, y = tiny.data()

    def pictures(seed, epoch, *, before=()):
        batches = Batches(
            x, y, augment=Augment(pad=1, flip=True), batch=8, seed=seed, classes=4,
            device=torch.device("cpu"),
        )  # fmt: skip
        for other in before:
            batches.take(other, 0, torch.zeros(()))
        return torch.cat([batches.take(epoch, i, torch.zeros(())).x for i in range(3)])

    assert torch.equal(pictures(0, 1), pictures(0, 1, before=[0, 3]))
    assert not torch.equal(pictures(0, 1), pictures(0, 2))
    assert not torch.equal(pictures(0, 1), pictures(1, 1))


def test_every_image_is_seen_once_an_epoch(tiny):
    trainer = tiny.trainer("standard")
    rows = torch.cat([trainer.batches.take(0, i, torch.zeros(())).rows for i in range(3)])
    assert rows.sort().values.tolist() == list(range(20))
