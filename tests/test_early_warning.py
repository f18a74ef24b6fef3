"""Early warning: alarms on made-up curves, whose onset and first move are known."""

import numpy as np
import pytest

from evaluation.early_warning import EPOCHS, RULE, Warned, alarms, halved, judge, summary

EVERY = 5


def falling(at, *, n=400, noise=0.01, seed=0):
    """Readings at 0.9, which fall to 0.1 within 20 readings from one on."""
    drop = np.clip((np.arange(n) - at) / 20, 0, 1) * 0.8
    return 0.9 - drop + noise * np.random.default_rng(seed).standard_normal(n)


UPDATES = EVERY * np.arange(400)


def test_the_onset_is_the_first_reading_at_half_of_the_maximum_that_stays_so():
    assert halved([0, 5, 10, 15, 20], [10, 22, 11, 10, 0]) == 10
    assert halved([0, 5, 10, 15, 20], [10, 22, 11, 12, 0]) == 20, "it came back once"
    assert halved([0, 5, 10], [10, 22, 11.1]) is None
    assert halved([0, 5, 10], [5, 10, 22]) is None, "the maximum is the one so far"


def test_an_alarm_begins_with_the_third_reading_beyond_six_deviations():
    flat = np.tile([0.0, 1.0], 150)
    rule = RULE._replace(smoothing=0.0)  # mean 0.5, deviation 0.5: the limit is 3.5
    assert alarms(np.append(flat, [3.6, 3.6, 3.6, 3.6]), rises=True, rule=rule) == [302]
    assert alarms(np.append(flat, [3.6, 3.4, 3.6, 3.6]), rises=True, rule=rule) == []
    assert alarms(np.append(flat, [3.4] * 9), rises=True, rule=rule) == []
    assert alarms(np.append(flat, [3.6, 3.6, 3.6]), rises=False, rule=rule) == []
    assert alarms(np.append(1 - flat, [-2.6] * 3), rises=False, rule=rule) == [302]


def test_two_alarms_with_quiet_between_are_two():
    flat = np.tile([0.0, 1.0], 150)
    rule = RULE._replace(smoothing=0.0)
    there = np.concatenate([flat, [9.0] * 4, flat, [99.0] * 4])
    assert alarms(there, rises=True, rule=rule) == [302, 606]


def test_the_baseline_is_of_the_last_200_readings_and_of_100_at_least():
    rule = RULE._replace(smoothing=0.0)
    noise = np.tile([0.0, 1.0], 50)
    assert alarms(np.append(noise[:99], [9.0] * 3), rises=True, rule=rule) == []
    assert alarms(np.append(noise, [9.0] * 3), rises=True, rule=rule) == [102]
    wild = np.concatenate([100 * noise, noise, noise])  # more than 200 readings ago
    assert alarms(np.append(wild, [9.0] * 3), rises=True, rule=rule) == [302]
    assert alarms(np.append(wild[2:], [9.0] * 3)[:-1], rises=True, rule=rule) == []
    assert alarms(np.append(wild[:-2], [9.0] * 3), rises=True, rule=rule) == []


def test_readings_are_smoothed_so_that_a_short_burst_is_no_alarm():
    noise = np.tile([0.0, 1.0], 100)
    burst, step = np.append(noise, [5.0] * 3), np.append(noise, [5.0] * 30)
    raw = RULE._replace(smoothing=0.0)
    assert alarms(burst, rises=True, rule=raw) == [202]
    # the smoothed pair is 0.474 and 0.526: the limit is 0.66, which the first of the burst passes
    assert alarms(step, rises=True) == [202]
    assert alarms(np.append(noise, [2.0] * 3), rises=True) == []
    assert alarms(np.append(noise, [2.0] * 30), rises=True) != []


def test_a_constant_detector_never_alarms_by_rounding():
    assert alarms([0.1] * 500, rises=True) == alarms([0.1] * 500, rises=False) == []
    assert alarms([0.1] * 300 + [0.1 + 1e-12] * 30, rises=True) == []
    assert alarms([0.1] * 300 + [0.1 + 1e-6] * 30, rises=True) != []


def test_the_lead_is_from_the_alarm_to_the_onset_and_a_late_alarm_has_one_below_zero():
    early, late = (
        judge(UPDATES, falling(250), 1400, rises=False),
        judge(UPDATES, falling(300), 1400, rises=False),
    )
    assert early.judged and late.judged
    assert 110 <= early.lead <= 140  # a fall that begins at update 1250, some readings of lag
    assert -140 <= late.lead <= -110 + 20
    assert early.readings == late.readings == 280
    assert judge(UPDATES, falling(999), 1400, rises=False).lead is None


def test_a_falling_detector_halves_before_the_onset_or_after_it():
    # from 0.9 it comes to 0.45 after 11.25 of 20 readings
    assert judge(UPDATES, falling(250, noise=0), 1400, rises=False).half == 1400 - 5 * 262
    assert judge(UPDATES, falling(300, noise=0), 1400, rises=False).half == 1400 - 5 * 312
    assert judge(UPDATES, falling(999), 1400, rises=False).half is None
    assert judge(UPDATES, falling(250), 1400, rises=True).half is None
    assert judge(UPDATES, falling(250), None, rises=False).half is None


def test_an_alarm_long_before_the_onset_is_a_false_one_and_no_lead():
    updates = EVERY * np.arange(900)
    readings = falling(300, n=900)
    found = judge(updates, readings, 3500, rises=False)
    assert (found.lead, found.false_alarms) == (None, 1)
    assert found.quiet == 3500 - RULE.horizon - 5 * 102
    assert judge(updates, readings, 2400, rises=False).false_alarms == 0


def test_a_run_that_holds_has_false_alarms_only():
    quiet = judge(UPDATES, falling(999), None, rises=False)
    assert quiet == Warned(None, 400, True, None, 0, 5 * (399 - 102))
    assert judge(UPDATES, falling(300), None, rises=False).false_alarms == 1


def test_with_fewer_than_100_readings_before_the_onset_nothing_is_judged():
    readings = falling(95)
    assert judge(UPDATES, readings, 5 * 99, rises=False) == Warned(495, 99, False, None, 0, 0)
    assert judge(UPDATES, readings, 5 * 100, rises=False).judged
    readings[3] = np.nan
    assert not judge(UPDATES, readings, 5 * 100, rises=False).judged, "one is not a number"
    assert not judge(UPDATES[:102], readings[:102], None, rises=False).judged


def test_runs_are_counted_by_what_could_be_judged():
    found = summary([
        Warned(500, 120, True, 30, 1, 400, 40),
        Warned(500, 120, True, -10, 0, 400, 20),
        Warned(500, 120, True, None, 0, 0),
        Warned(200, 40, False, None, 0, 0),
        Warned(None, 400, True, None, 3, 1200),
        Warned(None, 4, False, None, 0, 0),
    ])  # fmt: skip
    assert (found.leads, found.halves) == ([-10, 30], [20, 40])
    assert (found.missed, found.unjudged, found.held) == (1, [40], 1)
    assert found.per_1000 == pytest.approx(2.0)
    assert summary([]).per_1000 is None


def test_curves_by_epoch_are_judged_by_a_tenth_of_the_readings():
    assert (EPOCHS.baseline, EPOCHS.least) == (20, 10)
    assert EPOCHS._replace(baseline=200, least=100, horizon=1000) == RULE
