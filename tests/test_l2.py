"""Runs in L2 from the suite to the page, beside those in Linf."""

import json
import re
import sys

import pytest
import torch
from killed import kill
from made_up import config, done
from projects import SMOKE, copy, record, snakemake
from tables import tables

from bench import data
from bench.runs import catalogue
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.stage import TrainOptions, stage
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running, train
from bench.stages.job import Job
from methods import load
from report import render

EPS = 1.0
SMOKE_SUITE = catalogue.ROOT / SMOKE[1]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


@pytest.mark.parametrize("method", ["fgsm", "n_fgsm", "pgd10", "sora", "trades"])
def test_a_method_trains_in_l2_and_stays_in_its_reach(method, digits, tmp_path, monkeypatch):
    given = read_yaml(SMOKE_SUITE) | {"methods": method, "norms": "L2", "eps_l2": EPS}
    (run,) = expand(parse_suite(given))
    words = ["--config", json.dumps(run.as_dict()), "--out", str(tmp_path), "--data-dir"]
    words += [str(digits), "--device", "cpu", "--probe-images", "8", "--test-images", "8"]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    running.main("train")
    found = Record.read(tmp_path / "train.json")
    assert (found.status, found.config.norm, found.config.eps) == ("done", "L2", "1")
    reach = max(epoch.reach for epoch in found.training.curves)
    # an L-inf step of eps, on the 64 pixels of a digit, would reach 8
    assert 0.5 < reach <= load(method)(norm="L2", eps=EPS, **run.settings).reach + 1e-4


def test_an_l2_run_that_is_killed_ends_as_one_that_is_not(digits, tmp_path):
    given = read_yaml(SMOKE_SUITE) | {"methods": "sora", "norms": "L2", "eps_l2": EPS}
    (run,) = expand(parse_suite(given))
    options = TrainOptions(probe_images=8, test_images=8, checkpoint_seconds=0)

    def job(name):
        return Job(stage("train"), run, options, tmp_path / name, digits, torch.device("cpu"),
                   lambda line: None)  # fmt: skip

    found = {}
    for name in ("whole", "cut"):
        if name == "cut":
            kill(train.prepare(job(name)).trainer, at=3)
        _, found[name] = train.work(job(name), train.prepare(job(name)))
    whole, cut = found.values()
    assert (whole.resumed, cut.resumed) == (0, 1)
    assert (cut.weights, cut.curves, cut.pgd10) == (whole.weights, whole.curves, whole.pgd10)


def test_an_l2_suite_runs_to_its_page(tmp_path):
    project = copy(tmp_path / "project")
    changes = ("norms=[L2]", "eps_l2=[0.5]", "methods=[sora]", "attack_images=2")
    said = snakemake(project, *SMOKE, "--config", *changes, "evaluations=[eps_sweep]")
    assert "digits, small_cnn, L2 0.5, smoke, width 4" in said
    attack = record(project, "sora", "autoattack").attack
    assert list(attack.after) == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]
    assert record(project, "sora", "cost").expense.time_ratio > 0
    swept = record(project, "sora", "eps_sweep").measure.scores
    assert {"fgsm 0/32 eps", "pgd10 40/32 eps"} <= swept.keys()
    assert "1/32 eps" in (project / "results/leaderboard.html").read_text()
    assert list((project / "results/tables").glob("digits-small_cnn-L2_0.5-*.tex"))


def test_a_table_never_mixes_norms_and_says_its_own(tmp_path):
    runs = tmp_path / "runs"
    for method in ("fgsm", "sora"):
        done(runs, config(method), aa=30.0)
    done(runs, config("sora", norm="L2", eps="0.2"), aa=40.0)  # 0.2 = 51/255
    found = {group.name: [row.label for row in group.rows] for group in tables(tmp_path)}
    assert found == {
        "digits, small_cnn, Linf 51/255, smoke, width 16": ["fgsm", "sora"],
        "digits, small_cnn, L2 0.2, smoke, width 16": ["sora"],
    }
    assert len({group.key for group in tables(tmp_path)}) == 2
    render.render(tmp_path)
    names = sorted(path.name for path in (tmp_path / "tables").iterdir())
    assert len(names) == 2 and names[1].startswith("digits-small_cnn-L2_0.2-smoke")
    heads = re.findall(r"^## (.*)$", (tmp_path / "leaderboard.md").read_text(), re.MULTILINE)
    assert heads[:2] == [f"{name}, 100 images" for name in found]
