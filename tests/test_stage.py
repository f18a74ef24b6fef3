"""Stages: when a record counts as done, and the flags that their programs have."""

import dataclasses

import made_up
import pytest

from bench.runs.record import TRAIN, Record
from bench.runs.stage import AttackOptions, TrainOptions, as_flags, flags_of, stage, stages

CODE = made_up.ORIGIN.method_code


def record(name=TRAIN, **changes):
    head = {"stage": name, "run": "r", "config": made_up.config(), "status": "done",
            "origin": made_up.ORIGIN, "data": made_up.DATA}  # fmt: skip
    return Record(**head | changes)


TRAINED = record(training=made_up.training())
FAILED = record(status="failed", reason="x", options={"test_images": 50, "probe_images": 10})
WANTED = TrainOptions(test_images=50, probe_images=10)


@pytest.mark.parametrize(
    ("found", "changes", "state"),
    [
        (None, {}, "missing"),
        (TRAINED, {}, "done"),
        (TRAINED, {"code": "another"}, "stale code"),
        (dataclasses.replace(TRAINED, origin=None), {}, "stale code"),
        (TRAINED, {"wanted": {"probe_images": 9}}, "stale options"),
        (TRAINED, {"wanted": {"test_images": 49}}, "stale options"),  # more than are asked for
        (TRAINED, {"wanted": {"test_images": None}}, "done"),  # all 50 that there are
        (TRAINED, {"wanted": {"test_images": 99}}, "done"),
        (TRAINED, {"wanted": {"engine": "eager"}}, "done"),
        (TRAINED, {"wanted": {"engine": "captured"}}, "stale options"),
        (TRAINED, {"wanted": {"checkpoint_seconds": 1.0}}, "done"),
        (TRAINED, {"attempt": 2}, "missing"),
        (FAILED, {}, "failed"),
        (FAILED, {"code": "another"}, "stale code"),
        (FAILED, {"wanted": {"probe_images": 9}}, "stale options"),
        (dataclasses.replace(FAILED, options=None), {"wanted": {"probe_images": 9}}, "failed"),
        (dataclasses.replace(FAILED, attempt=2), {"attempt": 2}, "failed"),
        (dataclasses.replace(FAILED, attempt=2), {"attempt": 3}, "missing"),
    ],
)
def test_a_record_is_the_wanted_one_or_the_reason_is_given(found, changes, state):
    wanted = dataclasses.replace(WANTED, **changes.pop("wanted", {}))
    assert stage(TRAIN).state(found, wanted, **{"code": CODE} | changes) == state


def test_every_option_that_counts_makes_a_record_stale():
    other = {int: 7, float: 7.0, str: None}
    bodies = {"train": made_up.training(), "autoattack": made_up.attack(50.0),
              "cost": made_up.expense(1.0), "eps_sweep": made_up.measure("eps_sweep")}  # fmt: skip
    for name, body in bodies.items():
        one = stage(name)
        found = record(name, **{one.body: body})
        given = one.options_of(found)
        assert one.state(found, given, CODE) == "done"
        for option, flag in zip(dataclasses.fields(given), flags_of(given), strict=True):
            value = getattr(given, option.name)
            choices = flag.choices or ("0,8",)
            another = other[flag.kind] or next(c for c in choices if c not in (value, "auto"))
            state = one.state(found, dataclasses.replace(given, **{option.name: another}), CODE)
            assert (state == "done") == option.metadata["free"], (name, option.name)


def test_radii_of_a_sweep_are_an_option_that_older_records_lack():
    sweep = stage("eps_sweep")
    old = record(sweep.name, measure=made_up.measure("fgsm 8/255"))
    suites = [made_up.digits_suite(**given) for given in ({}, {"sweep_radii": [0, 8]})]
    usual, chosen = (sweep.options_for(suite) for suite in suites)
    assert "--radii" not in as_flags(usual)  # as before there was the option
    assert sweep.flags(chosen)["--radii"] == "0,8"
    wanted = dataclasses.replace(usual, images=40)
    assert sweep.state(old, wanted, CODE) == "done"
    assert sweep.state(old, dataclasses.replace(wanted, radii="0,8"), CODE) == "stale options"
    body = dataclasses.replace(old.measure, settings={"radii": "0,8"})
    assert sweep.options_of(dataclasses.replace(old, measure=body)).radii == "0,8"
    assert stage("pgd50_10").options_for(suites[1]).radii is None


def test_optional_evaluations_may_have_images_of_their_own():
    suite = made_up.digits_suite(attack_images=50, evaluation_images=200)
    assert stage("eps_sweep").options_for(suite).images == 200
    assert stage("autoattack").options_for(suite).images == 50
    assert stage("eps_sweep").options_for(made_up.digits_suite(attack_images=50)).images == 50


def test_flags_hold_all_options_that_are_not_none():
    assert as_flags(AttackOptions(images=4, mode="fast")) == {
        "--images": "4", "--batch": "256", "--mode": "fast", "--seed": "0", "--weights": "last",
    }  # fmt: skip
    assert "--images" not in as_flags(AttackOptions())


def test_a_flag_has_its_kind_its_choices_and_its_least_value():
    known = {flag.name: flag for flag in flags_of(TrainOptions())}
    assert known["--checkpoint-seconds"].kind is float
    assert known["--checkpoint-seconds"].least == 0
    assert known["--test-images"].kind is int
    assert "captured" in known["--engine"].choices


def test_every_stage_has_a_program_and_a_place_in_the_order():
    assert list(stages())[:2] == ["train", "autoattack"]
    assert list(stages())[-1] == "cost"
    assert {one.program for one in stages().values()} == {"train", "attack", "evaluate", "cost"}


def test_an_unknown_stage_is_told_with_the_nearest():
    with pytest.raises(LookupError, match="unknown stage 'autoatack': did you mean autoattack"):
        stage("autoatack")
