"""Records: what is written reads back, and what departs from the schema is refused."""

import dataclasses
import json

import made_up
import pytest

from bench.runs.files import write_bytes, write_json
from bench.runs.record import Config, Record, build, radius
from bench.runs.run import expand


def a_record(**changes):
    run = expand(made_up.digits_suite(methods=["fgsm"]))[0]
    head = {"stage": "train", "run": run.run_id, "config": run, "status": "done"}
    return Record(**(head | changes))


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record = a_record(status="failed", reason='a <b> & "c" é')
    assert Record.read(record.write(tmp_path)) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "fine"}, "record.status is 'fine', not one of"),
        ({"attempt": "1"}, "record.attempt is '1', not int"),
        ({"colour": 1}, "unknown ['colour']"),
        ({"schema": 99}, "has schema 99, this version reads schema 1"),
        ({"config": {}}, "record.config lacks"),
        ({"data": dataclasses.asdict(made_up.DATA) | {"train_images": None}}, "not int"),
        ({"origin": dataclasses.asdict(made_up.ORIGIN) | {"seconds": 10**400}}, "too large"),
    ],
)
def test_a_record_that_departs_from_the_schema_is_refused(tmp_path, change, message):
    path = a_record().write(tmp_path)
    write_json(path, json.loads(path.read_text()) | change)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Record.read(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_half_record_is_refused(tmp_path):
    path = a_record().write(tmp_path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ValueError, match=r"is no JSON .*remove it and run again"):
        Record.read(path)


def test_a_file_of_brackets_alone_is_refused(tmp_path):
    path = tmp_path / "train.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no JSON"):
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


def test_build_checks_depth_first():
    @dataclasses.dataclass
    class Inner:
        x: int

    @dataclasses.dataclass
    class Outer:
        items: list[Inner]
        maybe: float | None = None

    assert build(Outer, {"items": [{"x": 1}], "maybe": 2}) == Outer([Inner(1)], 2.0)
    with pytest.raises(ValueError, match=r"record.items\[1\].x is '2', not int"):
        build(Outer, {"items": [{"x": 1}, {"x": "2"}]})
    assert build(Config, a_record().config.as_dict()) == a_record().config
