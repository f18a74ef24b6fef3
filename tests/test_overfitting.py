"""Tests of the rule for catastrophic overfitting, on made-up and on public curves."""

import random

import pytest

from evaluation.overfitting import judge


def curves(*epochs):
    return [dict(zip(("clean", "fgsm", "pgd10"), epoch, strict=True)) for epoch in epochs]


def spans(verdict):
    return [(episode.first, episode.last) for episode in verdict.episodes]


ROBUST, FALLEN = (70.0, 50.0, 45.0), (75.0, 75.0, 1.0)


@pytest.mark.parametrize(
    ("epochs", "outcome", "onset", "episodes"),
    [
        ([], "none", None, []),
        ([ROBUST] * 5, "none", None, []),
        ([ROBUST] * 3 + [FALLEN] * 2, "collapsed", 3, [(3, 4)]),
        ([ROBUST] * 2 + [FALLEN] + [ROBUST] * 2, "recovered", None, [(2, 2)]),
        ([ROBUST] * 2 + [FALLEN] * 2 + [ROBUST] * 2 + [FALLEN], "collapsed", 6, [(2, 3), (6, 6)]),
        ([ROBUST, FALLEN, ROBUST, FALLEN, FALLEN], "collapsed", 1, [(1, 4)]),  # one good epoch
        ([ROBUST, FALLEN, FALLEN, ROBUST], "collapsed", 1, [(1, 3)]),  # the last alone
        ([ROBUST, FALLEN] + [(75.0, 70.0, 30.0)] * 3, "collapsed", 1, [(1, 4)]),  # two thirds
        (
            [ROBUST, FALLEN] + [(75.0, 70.0, 34.0)] * 3,
            "recovered",
            None,
            [(1, 1)],
        ),  # three quarters
    ],
)
def test_a_collapse_lasts_until_the_run_is_back(epochs, outcome, onset, episodes):
    verdict = judge(curves(*epochs), classes=10, images=1000)
    assert (verdict.outcome, verdict.onset_epoch) == (outcome, onset)
    assert verdict.collapsed is (outcome == "collapsed")
    assert spans(verdict) == episodes


def test_depth_is_the_share_of_the_best_that_was_lost():
    verdict = judge(
        curves((70, 50, 40), (75, 75, 8), (75, 75, 4), (75, 75, 6)), classes=10, images=1000
    )
    assert verdict.episodes[0].depth == pytest.approx(0.9)


@pytest.mark.parametrize(
    "epochs",
    [
        [(40, 18, 12)] + [(94, 18, 0)] * 9,  # standard training
        [(12, 12, 14), (12, 12, 0)] * 5,  # has learnt nothing yet
        [(85, 57 - i, 50 - i) for i in range(35)],  # robust overfitting
        [(28 - i, 16 - i / 2, 15 - i / 2) for i in range(28)],  # unlearns everything
        [(37, 21, 18), (21, 8.5, 7.5), (37, 20, 17)],  # one bad epoch under all attacks
    ],
)
def test_a_fall_that_fgsm_shares_is_no_collapse(epochs):
    assert judge(curves(*epochs), classes=10, images=2000).outcome == "none"


def test_a_run_that_fell_before_it_was_robust_collapsed():
    first, then = (23.4, 17.2, 14.1), (46.9, 48.4, 0.0)
    assert judge(curves(first, then, then), classes=10, images=512).onset_epoch == 1


def test_fgsm_on_cifar10_collapsed_and_recovered():
    """Public run FGSM-AT, seed 0: epochs 22 to 28, every tenth from 30 to 80, 90 to 99."""
    epochs = [(71.4, 47.3, 43.6), (73.3, 46.6, 43.5), (70, 48.7, 46.2), (72.9, 49.1, 45.4)]
    epochs += [(51.7, 58.2, 0.6), (68, 82.5, 0.8), (70.4, 64, 0.8), (76.8, 77.3, 3.5)]
    epochs += [(78.9, 77.4, 1.2), (76.4, 78.7, 1.5), (79.5, 70.7, 4.1), (78.4, 72.3, 1.1)]
    epochs += [(86, 79, 18), (88.9, 86, 23.9), (89.3, 82.8, 25.7), (90.2, 84.3, 35.3)]
    epochs += [(90.8, 83.9, 33.9), (90.8, 83.3, 31.5), (91.4, 85, 34.1), (91.7, 83.5, 37.3)]
    epochs += [(91.9, 82.9, 36.9), (91.9, 82.3, 36.8), (91.8, 82.7, 36.6)]
    verdict = judge(curves(*epochs), classes=10, images=1000)
    assert (verdict.outcome, spans(verdict)) == ("recovered", [(4, 14)])
    assert verdict.episodes[0].depth == pytest.approx(1 - 0.6 / 46.2)


def test_a_run_of_200_classes_collapsed_though_it_lost_less_than_fifteen_points():
    """Public run FGSM-CUAP on Tiny-ImageNet, seed 1: epochs 68 to 75, 80, 85, 90, 95 to 99."""
    epochs = [(37.2, 18.55, 17.1), (38.25, 18.8, 17.2), (39.3, 20.1, 18.25), (38.25, 19.8, 18.55)]
    epochs += [(36.1, 22.15, 1.15), (41, 47.75, 0.55), (42.7, 56.75, 0.45), (35.85, 53.3, 0.15)]
    epochs += [(6.1, 50.75, 0.35), (50.2, 55.5, 0.7), (50.6, 56.7, 1.05), (54.45, 60.3, 2.9)]
    epochs += [(55.85, 58.75, 4), (56.5, 59.35, 4), (56.65, 58.9, 4.15), (56.6, 59.65, 3.95)]
    verdict = judge(curves(*epochs), classes=200, images=2000)
    assert (verdict.collapsed, verdict.onset_epoch) == (True, 4)


def drawn(rng, images, levels):
    """Draw a probe: an image that resists the stronger attack resists the weaker one, too."""
    resists = [100 * rng.random() for _ in range(images)]
    return tuple(100 * sum(r < level for r in resists) / images for level in levels)


HEALTHY = {
    "robust": [(85, 58, 50)] * 30,
    "large gap": [(90, 57, 42)] * 30,
    "few classes learnt": [(30, 17, 16), (40, 27, 26)] * 15,
    "slow loss": [(85, 57 - i / 3, 50 - i / 2) for i in range(30)],
    "standard training": [(40, 18, 12)] + [(93, 25, 1)] * 29,
}


@pytest.mark.parametrize("images", [16, 64, 128, 512])
@pytest.mark.parametrize("shape", HEALTHY)
def test_noise_of_few_images_is_no_collapse(images, shape):
    rng = random.Random(images)
    for _ in range(5):
        epochs = [drawn(rng, images, levels) for levels in HEALTHY[shape]]
        assert judge(curves(*epochs), classes=10, images=images).outcome == "none"


@pytest.mark.parametrize("images", [16, 64, 128, 512])
def test_few_images_show_a_collapse(images):
    rng = random.Random(images)
    for _ in range(5):
        epochs = [drawn(rng, images, ROBUST) for _ in range(15)]
        epochs += [drawn(rng, images, (75, 74, 0.5)) for _ in range(15)]
        assert judge(curves(*epochs), classes=10, images=images).collapsed
