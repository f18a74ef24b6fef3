"""What a plan, a campaign and Snakemake's start say of a machine before work begins."""

import shutil
import subprocess
import sys

import made_up
import pytest
from projects import FULL, copy, snakemake

from bench.runs import catalogue
from bench.runs.catalogue import ROOT, published_width
from bench.runs.record import TRAIN
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import machine
from bench.tools import campaign, cautions, memory
from bench.tools import plan as command
from workflows.plan import Plan

UNITS = machine.has_bf16_units()  # this machine's own
SMOKE = read_yaml(ROOT / "workflows/config/smoke.yaml")


def plan(results, **changes):
    suite = parse_suite(SMOKE | changes)
    return Plan(suite, expand(suite), data_dir="x", results=results)


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    """A CPU without units for bf16, beside an empty disk, and no GPU."""
    monkeypatch.setattr(machine, "has_bf16_units", lambda: False)
    monkeypatch.setattr(cautions, "visible_gpus", lambda environ: [])
    disk(monkeypatch, 10**15)


def disk(monkeypatch, free):
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(cautions.shutil, "disk_usage", lambda place: usage)


def test_nothing_is_said_where_nothing_lacks(tmp_path):
    assert cautions.cautions(plan(tmp_path)) == []


def test_data_that_autoattack_cannot_rank_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "classes", lambda dataset: 3)
    (said,) = cautions.cautions(plan(tmp_path))
    assert said.startswith(
        "digits: AutoAttack's targeted DLR loss needs 4 classes or more, so data"
    )
    monkeypatch.setattr(catalogue, "classes", lambda dataset: None)
    assert cautions.cautions(plan(tmp_path)) == []


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"attack_mode": "fast"}])
def test_bf16_that_a_cpu_emulates_is_said_in_one_line(tmp_path, monkeypatch, changes):
    one = plan(tmp_path, **changes)
    (said,) = cautions.cautions(one)
    uses = [machine.uses_bf16(w.stage, w.config, one.options(w)) for w in one.work]
    assert 0 < sum(uses) < len(uses)
    assert said.startswith(f"bf16, in {sum(uses)} of {len(uses)} stages left: this CPU has no")
    assert "\n" not in said
    assert cautions.cautions(one, here=False) == []  # a cluster's machines are others
    monkeypatch.setattr(cautions, "visible_gpus", lambda environ: ["0"])
    assert cautions.cautions(one) == []
    monkeypatch.setattr(cautions, "visible_gpus", lambda environ: [])
    monkeypatch.setattr(machine, "has_bf16_units", lambda: True)
    assert cautions.cautions(one) == []


def test_weights_that_find_no_room_are_said(tmp_path, monkeypatch):
    one = plan(tmp_path / "not/yet/there")
    needed = memory.weights_bytes(one.runs.values())
    disk(monkeypatch, needed)
    assert cautions.cautions(one) == []
    disk(monkeypatch, needed - 1)
    (said,) = cautions.cautions(one, here=False)
    assert said.startswith(f"disk: the weights of {len(one.runs)} trainings left take < 1 MB")
    assert f"and {tmp_path} has" in said


def test_weights_that_are_there_take_no_more(tmp_path, monkeypatch):
    one = plan(tmp_path)
    disk(monkeypatch, 0)
    for work in one.work:
        if work.stage.name == TRAIN:
            made_up.wanted(one, work).write(one.file(work).parent)
    assert cautions.cautions(one) == []


@pytest.mark.parametrize("architecture", catalogue.names("bench/models"))
def test_no_network_has_more_weights_than_the_bound(architecture):
    """On it a plan relies that does not count them."""
    width = published_width(architecture)
    (run,) = expand(
        parse_suite(SMOKE | {"methods": ["fgsm"], "datasets": ["tiny_imagenet"],
                             "architectures": [architecture], "width": width})
    )  # fmt: skip
    assert memory.weights_bytes([run]) < cautions.MOST_WEIGHTS


def test_a_roomy_disk_is_told_without_torch():
    code = (
        "import sys; from pathlib import Path\n"
        "from bench.runs.run import expand; from bench.runs.suite import parse_suite\n"
        "from bench.tools.cautions import cautions; from workflows.plan import Plan\n"
        "import shutil; shutil.disk_usage = lambda place: shutil._ntuple_diskusage(0, 0, 10**15)\n"
        "suite = parse_suite({}); cautions(Plan(suite, expand(suite), data_dir='x', "
        "results=Path('no-such-results')))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_plan_says_them(tmp_path, capsys):
    command.main(["--suite", str(ROOT / "workflows/config/smoke.yaml"),
                  "--config", "precision=bf16", "--results", str(tmp_path)])  # fmt: skip
    assert capsys.readouterr().out.count(machine.SLOW_BF16) == 1


def test_a_campaign_says_them(tmp_path, capsys):
    suite = tmp_path / "suite.yaml"
    suite.write_text((ROOT / "workflows/config/smoke.yaml").read_text() + "attack_mode: fast\n")
    campaign.main(["--suite", str(suite), "--minutes", "1e-9", "--data-dir", str(tmp_path),
                   "--results", str(tmp_path)])  # fmt: skip
    assert capsys.readouterr().err.count(machine.SLOW_BF16) == 1


def test_snakemake_says_them_as_it_starts(tmp_path):
    project = copy(tmp_path / "project")
    said = snakemake(project, "--dry-run", *FULL, "--config", "precision=bf16")
    assert said.count(machine.SLOW_BF16) == (not UNITS)
