"""Snakemake itself, on a copy of the project: whole runs, edits and failures."""

import json
import re

import pytest
from projects import FULL, SMOKE, bench, copy, planned, record, snakemake

from bench.runs import catalogue
from bench.runs.record import Record

SUITES = [
    p for p in sorted((catalogue.ROOT / "workflows/config").glob("*.yaml")) if p.stem != "schema"
]
STAGES = ("train", "autoattack", "pgd50_10", "eps_sweep", "cost")


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_every_suite_plans(suite, tmp_path):
    said = snakemake(copy(tmp_path), "--configfile", str(suite), "-n", "-q", "rules")
    assert re.search(r"^autoattack +\d+$", said, re.MULTILINE)


def test_smoke_runs_every_stage_and_ends_in_a_page(smoke):
    for method in ("fgsm", "sora"):
        assert record(smoke, method).training.epochs == 2
        assert record(smoke, method, "autoattack").attack.n == 4
        assert record(smoke, method, "cost").expense.forward == 2
        assert record(smoke, method, "pgd50_10").measure.scores["pgd50_10"].n == 4
        assert len(record(smoke, method, "eps_sweep").measure.scores) == 2 * (33 + 7)
        assert record(smoke, method).data.official
    for kind in ("html", "md", "csv"):
        assert "sora" in (smoke / f"results/leaderboard.{kind}").read_text()
    assert list((smoke / "results/tables").glob("*.tex"))
    assert not list((smoke / "results/runs").rglob("state"))


def test_an_update_of_free_at_costs_one_pass_each_way(project):
    config = record(project, "fgsm").config.as_dict() | {"method": "free_at", "settings": {}}
    bench(project, "cost", "--config", json.dumps(config), "--out", "free")
    expense = Record.read(project / "free/cost.json").expense
    assert (expense.forward, expense.backward) == (1, 1)
    assert (expense.declared_forward, expense.declared_backward) == (1, 1)
    assert expense.time_ratio < 1


def test_pictures_and_weights_start_alike_for_every_method(smoke):
    one, two = (record(smoke, method) for method in ("fgsm", "sora"))
    assert one.data == two.data
    assert one.run != two.run


def test_what_is_done_stays_done(project):
    assert planned(project, *SMOKE) == {}


def test_rewording_a_method_reruns_nothing(project):
    path = project / "methods/sora.py"
    path.write_text(path.read_text().replace("Single-step attack, shortened", "An attack, cut"))
    assert planned(project, *SMOKE) == {}


def test_the_whole_grid_of_the_paper_is_planned(project):  # in 8 s on a quiet machine of 2 cores
    paper = ("--configfile", "workflows/config/paper.yaml")
    text = snakemake(project, *paper, "--dry-run", "--quiet", "rules", "host", "reason")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE))
    assert counts["train"] == counts["autoattack"] == str(16 * 6 * 5 * 3)
    assert counts["cost"] == str(16 * 6 * 5)
    assert counts["data"] == "6"


def test_editing_a_method_reruns_that_method_only(project):
    path = project / "methods/sora.py"
    path.write_text(path.read_text().replace("tau: float = 0.02", "tau: float = 0.03"))
    jobs = planned(project, *SMOKE)
    assert {method for _, method in jobs} == {"sora"}
    path.write_text(
        path.read_text().replace("0.03", "0.02").replace("clamp(-1, 1)", "clamp(-1, 2)")
    )
    jobs = planned(project, *FULL)
    assert jobs == {(stage, "sora"): 1 for stage in STAGES}


def test_words_are_all_ops_but_code_there_reruns_every_method(project):
    path = project / "bench/ops.py"
    path.write_text(path.read_text().replace("return (x + d).clamp(0, 1) - x", "return d"))
    assert {method for _, method in planned(project, *SMOKE)} == {"fgsm", "sora"}


def test_a_half_way_page_does_not_count_as_done(tmp_path):
    folder = copy(tmp_path)
    snakemake(folder, "report", *SMOKE)
    assert "not run" in (folder / "results/leaderboard.html").read_text()
    assert ("train", "sora") in planned(folder, *SMOKE)


def test_moving_the_data_reruns_nothing(project):
    (project / ".data").rename(project / "elsewhere")
    assert planned(project, *SMOKE, "--config", "data_dir=elsewhere") == {}


BROKEN = '''"""Broken: fails while a file called fail lies about."""

from dataclasses import dataclass
from pathlib import Path

from bench.method import Cost, Method
from bench.ops import ce


@dataclass(frozen=True, kw_only=True)
class Broken(Method):
    """Source: none. Shapes: none. Cost: none. Differs: none."""

    cost = Cost(forward=1, backward=1)

    def step(self, net, batch, state, descend):
        if Path("fail").exists():
            raise RuntimeError("it <b>broke</b>")
        descend(ce(net, batch.y), at=batch.x)
'''


def test_a_failure_is_recorded_stops_nobody_and_is_retried_when_asked(project):
    (project / "methods/broken.py").write_text(BROKEN)
    (project / "fail").touch()
    words = (*SMOKE, "--config", "methods=[fgsm,broken]")
    snakemake(project, *words)
    failed = record(project, "broken")
    assert (failed.status, failed.attempt) == ("failed", 1)
    assert failed.reason == "RuntimeError: it <b>broke</b>"
    assert record(project, "broken", "autoattack").status == "skipped"
    page = (project / "results/leaderboard.html").read_text()
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page
    (log,) = (project / "results/logs/digits/small_cnn/broken").glob("*/train.log")
    assert "Traceback" in log.read_text()

    assert planned(project, *words) == {}
    text = snakemake(project, *words, "strict=true", ok=False)
    assert "it <b>broke</b>" in text

    (project / "fail").unlink()
    snakemake(project, *words, "retry_failed=true")
    assert record(project, "broken").status == "done"
    assert record(project, "broken", "autoattack").status == "done"
    assert planned(project, *words) == {}


def test_one_failing_data_set_still_renders_the_page(project):
    words = ("--configfile", "workflows/config/smoke.yaml", "--config", "datasets=[cifar10,digits]")
    text = snakemake(project, *words, "data_dir=empty", ok=False)
    assert "there is no empty/cifar-10-python.tar.gz" in text
    assert "preact" not in text
    page = (project / "results/leaderboard.html").read_text()
    assert "cifar10" in page
    assert "not run" in page
