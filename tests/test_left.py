"""What is left, to Snakemake, a plan and a campaign alike: each run with one record changed."""

import shutil

import made_up
from projects import SMOKE, left

from bench.runs import catalogue
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.tools import campaign
from workflows.plan import Plan

CHANGES = [
    ("train", {}, []),
    ("train", {"origin": made_up.ORIGIN}, ["train", "autoattack", "pgd50_10"]),  # another code
    ("train", dict.fromkeys(("clean", "fgsm", "pgd10"), made_up.Score(accuracy=50.0, n=49)),
     ["train", "autoattack", "pgd50_10"]),
    ("train", {"probe_images": 8}, ["train", "autoattack", "pgd50_10"]),
    ("train", {"status": "failed", "reason": "x"}, []),
    ("train", {"status": "failed", "reason": "x", "options": {"probe_images": 8}},
     ["train", "autoattack", "pgd50_10"]),
    ("train", None, ["train", "autoattack", "pgd50_10"]),  # missing
    ("autoattack", {"origin": made_up.ORIGIN}, ["autoattack"]),
    ("autoattack", {"n": 3}, ["autoattack"]),
    ("autoattack", {"n": 5}, ["autoattack"]),
    ("autoattack", {"batch": 2}, ["autoattack"]),
    ("autoattack", {"mode": "fast"}, ["autoattack"]),
    ("autoattack", {"seed": 1}, ["autoattack"]),
    ("autoattack", {"weights": "best"}, ["autoattack"]),
    ("autoattack", {"status": "oom", "reason": "x"}, []),
    ("autoattack", {"status": "skipped", "reason": "x"}, ["autoattack"]),  # its training is there
    ("autoattack", None, ["autoattack"]),
    ("pgd50_10", {"origin": made_up.ORIGIN}, ["pgd50_10"]),
    ("pgd50_10", {"settings": {"seed": 1}}, ["pgd50_10"]),
    ("pgd50_10", {"settings": {"weights": "best"}}, ["pgd50_10"]),
    ("pgd50_10", {"scores": {"pgd50_10": made_up.Score(accuracy=50.0, n=5)}}, ["pgd50_10"]),
    ("pgd50_10", None, ["pgd50_10"]),
]  # fmt: skip
RETRIED = [("train", ["train", "autoattack", "pgd50_10"]), ("autoattack", ["autoattack"])]


def changed(project):
    """Write the records of a suite with as many runs as there are changes, and return its plan."""
    seeds = f"seeds={list(range(len(CHANGES)))}"
    over = {"methods": ["fgsm"], "seeds": list(range(len(CHANGES))), "evaluations": ["pgd50_10"]}
    suite = parse_suite(read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml") | over)
    plan = Plan(suite, expand(suite), data_dir=".data", results=project / "results")
    shutil.rmtree(plan.results / "runs")
    for work in plan.work:  # in this order, as jobs do: a source is no younger than what reads it
        name, change, _ = CHANGES[work.config.seed]
        if name != work.stage.name:
            change = {}
        if work.stage.name == "cost":
            change = {"repetitions": 4}
        if change is not None:
            made_up.wanted(plan, work, **change).write(plan.file(work).parent)
    words = [*SMOKE, "--config", "methods=[fgsm]", seeds, "evaluations=[pgd50_10]"]
    return plan, words


WHY = {1: "stale code", 2: "stale options", 3: "stale options", 5: "stale options", 6: "new",
       15: "skipped before", 16: "new"}  # fmt: skip


def test_a_plan_knows_why_a_stage_is_left(project):
    plan, _ = changed(project)
    for seed, reason in WHY.items():
        works = {work.stage.name: work for work in plan.work if work.config.seed == seed}
        assert plan.why(works[CHANGES[seed][0]]) == reason
        if CHANGES[seed][0] == "train":
            assert plan.why(works["autoattack"]) == "reads what is left"
    assert plan.why(plan.work[0]) is None
    again = Plan(plan.suite.model_copy(update={"again": True}), plan.runs.values(),
                 data_dir=".data", results=plan.results)  # fmt: skip
    assert again.why(again.work[0]) == "again"


def seeds_of(works):
    return sorted((work.config.seed, work.stage.name) for work in works)


def test_everybody_has_the_same_left_to_do(project):
    plan, words = changed(project)
    expected = [(i, name) for i, (_, _, names) in enumerate(CHANGES) for name in names]
    expected.append((0, "cost"))
    assert seeds_of(plan.left) == sorted(expected)
    assert seeds_of(one.work for one in campaign.left(campaign.order([plan]))) == sorted(expected)
    by_name = sorted((work.config.folder, work.stage.name) for work in plan.left)
    assert sorted(left(project, *words)) == by_name
    shutil.rmtree(project / ".snakemake")  # as where results came by rsync, or in an archive
    assert sorted(left(project, *words)) == by_name


def test_everybody_tries_the_same_failures_again(project):
    plan, words = changed(project)
    suite = plan.suite.model_copy(update={"retry_failed": True})
    again = Plan(suite, plan.runs.values(), data_dir=".data", results=plan.results)
    more = sorted({*seeds_of(again.left)} - {*seeds_of(plan.left)})
    failures = [i for i, (_, change, names) in enumerate(CHANGES) if change and not names]
    assert more == [(i, name) for i, (_, names) in zip(failures, RETRIED, strict=True)
                    for name in sorted(names)]  # fmt: skip
    by_name = sorted((work.config.folder, work.stage.name) for work in again.left)
    pieces = campaign.left(campaign.order([again]))
    assert sorted((one.work.config.folder, one.stage) for one in pieces) == by_name
    assert sorted(left(project, *words, "retry_failed=true")) == by_name
