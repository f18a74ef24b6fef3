"""Which rows are told apart: against a bootstrap that draws, and against cases known by hand."""

import numpy as np
import pytest

from report.ranks import Pairs, pair_marks, student, tie_group_ranks, unpack

RNG = np.random.default_rng


def row(accuracy, *, images=400, seeds=1, wobble=0.0, seed=0, hard=None):
    """Verdicts of a row: images stand if a shared difficulty is below the accuracy."""
    generator = RNG(seed)
    hard = RNG(99).random(images) if hard is None else hard
    levels = accuracy + wobble * generator.standard_normal(seeds)
    noise = 0.05 * generator.standard_normal((seeds, images))
    return hard + noise < levels[:, None]


def bootstrap_error(a, b, draws=4000):
    """Standard error of the difference of two means by drawing images in pairs, and seeds."""
    generator, found = RNG(1), []
    for _ in range(draws):
        images = generator.integers(a.shape[1], size=a.shape[1])
        means = []
        for stood in (a, b):
            seeds = generator.integers(len(stood), size=len(stood))
            spread = stood.mean(axis=1) - stood.mean()
            # a draw of S seeds has (S - 1) / S of their variance
            shift = spread[seeds].mean() * np.sqrt(len(stood) / max(len(stood) - 1, 1))
            means.append(stood.mean(axis=0)[images].mean() + shift)
        found.append(means[0] - means[1])
    return np.std(found)


@pytest.mark.parametrize("seeds", [1, 5])
def test_the_closed_form_is_what_a_bootstrap_that_draws_finds(seeds):
    a = row(0.5, seeds=seeds, wobble=0.03, seed=1)
    b = row(0.45, seeds=seeds, wobble=0.03, seed=2)
    assert Pairs([a, b]).error()[0, 1] == pytest.approx(bootstrap_error(a, b), rel=0.06)


def test_the_same_images_make_a_difference_seen_that_a_reordering_hides():
    a, b = row(0.50), row(0.47, seed=3)
    assert pair_marks([a, b], [50, 47])[0][1] == "."
    assert pair_marks([a, b[:, ::-1]], [50, 47])[0][1] == "?"


def test_seeds_that_disagree_are_not_told_apart_on_any_number_of_images():
    a = row(0.5, seeds=3, wobble=0.1, images=5000, seed=4)
    b = row(0.45, seeds=3, wobble=0.1, images=5000, seed=5)
    mark = pair_marks([a, b], [50, 45])[0][1]
    assert mark in "123456789+"


def test_as_many_more_seeds_of_the_same_spread_as_the_mark_counts_tell_apart():
    a, b = row(0.55, seeds=3, wobble=0.05, seed=6), row(0.45, seeds=3, wobble=0.05, seed=7)
    mark = pair_marks([a, b], [55, 45])[0][1]
    assert mark.isdigit()
    times = 1 + -(-int(mark) // 3)  # each seed again: at least as many more, of the same spread
    again = [np.concatenate([stood] * times) for stood in (a, b)]
    assert pair_marks(again, [55, 45])[0][1] == "."


def test_one_seed_asks_for_a_second_and_too_few_images_for_more():
    assert pair_marks([row(0.5), row(0.5, seed=1)], [50, 50])[0][1] == "?"
    few = [np.tile(RNG(i).random(10) < 0.5, (3, 1)) for i in (1, 2)]
    assert pair_marks(few, [50, 45])[0][1] == "i"


def test_rows_attacked_on_other_numbers_of_images_are_compared_on_those_they_share():
    long, short = row(0.5, images=400), row(0.5, images=400)[:, :100]
    far = row(0.1, images=400, seed=1)
    marks = pair_marks([long, short, far], [50, 50, 10])
    assert marks[0] == "??."
    assert [line[i] for i, line in enumerate(marks)] == ["?", "?", "?"]
    assert marks == ["".join(line) for line in zip(*marks, strict=True)]


def test_without_verdicts_means_alone_decide():
    assert pair_marks([None, None, row(0.5)], [10, 10, 50]) == ["==-", "==-", "--?"]


def test_rows_not_told_apart_from_the_first_of_their_tie_group_share_its_rank():
    # a is told from c; b from neither; d from all
    assert tie_group_ranks(["??..", "???.", ".??.", "...?"]) == [1, 1, 3, 4]
    assert tie_group_ranks([]) == []


def test_student_is_the_tables():
    degrees = np.array([1.0, 4.0, 7.0, 12.0, 25.0, 1e9])
    assert student(degrees) == pytest.approx([12.706, 2.776, 2.365, 2.179, 2.060, 1.960], abs=0.01)


def test_a_mask_is_read_as_the_evaluation_wrote_it():
    import torch

    from evaluation import autoattack

    for n in (1, 4, 7, 100, 129):
        stood = torch.tensor(RNG(n).random(n) < 0.5)
        mask = autoattack.pack(stood)
        assert (unpack(mask, n) == stood.numpy()).all()
