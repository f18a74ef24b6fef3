"""Records: what is written reads back, and what cannot be true is refused."""

import json
import math

import made_up
import pytest

from bench.runs.files import write_bytes
from bench.runs.record import Record, Score, radius
from bench.runs.run import expand
from bench.runs.typed import build


def a_record(**changes):
    run = expand(made_up.digits_suite(methods=["fgsm"]))[0]
    head = {"stage": "train", "run": run.run_id, "config": run, "status": "failed"}
    return Record(**(head | changes))


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = a_record(reason='a <b> & "c" é')
    assert Record.read(record.write(tmp_path)) == record


def mended(value, path, to):
    """A copy of nested dicts and lists with one place changed; a function is told the old value."""
    if not path:
        return to(value) if callable(to) else to
    head, *rest = path
    if isinstance(value, list):
        return [mended(v, rest, to) if i == head else v for i, v in enumerate(value)]
    return value | {head: mended(value.get(head), rest, to)}


@pytest.mark.parametrize(
    ("stage", "place", "to", "message"),
    [
        ("train", "status", "fine", "record.status: Input should be 'done', 'failed'"),
        ("train", "status", "failed", "status is 'failed' with ['training'] found"),
        ("train", "attempt", "1", "record.attempt: Input should be a valid integer, given '1'"),
        ("train", "colour", 1, "record.colour is unknown"),
        ("train", "schema", 99, "a newer onestep made it (schema 99, here 1); update onestep"),
        ("train", "config", {}, "record.config.dataset is missing"),
        ("train", "config.eps", "8/0", "eps is '8/0'; a radius in Linf is more than 0 and"),
        ("train", "config.eps", "abc", "eps is 'abc'"),
        ("train", "config.seed", 7, "the hash of its configuration"),
        ("train", "config.protocol", {}, "protocol.name is missing"),
        ("train", "run", "0123456789ab", "run is '0123456789ab', the hash of its configuration"),
        ("train", "stage", "cost", "stage is 'cost' in a file of 'train'"),
        ("train", "data", None, "without origin and data"),
        ("train", "data.train_images", None, "data.train_images: Input should be a valid integer"),
        ("train", "origin.seconds", 10**400, "origin.seconds"),
        ("train", "origin.seconds", -1.0, "origin.seconds: Input should be greater than or equal"),
        ("train", "training", None, "status is 'done' with nothing found"),
        ("train", "training.curves", [], "curves are of 0 epochs, training of 1"),
        ("train", "training.clean.accuracy", math.nan, "clean.accuracy"),
        ("train", "training.clean.accuracy", -1, "clean.accuracy"),
        ("train", "training.clean.accuracy", 101, "clean.accuracy"),
        ("train", "training.clean.accuracy", 1e308, "clean.accuracy"),
        ("train", "training.clean.n", 0, "clean.n"),
        ("train", "training.pgd10.n", 49, "accuracies are of 50, 50 and 49 images"),
        ("train", "training.curves.0.loss", math.inf, "curves.0.loss"),
        ("train", "training.verdict.collapsed", True, "collapsed is True, its onset None"),
        ("train", "training.verdict", {"collapsed": True, "onset_epoch": 1}, "[1] are beyond"),
        ("autoattack", "attack.accuracy", 90.0, "gives 50.0 %, beside it stands 90.0"),
        ("autoattack", "attack.after.clean", 90.0, "mask of clean gives 100.0 %"),
        ("autoattack", "attack.n", 39, "are no masks of 39 images"),
        ("autoattack", "attack.robust.square", "x" * 10, "['square'] are no masks of 40 images"),
        ("autoattack", "attack.robust", {}, "masks are of []"),
        ("autoattack", "attack.robust.clean", "0" * 10, "stands after a later one"),
        ("cost", "expense.time_ratio", -2.0, "time_ratio"),
        ("cost", "expense", None, "status is 'done' with nothing found"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_true_is_refused(tmp_path, stage, place, to, message):
    made_up.done(tmp_path, made_up.config(), aa=50.0)
    (path,) = tmp_path.rglob(f"{stage}.json")
    assert Record.read(path).status == "done"
    places = [int(part) if part.isdigit() else part for part in place.split(".")]
    path.write_text(json.dumps(mended(json.loads(path.read_text()), places, to)))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Record.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_half_a_record_is_refused(tmp_path):
    path = a_record().write(tmp_path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match="is no valid record: record: Invalid JSON: EOF"):
        Record.read(path)


def test_a_file_of_brackets_alone_is_refused(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="Invalid JSON: recursion limit exceeded"):
        Record.read(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_radius_is_on_the_unit_scale():
    assert radius("8/255") == 8 / 255
    assert radius("63.75/255") == 0.25


def test_every_mistake_of_a_value_is_named_up_to_a_few():
    assert build(list[Score], [{"n": 1, "accuracy": 2}], "x") == [Score(accuracy=2.0, n=1)]
    with pytest.raises(ValueError, match=r"x\.0\.n is missing; x\.1\.n: .* given '2'$"):
        build(list[Score], [{"accuracy": 2}, {"accuracy": 2, "n": "2"}], "x")
    with pytest.raises(ValueError, match=r"and 5 more$"):
        build(list[Score], [{"accuracy": 2}] * 9, "x")
    with pytest.raises(ValueError, match="x is nothing that JSON can hold"):
        build(list[Score], [{1, 2}], "x")
