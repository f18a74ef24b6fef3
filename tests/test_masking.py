"""Each doubt appears on a record that deserves it, and not on one just inside its bound."""

import dataclasses

import pytest
from made_up import attack, training

from bench.runs.record import Score
from evaluation.masking import Doubt, doubts

N = 10_000  # images; a standard error of one share is at most half a point


def trained(clean=90.0, fgsm=60.0, pgd10=50.0, n=N):
    scores = {"clean": clean, "fgsm": fgsm, "pgd10": pgd10}
    return dataclasses.replace(training(), **{k: Score(accuracy=v, n=n) for k, v in scores.items()})


def attacked(*, white=45.0, square=45.0, n=N, **rest):
    after = {"clean": 90.0, "apgd-ce": white + 1, "apgd-t": white, "fab-t": white,
             "square": square}  # fmt: skip
    return dataclasses.replace(attack(square, n), after=after, **rest)


def test_a_sound_run_raises_no_doubt():
    assert doubts(trained(), attacked(), classes=10) == []
    assert doubts(trained(), classes=10) == []


# three errors of 10 % on 10,000 images are 0.9 points
@pytest.mark.parametrize(("clean", "doubted"), [(10.8, True), (5.0, True), (11.0, False)])
def test_a_run_near_chance_did_not_learn(clean, doubted):
    found = doubts(trained(clean, 4.0, 4.0), attacked(white=3.0, square=3.0), classes=10)
    text = f"did not learn: {clean:.1f} % right on 10000 clean images, chance is 10.0 %"
    assert found == ([Doubt("learning", text)] if doubted else [])


def test_chance_is_that_of_the_classes_and_not_judged_without_them():
    assert doubts(trained(10.8, 1.0, 1.0), classes=100) == []
    assert doubts(trained(0.0, 0.0, 0.0)) == []


def test_one_answer_to_every_image_is_nothing_learned_however_often_it_is_right():
    one = dataclasses.replace(trained(32.0, 32.0, 32.0), answers=1)  # a third is of that class
    (doubt,) = doubts(one, classes=8)
    assert doubt == ("learning", "did not learn: one class is its answer to every clean image")
    assert not doubts(dataclasses.replace(one, answers=2), classes=8)


def test_few_images_widen_the_bound_on_learning():
    (doubt,) = doubts(trained(20.0, 4.0, 4.0, n=50), classes=10)
    assert doubt.id == "learning"
    assert doubts(trained(24.0, 4.0, 4.0, n=50), classes=10) == []


# three errors of a difference of two shares near a half of 10,000 images are 2.1 points
@pytest.mark.parametrize(("fgsm", "doubted"), [(47.0, True), (48.5, False)])
def test_many_steps_that_find_less_than_one_are_a_sign(fgsm, doubted):
    found = doubts(trained(fgsm=fgsm))
    text = "PGD-10 takes 3.0 points less than FGSM with its one step: a sign of masking"
    assert found == ([Doubt("fgsm", text)] if doubted else [])
    assert doubts(trained(fgsm=fgsm, n=1000)) == []


@pytest.mark.parametrize(("pgd10", "doubted"), [(60.5, True), (59.5, False)])
def test_autoattack_far_below_pgd_is_doubted(pgd10, doubted):
    found = doubts(trained(fgsm=70.0, pgd10=pgd10), attacked())
    text = ("AutoAttack (on 10000 images) takes 15.5 points more than PGD-10 (on 10000): gradients "
            "may be masked, or PGD-10 is weak here")  # fmt: skip
    assert found == ([Doubt("autoattack", text)] if doubted else [])


def test_few_attacked_images_widen_the_bound_on_autoattack():
    # 3 sqrt(2 / 4 / 100) of a share: 21 points
    assert doubts(trained(fgsm=80.0, pgd10=65.0), attacked(n=100)) == []
    (doubt,) = doubts(trained(fgsm=80.0, pgd10=67.0), attacked(n=100))
    assert doubt.id == "autoattack"


@pytest.mark.parametrize(
    ("n", "taken", "doubted"),
    [(10_000, 101, True), (10_000, 100, False), (100, 3, True), (100, 2, False)],
)
def test_images_that_only_the_black_box_attack_takes_are_a_sign(n, taken, doubted):
    found = doubts(trained(), attacked(square=45.0 - 100 * taken / n, n=n))
    text = (f"Square, a black-box attack, takes {taken} of {n} images that the white-box attacks "
            "left: a sign of masking")  # fmt: skip
    assert found == ([Doubt("square", text)] if doubted else [])


def test_square_alone_says_nothing_of_white_box_attacks():
    alone = dataclasses.replace(attacked(), after={"clean": 90.0, "square": 45.0})
    assert doubts(trained(), alone) == []
