"""A campaign does the stages that fit, the most informative first, and loses no result."""

import io
import json
import tarfile
import time
from pathlib import Path

import made_up
import pytest
import torch
from safetensors.torch import load, save_file

from bench.runs.catalogue import ROOT
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages.faults import MachineError
from bench.stages.running import Place
from bench.tools import campaign
from workflows.plan import Plan


@pytest.fixture
def plan(tmp_path):
    cut = {"methods": ["fgsm", "sora", "pgd10"], "seeds": [0, 1], "evaluations": ["pgd50_10"]}
    suite = parse_suite(read_yaml(ROOT / "workflows/config/smoke.yaml") | cut)
    return Plan(suite, expand(suite), data_dir=str(tmp_path / "data"), results=tmp_path)


def leave(piece, **changes):
    """Write the record of a piece of work."""
    plan, work = piece.plan, piece.work
    made_up.wanted(plan, work, **changes).write(plan.file(work).parent)


def brief(piece):
    return piece.stage, piece.work.config.method, piece.work.config.seed


class Machine:
    """A made-up machine: every piece of work takes its time and leaves a record."""

    def __init__(self, plan, slowness=1e6):
        self.plan, self.slowness, self.now, self.did = plan, slowness, 0.0, []

    def __call__(self, piece):
        self.now += max(piece.hours * self.slowness, 1.0)
        self.did.append(brief(piece))
        leave(piece)

    def go(self, seconds):
        end = self.now + seconds
        pieces = campaign.order([self.plan])
        list(campaign.campaign(pieces, self, seconds=seconds, clock=lambda: self.now))
        return self.now - end


def test_all_methods_come_with_the_first_seed_before_any_with_the_second(plan):
    machine = Machine(plan)
    machine.go(1e12)
    assert [seed for _, _, seed in machine.did] == [0] * 12 + [1] * 9  # costs once
    first = [stage for stage, method, seed in machine.did if (method, seed) == ("fgsm", 0)]
    assert first == ["train", "autoattack", "pgd50_10", "cost"]
    assert [method for stage, method, _ in machine.did if stage == "train"][:3] == [
        "fgsm", "sora", "pgd10",
    ]  # fmt: skip
    assert campaign.left(campaign.order([plan])) == []


def test_first_seeds_of_all_suites_come_before_any_second(plan, tmp_path):
    cut = {"methods": ["trades"], "seeds": [5, 6, 7]}
    suite = parse_suite(read_yaml(ROOT / "workflows/config/smoke.yaml") | cut)
    other = Plan(suite, expand(suite), data_dir="x", results=tmp_path)
    pieces = [brief(piece) for piece in campaign.order([plan, other])]
    assert [rest for stage, *rest in pieces if stage == "train"] == [
        ["fgsm", 0], ["sora", 0], ["pgd10", 0], ["trades", 5],
        ["fgsm", 1], ["sora", 1], ["pgd10", 1], ["trades", 6], ["trades", 7],
    ]  # fmt: skip
    costs = [rest for stage, *rest in pieces if stage == "cost"]
    assert costs == [["fgsm", 0], ["sora", 0], ["pgd10", 0], ["trades", 5]]


def test_stages_that_fit_are_done_and_the_others_left(plan):
    machine = Machine(plan)
    hours = {(p.stage, p.work.config.method): p.hours for p in campaign.order([plan])}
    # room for the first training of all three methods, had PGD-10 not to fit by its estimate
    room = (hours["train", "fgsm"] + hours["train", "sora"]) * 1e6
    room += 2 * hours["autoattack", "fgsm"] * 1e6 + 8 + hours["train", "pgd10"] * 0.5e6
    over = machine.go(room)
    assert over <= 0, "work that did not fit was begun"
    trained = {method for stage, method, _ in machine.did if stage == "train"}
    assert {"fgsm", "sora"} <= trained
    assert "pgd10" not in trained
    assert not any(stage == "autoattack" and m == "pgd10" for stage, m, _ in machine.did)


def test_a_second_campaign_goes_on_where_the_first_ended(plan):
    machine = Machine(plan)
    machine.go(3.0)
    before = list(machine.did)
    assert 0 < len(before) < 21
    machine.go(1e12)
    assert len(machine.did) == len(set(machine.did)) == 21


@pytest.mark.parametrize("images", [None, 5, 3])
def test_attacks_on_other_images_than_asked_for_are_work(plan, images):
    Machine(plan).go(1e12)
    assert campaign.left(campaign.order([plan])) == []
    suite = plan.suite.model_copy(update={"attack_images": images})
    other = Plan(suite, plan.runs.values(), data_dir="x", results=plan.results)
    waiting = campaign.left(campaign.order([other]))
    assert sorted({piece.stage for piece in waiting}) == ["autoattack", "pgd50_10"]
    assert len(waiting) == 2 * 6


def test_a_stage_is_cut_off_when_the_time_is_over_and_the_campaign_ends(plan, capsys):
    machine = Machine(plan)

    def slow(piece):
        if piece.work.config.method == "sora":
            raise campaign.CampaignOver("cut off")
        machine(piece)

    pieces = campaign.order([plan])
    list(campaign.campaign(pieces, slow, seconds=1e12, clock=lambda: machine.now))
    assert {method for _, method, _ in machine.did} == {"fgsm"}
    assert "sora" in capsys.readouterr().out
    list(campaign.campaign(pieces, machine, seconds=1e12, clock=lambda: machine.now))
    assert campaign.left(pieces) == []


def test_work_that_cannot_start_does_not_stop_the_rest(plan, capsys):
    machine = Machine(plan)

    def fussy(piece):
        if piece.work.config.method == "sora":
            raise ValueError("no such thing")
        machine(piece)

    list(campaign.campaign(campaign.order([plan]), fussy, seconds=1e12, clock=lambda: machine.now))
    assert {method for _, method, _ in machine.did} == {"fgsm", "pgd10"}
    assert "no such thing" in capsys.readouterr().err


def unpacked(*parts):
    content = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=content) as tar:
        return {name: tar.extractfile(name).read() for name in tar.getnames()}


def test_an_archive_holds_all_records_and_half_precision_weights_of_what_is_left(
    plan, tmp_path, monkeypatch
):
    machine = Machine(plan)
    monkeypatch.setattr(campaign, "PART_BYTES", 1000)
    pieces = [piece for piece in campaign.order([plan]) if piece.stage == "train"]
    weights = {"w": torch.randn(2000), "n": torch.tensor(3)}
    for piece in pieces[:3]:
        machine(piece)
        save_file(weights, plan.file(piece.work, "model.safetensors"))
    attacked, waiting = (piece.work.config for piece in pieces[:2])
    machine(next(piece for piece in campaign.order([plan])
                 if (piece.work.config, piece.stage) == (attacked, "autoattack")))  # fmt: skip
    monkeypatch.setattr(campaign, "WEIGHTS_BYTES", 5000)  # of one of the two that are left
    path = tmp_path / "out.tgz"
    campaign.archive([plan], path)
    parts = campaign.archive_weights([plan], path)
    records = unpacked(path)
    assert sum(name.endswith("train.json") for name in records) == 3
    assert records[f"runs/{attacked.folder}/autoattack.json"]
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 1000
    ((kept, content),) = unpacked(*parts).items()
    assert kept == f"runs/{waiting.folder}/model.safetensors"
    half = load(content)
    assert half["w"].dtype == torch.float16
    assert torch.allclose(half["w"].float(), weights["w"], atol=2e-3)
    assert half["n"] == 3


def test_a_failure_is_tried_again_only_when_asked(plan):
    Machine(plan).go(1e12)
    pieces = campaign.order([plan])
    for piece, status in zip(pieces, ("failed", "oom", "refused"), strict=False):
        leave(piece, status=status, reason="x")
    assert campaign.left(pieces) == []
    again = Plan(plan.suite.model_copy(update={"retry_failed": True}), plan.runs.values(),
                 data_dir="x", results=plan.results)  # fmt: skip
    # and the two that read the training
    left = campaign.left(campaign.order([again]))
    assert [piece.work.name for piece in left] == [piece.work.name for piece in pieces[:3]]
    line = plan.ending().line(page="x", retry="retry")
    assert line.startswith("failed: 18 done, 2 failed, 1 refused of 21 stages of suite smoke; ")


def test_a_machine_that_fails_ends_the_campaign_and_leaves_no_record(plan, monkeypatch):
    piece = campaign.order([plan])[0]

    def fails(task, place):
        raise MachineError("the GPU does not answer any more")

    monkeypatch.setattr(campaign, "execute", fails)
    run = campaign.runner(Place(Path(), "cpu"), "eager", time.monotonic() + 60)
    with pytest.raises(campaign.CampaignOver, match="does not answer"):
        run(piece)
    assert not plan.file(piece.work).exists()


def test_a_real_campaign_leaves_real_records_in_one_process(tmp_path, capsys):
    suite = {"methods": ["fgsm"], "seeds": [0], "test_images": 8, "attack_images": 4,
             "train_images": 64, "probe_images": 4}  # fmt: skip
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(read_yaml(ROOT / "workflows/config/smoke.yaml") | suite))
    words = ["--suite", str(path), "--minutes", "5", "--results", str(tmp_path / "results")]
    words += ["--data-dir", str(tmp_path), "--device", "cpu", "--engine", "eager"]
    words += ["--archive", str(tmp_path / "records.tgz")]
    campaign.main(words)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("done: 3 of 3 stages of suite smoke; the page: python -m bench report")
    records = sorted((tmp_path / "results/runs").rglob("*.json"))
    assert {record.stem for record in records} >= {"train", "autoattack", "cost"}
    made = [Record.read(record) for record in records]
    assert {(record.status, record.attempt) for record in made} == {("done", 1)}
    assert sum(name.endswith("autoattack.json") for name in unpacked(tmp_path / "records.tgz")) == 1


def test_a_run_that_is_cut_off_ends_as_if_it_had_not_been(tmp_path, capsys):
    suite = {"methods": ["fgsm"], "seeds": [0], "evaluations": [], "protocol": "digits-60",
             "test_images": 16, "attack_images": 2, "train_images": 64,
             "probe_images": 4}  # fmt: skip
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(read_yaml(ROOT / "workflows/config/smoke.yaml") | suite))

    def go(results, minutes):
        words = ["--suite", str(path), "--minutes", str(minutes), "--results", str(results)]
        campaign.main([*words, "--data-dir", str(tmp_path), "--device", "cpu"])
        return [Record.read(p).training for p in (results / "runs").rglob("train.json")]

    (whole,) = go(tmp_path / "whole", 5)
    assert go(tmp_path / "cut", whole.train_seconds / 2 / 60) == []
    said = capsys.readouterr().out
    assert "cut off; the next campaign goes on" in said
    assert said.splitlines()[-1].startswith("left: 3 of 3 stages of suite smoke; fgsm seed 0, ")
    (cut,) = go(tmp_path / "cut", 5)
    assert cut.pgd10 == whole.pgd10
    assert [epoch.loss for epoch in cut.curves] == [epoch.loss for epoch in whole.curves]
