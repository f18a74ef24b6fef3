"""Attacks that transfer from another run's network: planned, done and told with their source."""

import dataclasses
import json
from types import SimpleNamespace

import made_up
import pytest
import torch
from projects import SMOKE, edit, planned, record, snakemake
from tables import collected

from bench import data
from bench.runs import catalogue
from bench.runs.evaluations import Entry, read
from bench.runs.record import ConfigError, Record
from bench.runs.run import expand
from bench.runs.stage import stage
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import evaluate, running
from bench.stages.job import Job
from bench.tools import campaign
from report.page import command
from workflows.plan import Plan

ASKED = "pgd20"  # which the fixture below has transfer; it has no settings method and architecture


def suite(**changes):
    given = {"methods": ["fgsm"], "evaluations": [ASKED]}
    return parse_suite(read_yaml(made_up.ROOT / SMOKE[1]) | given | changes)


@pytest.fixture
def transfers(monkeypatch):
    """Let pgd be an attack that transfers."""
    original = catalogue.class_constant

    def constant(name, wanted, kind):
        return True if (name, wanted) == ("pgd", "transfers") else original(name, wanted, kind)

    monkeypatch.setattr(catalogue, "class_constant", constant)


@pytest.fixture
def plan(tmp_path, transfers):
    chosen = suite()
    return Plan(chosen, expand(chosen), data_dir="x", results=tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


def finish(plan):
    """Write all records; those of the source and of what it attacks have digests of their own."""
    for work in plan.work:
        letter = "a" if work.config.seed else "b"
        given = {}
        if work.stage.name == "train":
            given = {"weights": {"last": {"full": letter * 64}}}
        if work.stage.name == ASKED:
            source = dataclasses.replace(work.config, seed=1000).run_id
            given = {"digest": "b" * 64, "source": made_up.Source(
                run=source, digest="a" * 64, epochs=1, updates=2, train_seconds=1.0)}  # fmt: skip
        made_up.wanted(plan, work, **given).write(plan.file(work).parent)


def test_a_source_has_another_seed_and_what_the_settings_name(monkeypatch, transfers):
    (run,) = expand(suite())
    entry = read(ASKED)
    assert entry.source(run) == dataclasses.replace(run, seed=1000)
    named = dataclasses.replace(
        entry, settings=entry.settings | {"method": "sora", "architecture": "single_layer_cnn"}
    )
    other = named.source(run)
    assert (other.method, other.architecture, other.seed) == ("sora", "single_layer_cnn", 1000)
    (alone,) = expand(suite(methods=["sora"], architectures=["single_layer_cnn"], seeds=[1000],
                            width=None, evaluations=[]))  # fmt: skip
    assert other == alone
    assert read("pgd20-6_255").source(run) == entry.source(run)
    monkeypatch.undo()
    assert read(ASKED).source(run) is None


def test_a_source_is_trained_before_its_attack_and_not_attacked(plan):
    did = [(piece.stage, piece.work.config.seed) for piece in campaign.order([plan])]
    assert did.count(("train", 1000)) == 1
    assert did.index(("train", 1000)) < did.index((ASKED, 0))
    assert not {("autoattack", 1000), (ASKED, 1000)} & {*did}
    (run,) = plan.listed.values()
    (other,) = plan.others(ASKED)(SimpleNamespace(run=run.folder))
    source = dataclasses.replace(run, seed=1000)
    assert other == str(plan.results / "runs" / source.folder / "train.json")


def test_a_source_that_is_trained_again_makes_the_attack_stale_and_nothing_else(plan):
    finish(plan)
    assert plan.left == []
    (again,) = (w for w in plan.work if w.stage.name == "train" and w.config.seed)
    record = plan.record(again)
    body = dataclasses.replace(record.training, weights={"last": {"full": "x" * 64}})
    dataclasses.replace(record, training=body).write(plan.file(again).parent)
    assert [(w.stage.name, plan.why(w)) for w in plan.left] == [(ASKED, "stale weights")]


def test_a_source_is_checked_as_the_suites_own_runs_are(monkeypatch):
    monkeypatch.setattr(Entry, "source_method", "atas")
    with pytest.raises(ConfigError, match="atas cannot train in L2"):
        expand(suite(norms=["L2"]))
    monkeypatch.undo()
    monkeypatch.setattr(Entry, "source", lambda _, run: dataclasses.replace(run, train_images=129))
    with pytest.raises(ConfigError, match="129 training images of digits in batches of 64 leave"):
        expand(suite())


def do(run, folder, prepared, program, *words):
    given = ["--config", json.dumps(run.as_dict()), "--out", str(folder), "--device", "cpu"]
    running.main(program, [*given, "--data-dir", str(prepared), *words])


def test_the_images_are_made_on_the_source_and_judged_by_the_run(prepared, tmp_path, transfers):
    (run,) = expand(suite())
    source, tree = run.with_seed(1000), tmp_path / "runs"
    words = ("--evaluation", ASKED, "--images", "40")
    small = ("--test-images", "8", "--probe-images", "4")
    do(run, tree / run.folder, prepared, "train", *small)
    with pytest.raises(SystemExit, match=r"this run reads weights of fgsm seed 1000"):
        do(run, tree / run.folder, prepared, "evaluate", *words)
    do(source, tree / source.folder, prepared, "train", *small)
    do(run, tree / run.folder, prepared, "evaluate", *words)
    found = Record.read(tree / run.folder / f"{ASKED}.json").measure
    left = Record.read(tree / source.folder / "train.json").training
    assert found.source.run == source.run_id
    assert found.source.digest == left.weights["last"]["full"] != found.digest
    one = stage(ASKED)
    task = running.Task(one, run, one.defaults, tree / run.folder)
    assert tree / source.folder / "train.json" in task.reads  # and is locked with it

    seen = {}

    class Spy(type(evaluate.load(read(ASKED)))):
        def perturb(self, net, x, y, threat, draw):
            seen["source"] = net
            return super().perturb(net, x, y, threat, draw)

    job = Job(one, run, dataclasses.replace(one.defaults, images=8), tree / run.folder, prepared,
              torch.device("cpu"), lambda line: None)  # fmt: skip
    own, other = evaluate.prepare(job)
    assert own.digest == found.digest
    assert other.digest == found.source.digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load", lambda entry: Spy(**entry.settings))
        evaluate.work(job, (own, other))
    assert seen["source"] is other.net

    commands = command(next(r for r in collected(tmp_path) if r.config == run)).splitlines()
    (of_source,) = (i for i, line in enumerate(commands) if f"again/{source.run_id}" in line)
    (attacks,) = (i for i, line in enumerate(commands) if f"--evaluation {ASKED}" in line)
    assert of_source < attacks


TRANSFER = '''"""transfer: PGD on another run's network."""

from dataclasses import dataclass

from bench.method import Cost
from bench.ops import box, ce, pgd
from evaluation.attack import Attack


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """PGD-10 on a network that was trained apart.

    Meaning: % right under PGD-10 on a network of {method}
    """

    transfers = True
    names = {"transfer_{method}": "transfer from {method}"}

    method: str = "standard"

    cost = Cost(10, 10)

    def perturb(self, net, x, y, threat, draw):
        start = box(draw(threat.uniform, x), x)
        return x + pgd(ce(net, y), x, start, threat=threat, alpha=0.25, steps=10)[0]
'''


def test_an_attack_that_transfers_is_one_file(project):
    (project / "evaluation/attacks/transfer.py").write_text(TRANSFER)
    words = (*SMOKE, "--config", "methods=[fgsm]", "evaluations=[{attack: transfer}]")
    assert planned(project, *words) == {
        ("train", "standard"): 1, ("transfer_standard", "fgsm"): 1,
    }  # fmt: skip
    snakemake(project, *words)
    found, source = record(project, "fgsm", "transfer_standard"), record(project, "standard")
    assert source.config.seed == found.config.seed + 1000
    assert found.measure.source.run == source.run
    assert found.measure.settings == {"seed": 0, "method": "standard"}
    assert planned(project, *words) == {}
    edit(project / "methods/standard.py", "ce(net, batch.y)", "2 * ce(net, batch.y)")
    assert planned(project, *words) == {
        ("train", "standard"): 1, ("transfer_standard", "fgsm"): 1,
    }  # fmt: skip
    wrong = "evaluations=[{attack: transfer, method: standart}]"
    said = snakemake(project, *SMOKE, "--config", wrong, ok=False)
    assert "unknown method 'standart': did you mean standard" in said
