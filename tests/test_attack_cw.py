"""C&W: torchattacks' numbers, image by image, and what c and kappa ask for."""

import pytest
import torch
from seen import TANH, judged

from bench.threat import Threat
from evaluation.attacks.cw import CW
from evaluation.draw import Draw

# torchattacks 3.5.1, CW(c=c, kappa=0, steps=1000, lr=0.01), a batch an image, torch 2.11.0
RIGHT = {1e-4: "01111111111111111111110111111111110111111111111110", 1.0: 50 * "0"}
MOVED = {1e-4: 0.0215528, 1.0: 0.2609123}  # mean L2 of those that fell
FIRST = [0.019816, 0.193585, 0.240248, 0.507538, 0.184498]  # L2 of the first images, c = 1
ANY = Threat("Linf", 0.0), Draw(0, 0, 50)  # it knows no radius, and draws nothing


@pytest.mark.parametrize("c", [1e-4, 1.0])
def test_it_finds_what_torchattacks_finds(c):
    right, moved = judged(CW(c=c).perturb(TANH.net, TANH.x, TANH.y, *ANY))
    assert right == RIGHT[c]
    fell = [far for far, bit in zip(moved, right, strict=True) if bit == "0"]
    assert sum(fell) / len(fell) == pytest.approx(MOVED[c], rel=2e-3)
    if c == 1:
        assert moved[:5] == pytest.approx(FIRST, abs=1e-5)


def test_the_nearest_wrong_image_counts_and_a_standing_one_is_left_alone():
    """More steps only bring it nearer."""
    few, many = (
        CW(c=0.03, steps=steps).perturb(TANH.net, TANH.x, TANH.y, *ANY) for steps in (60, 200)
    )
    right, moved = judged(few)
    standing = torch.tensor([bit == "1" for bit in right])
    assert 0 < standing.sum() < 50
    assert torch.equal(few[standing], TANH.x[standing])
    nearer = torch.tensor(judged(many)[1]) < torch.tensor(moved) + 1e-6
    assert nearer[~standing].all()


def test_each_image_ends_by_its_own_cost():
    """What shares its batch changes nothing, up to rounding."""
    alone = CW(c=1.0, steps=200).perturb(TANH.net, TANH.x[:3], TANH.y[:3], *ANY)
    among = CW(c=1.0, steps=200).perturb(TANH.net, TANH.x, TANH.y, *ANY)[:3]
    assert torch.allclose(alone, among, atol=1e-4)


def test_black_and_white_pixels_stay_and_are_numbers():
    x = TANH.x.round()
    at = CW(c=1.0, steps=50).perturb(TANH.net, x, TANH.net(x).argmax(1), *ANY)
    assert torch.equal(at, x)
