"""A campaign does what fits, the most informative first, and loses nothing."""

import io
import json
import sys
import tarfile
import time
from types import SimpleNamespace

import pytest
import torch
from made_up import DATA, attack
from safetensors.torch import load, save_file

from bench.runs import suite as config
from bench.runs.catalogue import ROOT
from bench.runs.record import Record, read_status
from bench.tools import campaign
from workflows.plan import Plan


@pytest.fixture
def plan(tmp_path):
    cut = {"methods": ["fgsm", "sora", "pgd10"], "seeds": [0, 1], "evaluations": ["pgd50_10"]}
    suite = config.suite(config.load(ROOT / "workflows/config/smoke.yaml") | cut)
    return Plan(suite, config.runs(suite), data_dir=str(tmp_path / "data"), results=tmp_path)


class Machine:
    """A made-up machine: every piece of work takes its time and leaves a record."""

    def __init__(self, plan, slowness=1e6):
        self.plan, self.slowness, self.now, self.did = plan, slowness, 0.0, []
        self.images = plan.suite.attack_images

    def __call__(self, work):
        self.now += max(work.hours * self.slowness, 1.0)
        self.did.append((work.stage, work.config.method, work.config.seed))
        Record(
            stage=work.stage, run="r", config=work.config, status="done", data=DATA,
            attack=attack(50.0, self.images) if work.stage == "autoattack" else None,
        ).write(self.plan.results / "runs" / work.folder)  # fmt: skip

    def go(self, seconds):
        end = self.now + seconds
        works = campaign.order([self.plan])
        list(campaign.campaign(works, self, seconds=seconds, clock=lambda: self.now))
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
    suite = config.suite(config.load(ROOT / "workflows/config/smoke.yaml") | cut)
    other = Plan(suite, config.runs(suite), data_dir="x", results=tmp_path)
    works = campaign.order([plan, other])
    trained = [(w.config.method, w.config.seed) for w in works if w.stage == "train"]
    assert trained == [
        ("fgsm", 0), ("sora", 0), ("pgd10", 0), ("trades", 5),
        ("fgsm", 1), ("sora", 1), ("pgd10", 1), ("trades", 6), ("trades", 7),
    ]  # fmt: skip
    costs = {(w.config.method, w.config.seed) for w in works if w.stage == "cost"}
    assert costs == {("fgsm", 0), ("sora", 0), ("pgd10", 0), ("trades", 5)}


def test_what_does_not_fit_is_left_and_what_does_is_done(plan):
    machine = Machine(plan)
    hours = {(w.stage, w.config.method): w.hours for w in campaign.order([plan])}
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


def test_attacks_on_fewer_images_than_asked_for_are_work_and_on_more_are_not(plan, tmp_path):
    machine = Machine(plan)
    machine.go(1e12)
    assert campaign.left(campaign.order([plan])) == []
    for images, wanted in ((None, DATA.test_images), (machine.images + 1, machine.images + 1)):
        suite = plan.suite.model_copy(update={"attack_images": images})
        more = Plan(suite, config.runs(suite), data_dir="x", results=tmp_path)
        waiting = campaign.left(campaign.order([more]))
        assert [work.stage for work in waiting] == ["autoattack"] * 6
        machine.images = wanted
        for work in waiting:
            machine(work)
        assert campaign.left(campaign.order([more])) == []
        assert campaign.left(campaign.order([plan])) == [], "the smaller suite undoes the larger"
        machine.images = plan.suite.attack_images
        machine.did.clear()
        for work in waiting:
            machine(work)


def test_when_the_time_is_over_work_is_cut_off_and_the_campaign_ends(plan, capsys):
    machine = Machine(plan)

    def slow(work):
        if work.config.method == "sora":
            raise campaign.Over
        machine(work)

    works = campaign.order([plan])
    list(campaign.campaign(works, slow, seconds=1e12, clock=lambda: machine.now))
    assert {method for _, method, _ in machine.did} == {"fgsm"}
    assert "sora" in capsys.readouterr().out
    list(campaign.campaign(works, machine, seconds=1e12, clock=lambda: machine.now))
    assert campaign.left(works) == []


def test_work_that_cannot_start_does_not_stop_the_rest(plan, capsys):
    machine = Machine(plan)

    def fussy(work):
        if work.config.method == "sora":
            sys.exit("no such thing")
        machine(work)

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
    monkeypatch.setattr(campaign, "PART", 1000)
    works = [work for work in campaign.order([plan]) if work.stage == "train"]
    weights = {"w": torch.randn(2000), "n": torch.tensor(3)}
    for work in works[:3]:
        machine(work)
        save_file(weights, plan.results / "runs" / work.folder / "model.safetensors")
    (attacked,) = [w for w in campaign.order([plan])
                   if w.folder == works[0].folder and w.stage == "autoattack"]  # fmt: skip
    machine(attacked)
    monkeypatch.setattr(campaign, "ROOM", 5000)  # of one of the two that are left
    path = tmp_path / "out.tgz"
    campaign.archive([plan], path)
    parts = campaign.archive_weights([plan], path)
    records = unpacked(path)
    assert sum(name.endswith("train.json") for name in records) == 3
    assert records[f"runs/{attacked.folder}/autoattack.json"]
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 1000
    ((kept, content),) = unpacked(*parts).items()
    assert kept == f"runs/{works[1].folder}/model.safetensors"
    half = load(content)
    assert half["w"].dtype == torch.float16
    assert torch.allclose(half["w"].float(), weights["w"], atol=2e-3)
    assert half["n"] == 3


def test_a_failure_is_tried_again_only_when_asked(plan, tmp_path):
    machine = Machine(plan)
    machine.go(1e12)
    works = campaign.order([plan])
    for work, status in zip(works, ("failed", "oom", "skipped"), strict=False):
        record = Record(stage=work.stage, run="r", config=work.config, status=status, reason="x")
        record.write(plan.results / "runs" / work.folder)
    assert campaign.left(works) == []
    again = Plan(plan.suite.model_copy(update={"retry_failed": True}), plan.runs.values(),
                 data_dir="x", results=tmp_path)  # fmt: skip
    assert campaign.left(campaign.order([again])) == works_of(again, works[:3])
    assert campaign.failed(works) == 3


def works_of(plan, works):
    return [work._replace(plan=plan) for work in works]


def test_a_gpu_that_does_not_answer_ends_the_campaign_and_leaves_no_record(
    plan, monkeypatch, tmp_path
):
    work = campaign.order([plan])[0]

    def fails(words):
        record = Record(
            stage="train", run="r", config=work.config, status="failed", reason="CUDA error"
        )
        record.write(plan.results / "runs" / work.folder)

    monkeypatch.setitem(campaign.STAGES, "train", fails)
    args = SimpleNamespace(device="cpu", threads=1, engine="eager")
    path = plan.results / "runs" / work.folder / "train.json"
    campaign.do(args, time.monotonic() + 60)(work)
    assert path.is_file(), "a failure of the method's own is a record"
    monkeypatch.setattr(campaign, "answers", lambda: False)
    with pytest.raises(campaign.Over, match="does not answer"):
        campaign.do(args, time.monotonic() + 60)(work)
    assert not path.exists()


def test_a_real_campaign_leaves_real_records_in_one_process(tmp_path, monkeypatch, capsys):
    suite = {"methods": ["fgsm"], "seeds": [0], "test_images": 8, "attack_images": 4,
             "train_images": 64, "probe_images": 4}  # fmt: skip
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(config.load(ROOT / "workflows/config/smoke.yaml") | suite))
    words = ["--suite", str(path), "--minutes", "5", "--results", str(tmp_path / "results")]
    words += ["--data-dir", str(tmp_path), "--device", "cpu", "--engine", "eager"]
    words += ["--archive", str(tmp_path / "records.tgz")]
    monkeypatch.setattr(sys, "argv", ["campaign", *words])
    campaign.main()
    assert "0 of" in capsys.readouterr().out
    records = sorted((tmp_path / "results/runs").rglob("*.json"))
    assert {record.stem for record in records} >= {"train", "autoattack", "cost"}
    assert {read_status(record) for record in records} == {("done", 1)}
    assert sum(name.endswith("autoattack.json") for name in unpacked(tmp_path / "records.tgz")) == 1


def test_a_run_that_is_cut_off_ends_as_if_it_had_not_been(tmp_path, monkeypatch, capsys):
    suite = {"methods": ["fgsm"], "seeds": [0], "evaluations": [], "protocol": "digits-60",
             "test_images": 16, "attack_images": 2, "train_images": 64,
             "probe_images": 4}  # fmt: skip
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(config.load(ROOT / "workflows/config/smoke.yaml") | suite))

    def go(results, minutes):
        words = ["--suite", str(path), "--minutes", str(minutes), "--results", str(results)]
        monkeypatch.setattr(
            sys, "argv", ["campaign", *words, "--data-dir", str(tmp_path), "--device", "cpu"]
        )
        campaign.main()
        return [Record.read(p).training for p in (results / "runs").rglob("train.json")]

    (whole,) = go(tmp_path / "whole", 5)
    assert go(tmp_path / "cut", whole.train_seconds / 2 / 60) == []
    assert "cut off; the next campaign goes on" in capsys.readouterr().out
    (cut,) = go(tmp_path / "cut", 5)
    assert cut.pgd10 == whole.pgd10
    assert [epoch.loss for epoch in cut.curves] == [epoch.loss for epoch in whole.curves]
