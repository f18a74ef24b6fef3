"""Epsilon overfitting on made-up sweeps."""

import pytest

from evaluation.eps_overfitting import judge

SOUND = {k: 80.0 - 4 * k for k in range(17)}
# falls to 20 at 4, rises by 9, 20, 11 to 60 at 7, and falls again
FALLEN = dict(enumerate([80.0, 60.0, 40.0, 30.0, 20.0, 29.0, 49.0, 60.0, 58.0, 55.0, 40.0, 30.0]))


def test_a_sound_sweep_rises_nowhere():
    found = judge(SOUND, 8)
    assert found == (-4.0, 1, 0.0)


def test_the_largest_rise_and_where_it_ends():
    assert judge(FALLEN, 8) == (20.0, 6, 38.0)


def test_rises_beyond_one_and_a_half_radii_do_not_count():
    assert judge(FALLEN | {12: 30.0, 13: 99.0}, 8) == (20.0, 6, 38.0)
    assert judge(FALLEN | {12: 99.0}, 8) == (69.0, 12, 38.0)


def test_the_gap_is_that_of_the_trained_radius_or_of_the_largest_below():
    assert judge(FALLEN, 3) == (-10.0, 3, 0.0)
    assert judge(FALLEN, 7.5).eo_gap == 40.0
    assert judge(SOUND | {8: 60.0}, 8 - 1e-12).eo_gap == 60.0 - SOUND[7]  # as rounding leaves it


@pytest.mark.parametrize("fgsm", [{}, {8: 50.0}, {8: 50.0, 16: 60.0}, {9: 1.0, 10: 2.0}])
def test_there_is_none_without_two_radii(fgsm):
    assert judge(fgsm, 8) is None
