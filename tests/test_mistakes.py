"""Mistakes, as a user meets them: one paragraph each, and no traceback."""

import json

import pytest
from projects import SMOKE, bench, record, snakemake


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("methods=[soar]",), "unknown method 'soar': did you mean sora?"),
        (("datasets=[cifar]",), "unknown data set 'cifar': did you mean cifar10 or cifar100?"),
        (("architectures=[small]",), "unknown architecture 'small': did you mean small_cnn?"),
        (("epz=3",), "unknown key 'epz': did you mean eps?"),
        (("eps=[0]",), "eps.0: Input should be greater than 0, given '0'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_paragraph(project, words, said):
    text = snakemake(project, *SMOKE, "-n", "--config", *words, ok=False)
    assert said in text
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) < 12, text


def stage(folder, module, *words, config=None):
    text = json.dumps(config or record(folder, "fgsm").config.as_dict())
    return bench(folder, module, "--config", text, *words, code=1)


def test_missing_data_are_named_with_the_command_that_makes_them(project):
    said = stage(project, "train", "--out", "x/a", "--data-dir", "nowhere")
    assert (
        "nowhere/prepared/digits.safetensors is missing; run: python -m bench data digits" in said
    )
    assert not (project / "x/a/train.json").exists()


def test_a_results_folder_that_cannot_be_written_is_named(project):
    (project / "plain-file").touch()
    said = stage(project, "train", "--out", "plain-file/run")
    assert "cannot write to plain-file/run" in said
    assert "make it writable" in said


def test_attacking_what_was_not_trained_says_so(project):
    said = stage(project, "attack", "--out", "x/b")
    assert "x/b/train.json is missing; train the run first" in said


def test_damaged_weights_are_named(project):
    (run,) = (project / "results/runs/digits/small_cnn/fgsm").iterdir()
    (run / "autoattack.json").unlink()
    weights = run / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    said = stage(project, "attack", "--out", str(run), "--images", "4", "--batch", "4")
    assert "model.safetensors cannot be read as this run's weights" in said
    assert "train the run again" in said


def test_a_method_edited_after_planning_is_not_run_under_the_old_name(project):
    said = stage(project, "train", "--out", "x/c", "--code", "0123456789ab")
    assert "methods/fgsm.py was edited after this run was planned" in said


def test_a_radius_of_nonsense_by_hand_is_refused(project):
    config = record(project, "fgsm").config.as_dict()
    for eps in ("0/255", "-8/255", "eight"):
        said = stage(project, "train", "--out", "x/d", config=config | {"eps": eps})
        assert "eps" in said
        assert "8/255" in said
