"""Weights are tied to the record of their training, and what is attacked is named."""

import dataclasses
import hashlib
import json

import pytest
import torch
from safetensors.torch import load

from bench import checkpoint, data
from bench.runs.catalogue import ROOT
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running

SMOKE = read_yaml(ROOT / "workflows/config/smoke.yaml")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


def do(program, run, folder, *words, **changes):
    """Do a stage of the smoke suite's first run; return its record."""
    config = expand(parse_suite(SMOKE | {"train_images": 64} | changes))[0]
    given = ["--config", json.dumps(config.as_dict()), "--out", str(run), "--device", "cpu"]
    running.main(program, [*given, "--data-dir", str(folder), *words])
    name = words[1] if program == "evaluate" else {"attack": "autoattack"}.get(program, program)
    return Record.read(run / f"{name}.json")


@pytest.fixture
def trained(prepared, tmp_path):
    record = do("train", tmp_path, prepared, "--test-images", "8", "--probe-images", "4")
    return tmp_path, record.training.weights["last"]


EVALUATE = ("evaluate", "--evaluation", "pgd50_10", "--images", "4")


def evaluated(run, prepared):
    program, *words = EVALUATE
    return do(program, run, prepared, *words).measure


def test_an_evaluation_names_the_weights_that_training_left(trained, prepared):
    run, known = trained
    assert evaluated(run, prepared).digest == known["full"]


def test_the_copy_in_half_precision_will_do_and_is_named(trained, prepared):
    run, known = trained
    path = run / "model.safetensors"
    path.write_bytes(checkpoint.half(path.read_bytes()))
    assert evaluated(run, prepared).digest == known["half"] != known["full"]


def test_a_flipped_bit_is_refused_and_leaves_no_record(trained, prepared):
    run, _ = trained
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"holds other weights than train\.json names"):
        evaluated(run, prepared)
    assert not (run / "pgd50_10.json").exists()


def test_a_record_of_before_names_no_weights_and_takes_any(trained, prepared):
    run, known = trained
    record = Record.read(run / "train.json")
    old = dataclasses.replace(record.training, weights={})
    dataclasses.replace(record, training=old).write(run)
    assert evaluated(run, prepared).digest == known["full"]


def test_weights_kept_in_half_precision_are_attacked_and_named_as_such(prepared, tmp_path):
    words = ("--test-images", "8", "--probe-images", "4", "--keep-weights", "half")
    record = do("train", tmp_path, prepared, *words)
    known = record.training.weights["last"]
    content = (tmp_path / "model.safetensors").read_bytes()
    assert {t.dtype for t in load(content).values() if t.is_floating_point()} == {torch.float16}
    assert hashlib.sha256(content).hexdigest() == known["half"]
    assert evaluated(tmp_path, prepared).digest == known["half"]
    assert do("train", tmp_path, prepared, *words[:4]) == record, "other files make nothing stale"
