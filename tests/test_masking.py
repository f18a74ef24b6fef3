"""Each doubt appears on a record that deserves it, and not on one just inside its bound."""

import dataclasses

import pytest
import torch
from made_up import attack, measure, training
from torch import nn

from bench.runs.record import Score
from bench.threat import Threat
from evaluation.attack import Task
from evaluation.attacks.pgd import PGD
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


def measured(n=N, **accuracies):
    """Results of optional evaluations, by name; "__" stands for "-"."""
    found = {name.replace("__", "-"): value for name, value in accuracies.items()}
    return {
        name: dataclasses.replace(
            measure(""),
            scores={name.replace("-", " ").replace("_255", "/255"): Score(accuracy=value, n=n)},
        )
        for name, value in found.items()
    }


@pytest.mark.parametrize("name", ["square", "simba", "transfer_pgd20_from_same"])
@pytest.mark.parametrize(("black", "doubted"), [(47.5, True), (48.5, False), (52.0, False)])
def test_a_black_box_attack_alone_below_the_best_white_box_one_is_a_sign(name, black, doubted):
    found = doubts(trained(), measured=measured(pgd20=51.0, mifgsm=55.0, **{name: black}))
    assert [doubt.id for doubt in found] == (["black_box"] if doubted else [])
    if doubted:
        title = {"square": "Square", "simba": "SimBA"}.get(name, "PGD-20 from same")
        text = (f"{title} (on 10000 images), which knows no gradient of this network, takes 2.5 "
                "points more than PGD-10 (on 10000): a sign of masking")  # fmt: skip
        assert found[0].text == text


def test_a_better_white_box_attack_answers_for_a_worse_one():
    assert doubts(trained(), measured=measured(square=46.0, apgd_ce=45.0)) == []
    (doubt,) = doubts(trained(), measured=measured(square=42.0, apgd_ce=45.0))
    assert "3.0 points more than APGD-CE" in doubt.text


def test_few_images_widen_the_bound_on_black_box_attacks():
    assert doubts(trained(), measured=measured(n=100, square=35.0)) == []


def test_attacks_are_compared_inside_one_ball():
    other = measured(square__6_255=30.0, pgd20__4_255=60.0, cw=10.0, deepfool=0.0)
    assert doubts(trained(), measured=other) == []
    (doubt,) = doubts(trained(), measured=other | measured(pgd20__6_255=35.0))
    assert "Square 6/255" in doubt.text
    assert "more than PGD-20 6/255" in doubt.text


@pytest.mark.parametrize(
    ("n", "left", "doubted"), [(100, 3, True), (100, 2, False), (1000, 33, True), (1000, 10, False)]
)
def test_what_stands_at_eps_1_is_a_sign(n, left, doubted):
    found = doubts(trained(), measured=measured(n=n, pgd20__1=100 * left / n))
    text = (f"PGD-20 1 leaves {left} of {n} images, though it may turn them into any other: a sign "
            "of masking")  # fmt: skip
    assert found == ([Doubt("eps_1", text)] if doubted else [])


def test_eps_1_is_of_linf_and_of_many_steps():
    assert doubts(trained(), norm="L2", measured=measured(pgd20__1=30.0)) == []
    assert doubts(trained(), measured=measured(pgd2__1=30.0, fgsm__1=30.0)) == []


class Halves(nn.Module):
    """Says whether an image is bright; masked, it sees pixels rounded, and has no gradient."""

    def __init__(self, *, masked):
        super().__init__()
        self.masked = masked

    def forward(self, x):
        x = (4 * x).round() / 4 if self.masked else x
        z = x.flatten(1).sum(1) - 8
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize("masked", [False, True])
def test_a_network_with_masked_gradients_stands_at_eps_1_and_a_sound_one_does_not(masked):
    x = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    net = Halves(masked=masked)
    task = Task(
        net=net, x=x, y=net(x).argmax(1), threat=Threat("Linf", 1.0), name="pgd20 1", classes=2,
        seed=0,
    )  # fmt: skip
    found = PGD().evaluate(task)
    one = dataclasses.replace(measure(""), scores=found.scores)
    doubted = [doubt.id for doubt in doubts(trained(), measured={"pgd20-1": one})]
    assert doubted == (["eps_1"] if masked else [])
