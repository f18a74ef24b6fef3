"""Weights beside records: the page says where they are not those that training left."""

import dataclasses
import hashlib

import pytest
from made_up import config, done, training, write

from report import render, weights


@pytest.fixture
def results(tmp_path):
    """A run with its weights, one whose weights are gone, and one of before they were named."""
    for method in ("sora", "fgsm", "pgd10"):
        done(tmp_path / "runs", config(method), aa=30.0)
    for method in ("sora", "fgsm"):
        named = {"last": {"full": hashlib.sha256(b"trained").hexdigest()}}
        body = dataclasses.replace(training(), weights=named)
        write(tmp_path / "runs", config(method), "train", training=body)
    for method in ("sora", "pgd10"):
        (tmp_path / "runs" / config(method).folder / "model.safetensors").write_bytes(b"trained")
    return tmp_path


def found(results):
    groups, records = render.gather(results)
    badges = {row.method: [text for text, _ in row.badges] for row in groups[0].rows}
    return badges, {run.config.method: run.weights for run in records.runs}


def test_the_page_tells_sound_weights_from_none_and_from_unnamed_ones(results):
    badges, states = found(results)
    assert states == {"sora": weights.SOUND, "fgsm": weights.ABSENT, "pgd10": weights.UNKNOWN}
    assert all("weights changed" not in of for of in badges.values())


def test_a_flipped_bit_is_a_badge_of_its_row(results):
    (results / "runs" / config("sora").folder / "model.safetensors").write_bytes(b"trainee")
    badges, states = found(results)
    assert states["sora"] == weights.CHANGED
    assert [method for method, of in badges.items() if "weights changed" in of] == ["sora"]


def test_what_is_too_much_to_read_is_said_not_to_be_compared(results):
    _, records = render.gather(results)
    weights.check(records.runs, budget=3)
    (sora,) = (run for run in records.runs if run.config.method == "sora")
    assert sora.weights == weights.UNREAD
