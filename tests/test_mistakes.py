"""Mistakes, as a user meets them: one paragraph each, and no traceback."""

import json
import re

import pytest
from projects import SMOKE, bench, copy, left, snakemake

from bench.runs import catalogue
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running

RUN = expand(parse_suite(read_yaml(catalogue.ROOT / SMOKE[1]) | {"methods": ["fgsm"]}))[0]


def test_mistakes_on_the_command_line_are_one_paragraph(project):
    words = ("methods=[zerogrd]", "datasets=[cifar]", "architectures=[small]", "epz=3", "eps=[0]")
    text = snakemake(project, *SMOKE, "-n", "--config", *words, ok=False)
    for said in (
        "unknown method 'zerogrd': did you mean zerograd?",
        "unknown data set 'cifar': did you mean cifar10 or cifar100?",
        "unknown architecture 'small': did you mean small_cnn?",
        "unknown key 'epz': did you mean eps?",
        "eps.0: Input should be greater than 0, given '0'",
    ):
        assert said in text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) < 12, text


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
