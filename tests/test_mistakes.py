"""Mistakes, as a user meets them: one paragraph each, and no traceback."""

import json
import math
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from projects import SMOKE, bench, copy, left, snakemake

from bench.runs import catalogue
from bench.runs.record import ConfigError
from bench.runs.run import expand, parse_run
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running
from bench.tools import benchmark, campaign, method, verify
from bench.tools import plan as planner
from report import render

RUN = expand(parse_suite(read_yaml(catalogue.ROOT / SMOKE[1]) | {"methods": ["fgsm"]}))[0]


def test_mistakes_on_the_command_line_are_one_paragraph(project):
    words = ("methods=[zerogrd]", "datasets=[cifar]", "architectures=[small]", "epz=3", "eps=[0]")
    text = snakemake(project, *SMOKE, "-n", "--config", *words, ok=False)
    for said in (
        "unknown method 'zerogrd': did you mean zerograd?",
        "unknown data set 'cifar': did you mean cifar10 or cifar100?",
        "unknown architecture 'small': did you mean small_cnn?",
        "unknown key 'epz': did you mean eps?",
        "eps.0: Input should be greater than 0, given 0",
    ):
        assert said in text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) < 12, text


def test_a_key_that_stands_twice_is_refused_where_snakemake_reads_the_suite(project, tmp_path):
    suite = tmp_path / "twice.yaml"
    suite.write_text((project / SMOKE[1]).read_text() + "seeds: [1]\n")
    text = snakemake(project, "--configfile", str(suite), "-n", ok=False)
    assert "this is no YAML: the key 'seeds' stands twice; leave one out" in text
    assert "Traceback" not in text


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=catalogue.ROOT, stdout=writing,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == -signal.SIGPIPE
    assert done.stderr == b""


def test_a_broken_method_is_told_in_a_sentence_and_only_where_it_is_used(tmp_path):
    folder = copy(tmp_path)
    code = (folder / "methods/fgsm.py").read_text()
    (folder / "methods/broken.py").write_text(code.replace("(Method)", "(Method"))
    said = snakemake(folder, *SMOKE, "--config", "methods=[broken]", "--dry-run", ok=False)
    assert re.search(r"methods/broken.py, line \d+: this is no Python: ", said)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 5
    assert left(folder, *SMOKE)


def test_missing_data_are_named_with_the_command_that_makes_them(project):
    words = ("--config", json.dumps(RUN.as_dict()), "--out", "x", "--data-dir", "nowhere")
    said = bench(project, "train", *words, code=1)
    assert (
        "nowhere/prepared/digits.safetensors is missing; run: python -m bench data digits" in said
    )
    assert not (project / "x/train.json").exists()


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What a stage's program says when it ends, without a process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(program, *words, **changes):
        given = ["--config", json.dumps(RUN.as_dict() | changes), "--device", "cpu"]
        with pytest.raises(SystemExit) as caught:
            running.main(program, [*given, *words])
        assert isinstance(caught.value.code, str), "the exit code is 1 where it is a message"
        return caught.value.code

    return run


def test_a_results_folder_that_cannot_be_written_is_named(told, tmp_path):
    (tmp_path / "plain-file").touch()
    said = told("train", "--out", "plain-file/run")
    assert "cannot write to plain-file/run" in said
    assert "make it writable" in said


def test_attacking_what_was_not_trained_says_so(told):
    assert "x/train.json is missing; train the run first" in told("attack", "--out", "x")


def test_damaged_weights_are_named(told, project):
    (run,) = (project / "results/runs/digits/small_cnn/fgsm").iterdir()
    (run / "autoattack.json").unlink()
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    said = told("attack", "--out", str(run), "--data-dir", str(project / ".data"))
    assert "model.safetensors cannot be read as this run's weights" in said
    assert "train the run again" in said


def test_a_method_edited_after_planning_is_not_run_under_the_old_name(told):
    said = told("train", "--out", "x", "--code", "0123456789ab")
    assert "methods/fgsm.py was edited after this run was planned" in said


@pytest.mark.parametrize("eps", ["0/255", "-8/255", "eight"])
def test_a_radius_of_nonsense_by_hand_is_refused(told, eps):
    said = told("train", "--out", "x", eps=eps)
    assert "eps" in said
    assert "8/255" in said


@pytest.mark.parametrize(
    ("eps", "text"),
    [(8, "8/255"), ("8", "8/255"), ("8/255", "8/255"), ("8.0/255", "8/255"), (7.65, "7.65/255")],
)
def test_a_radius_by_hand_counts_in_levels_however_it_is_written(eps, text):
    assert parse_run(json.dumps(RUN.as_dict() | {"eps": eps})).eps == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": [1}', "the configuration is no JSON: Expecting"),
        ('{"a": ' + "[" * 100_000, "the configuration is nested too deep to be read"),
        (f'{{"a": {"1" * 5000}}}', "the configuration is no JSON: Exceeds the limit"),
        ("nowhere.yaml", "there is no file nowhere.yaml"),
        ("x" * 300, "cannot be read: File name too long"),
        (".", "there is no file ."),
        ({"eps": 10**400}, "eps is too large"),
        ({"eps": 0.031}, "eps counts in 1/255, and 0.031 is less than half of that; meant 7.9?"),
        ({"eps": "1/4"}, "eps counts in 1/255, and '1/4' does not; write 8 or 8/255"),
        ({"eps": True}, "run.eps: Input should be a valid string, given True"),
        ({"seed": True}, "run.seed: Input should be a valid integer, given True"),
        (
            {"protocol": RUN.protocol | {"momentum_start": 2}},
            "momentum_start: Input should be less",
        ),
        (
            {"protocol": RUN.protocol | {"momentum_peak": -1}},
            "momentum_peak: Input should be great",
        ),
        ({"protocol": RUN.protocol | {"epochs": 0}}, "protocol.epochs: Input should be greater"),
        ({"protocol": RUN.protocol | {"lr_peak": math.inf}}, "protocol.lr_peak: "),
        ({"protocol": RUN.protocol | {"weight_decay": -1}}, "protocol.weight_decay: Input should"),
        ({"protocol": RUN.protocol | {"ema": 2}}, "protocol.ema: Input should be less than or"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_run_by_hand_that_cannot_be_is_refused_in_a_sentence(text, said):
    text = text if isinstance(text, str) else json.dumps(RUN.as_dict() | text)
    with pytest.raises(ConfigError) as caught:
        parse_run(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


NO_MARKS = "the text lacks the lines"
NO_NAME = "no method can be named"


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        (verify, "run --batch 0", "0 is not 1 or more"),
        (verify, "run --images -3", "-3 is not 1 or more"),
        (verify, "run --seed -1", "-1 is not 0 or more"),
        (verify, f"run --seed {10**30}", "is not below 2,147,483,648"),
        (campaign, "--suite smoke --minutes nan", "nan is not 0 or more"),
        (campaign, "--suite smoke --minutes inf", "inf is not below 2,147,483,648"),
        (campaign, "--suite smoke --minutes 0", "--minutes must be more than 0"),
        (campaign, "--suite smokes --minutes 1", "unknown suite 'smokes': did you mean smoke?"),
        (campaign, "--suite no.yaml --minutes 1", "there is no file no.yaml"),
        (campaign, "--suite smoke --minutes 1 --archive .", "--archive: . is a folder"),
        (planner, "--config seeds", "--config seeds has no value; write seeds=VALUE"),
        (planner, "--config seeds=[", "--config seeds, line 1: this is no YAML"),
        (planner, "--suite no.yaml", "there is no file no.yaml"),
        (planner, "--results plain.md", "plain.md is a file; give a folder"),
        (planner, "--suite smokes", "unknown suite 'smokes': did you mean smoke?"),
        (planner, "--readme no.md", "No such file or directory: 'no.md'"),
        (planner, "--readme plain.md", NO_MARKS),
        (render, "--readme no.md", "No such file or directory: 'no.md'"),
        (render, "--readme plain.md", NO_MARKS),
        (benchmark, "--out x.json --steps 0", "0 is not 1 or more"),
        (benchmark, "--out x.json --threads 0", "0 is not 1 or more"),
        (benchmark, "--out x.json --width 0", "0 is not 1 or more"),
        (benchmark, "--out x.json --dataset cifar", "benchmark: unknown dataset 'cifar': did you"),
        (benchmark, "--out x.json --engines fast", "benchmark: unknown engine 'fast': choose from"),
        (benchmark, "--out x.json --precisions fp8", "benchmark: run.precision: Input should be"),
        (benchmark, "--out .", "--out: . is a folder"),
        (method, "new none", f"{NO_NAME} 'none', because None is a word of Python"),
        (method, "new class", f"{NO_NAME} 'class', because class is a word of Python"),
        (method, "new method", f"{NO_NAME} 'method', because Method is a word of Python"),
        (method, "new Mine", f"{NO_NAME} 'Mine'; use lower snake case"),
        (method, "new " + "x" * 300, "; use lower snake case, 40 characters at most"),
        (method, "new true --kind attack", "no attack can be named 'true', because True is"),
        (method, "new import --kind diagnostic", "no diagnostic can be named 'import', because"),
        (campaign, "--suite smoke --minutes 1 --device cuda", "but torch finds no GPU; use --dev"),
        (render, "--results plain.md", "cannot write to plain.md"),
        (planner, "--config width=2147483647", "small_cnn of width 2147483647 cannot be made here"),
    ],
)  # fmt: skip
def test_a_wrong_call_of_a_program_is_told_in_a_sentence(
    tmp_path, monkeypatch, capsys, program, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.md").write_text("no marks")
    monkeypatch.setattr(planner, "readme", lambda *_: pytest.fail("counted for nothing"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as caught:
        program.main(words.split())
    told = f"{capsys.readouterr().err}{caught.value.code}"
    assert said in told
    assert caught.value.code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.md"]
