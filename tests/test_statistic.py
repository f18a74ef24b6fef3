"""Cells: mean, spread and interval over seeds, and the reason of an empty one."""

import dataclasses
import json
import statistics

import pytest
from made_up import attack, config, done, expense, training, write
from tables import ids, row_of, rows_of, tables

from bench.runs import catalogue
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import Averaged, Best, Evaluation, Score, Value
from evaluation.binomial import wilson
from report.columns import REFERENCE
from report.groups import frame
from report.statistic import confidence_interval, deviation, shown


def test_mean_spread_and_n_are_over_seeds(tmp_path):
    for seed, aa in enumerate((30.0, 40.0, 50.0)):
        done(tmp_path / "runs", config(seed=seed), aa=aa)
    row = row_of(tmp_path)
    cell = row.cells["autoattack"]
    assert (cell.mean, cell.spread, cell.n, cell.images) == (40.0, 10.0, 3, (40,))
    assert cell.text == "40.00 ± 10.00"
    assert row.cells["time_ratio"].n == 1  # measured for one seed
    assert "one seed" not in ids(row)


@pytest.mark.parametrize("values", [[1.0, 3.0], [0.1, 0.2, 0.4], [1e8, 1e8 + 1], [5.0] * 3])
def test_the_deviation_is_of_a_sample(values):
    assert deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-14)
    assert deviation(values[:1]) is None


@pytest.mark.parametrize(
    ("number", "beside", "text"),
    [(40, None, "40.00"), (0, None, "0.00"), (0.1, None, "0.10"), (0.0312, None, "0.031"),
     (3e-4, None, "0.00030"), (-3e-4, None, "-0.00030"), (3e-30, None, "0.000000000"),
     (0.004, 40.0, "0.00"), (1.23e-4, 3e-4, "0.00012"),
     (15.625, None, "15.63"), (-15.625, None, "-15.63"), (2.5e-5, None, "0.000025")],
)  # fmt: skip
def test_small_numbers_keep_two_digits(number, beside, text):
    assert shown(number, beside) == text


def test_an_empty_cell_says_why(tmp_path):
    runs = tmp_path / "runs"
    write(runs, config("fgsm"), "train", status="diverged", reason="loss is nan")
    write(runs, config("fgsm"), "autoattack", status="skipped", reason="training diverged")
    plan = {"suite": "s", "runs": [{"folder": "x", "config": config("sora").as_dict()}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    rows = rows_of(tmp_path)
    assert rows["fgsm"].status == "diverged"
    assert rows["fgsm"].cells["clean"].reason == "diverged: loss is nan"
    assert rows["fgsm"].cells["autoattack"].reason == "skipped: training diverged"
    assert rows["fgsm"].reason == "diverged: loss is nan"
    (absence,) = rows["fgsm"].cells["autoattack"].absences
    assert absence.id == "skipped"
    assert (rows["sora"].status, rows["sora"].cells["clean"].reason) == ("not run", "not run")


def test_the_best_epoch_and_its_gap_stand_beside_the_last(tmp_path):
    best = Score(accuracy=64.0, n=50)
    held = Best(epoch=1, validation=65.0, clean=best, fgsm=best, pgd10=best)
    body = dataclasses.replace(training(pgd10=60.0, epochs=2), best=held)
    write(tmp_path / "runs", config("sora"), "train", training=body)
    write(tmp_path / "runs", config("fgsm"), "train", training=training())
    rows = rows_of(tmp_path)
    assert rows["sora"].cells["best_pgd10"].mean == 64.0
    assert rows["sora"].cells["gap"].mean == 4.0
    assert rows["fgsm"].cells["gap"].reason == "this protocol chooses no best weights"


def test_averages_and_choices_on_test_images_have_columns_of_their_own(tmp_path):
    high, score = Score(accuracy=64.0, n=50), Score(accuracy=62.0, n=50)
    picked = Best(
        epoch=0, validation=65.0, clean=high, fgsm=high, pgd10=high, rule="best_on_test",
        update=2, network="average",
    )  # fmt: skip
    body = dataclasses.replace(
        training(pgd10=60.0), best_on_test=picked, average=Averaged(clean=score, fgsm=score,
        pgd10=score),
    )  # fmt: skip
    other = dataclasses.replace(attack(10.0), weights="average")
    write(tmp_path / "runs", config("sora"), "train", training=body)
    write(tmp_path / "runs", config("sora"), "autoattack", attack=other)
    write(tmp_path / "runs", config("fgsm"), "train", training=training())
    rows = rows_of(tmp_path)
    means = {key: cell.mean for key, cell in rows["sora"].cells.items()}
    assert means["average_pgd10"] == means["average_clean"] == 62.0
    assert (means["best_on_test_pgd10"], means["best_pgd10"], means["gap"]) == (64.0, None, None)
    assert "AutoAttack of the average weights" in [note.text for note in rows["sora"].notes]
    assert rows["fgsm"].cells["average_clean"].reason == "this protocol averages no weights"


def test_a_group_says_what_its_protocol_does_with_labels_and_weights(tmp_path):
    for name, said in {
        "smoke": "labels as they are; last weights",
        "sora-validated": "labels as they are; best weights by PGD-10 on 1000 held-out images",
        "gradalign-30": "labels as they are; best weights by PGD-10 on training images",
        "fastat-100": "labels smoothed by 0.4 (smooth); weights averaged (tau 0.9995); best "
        "weights by PGD-10 on 1000 held-out images",
    }.items():
        cfg = config("fgsm", protocol=PROTOCOLS[name].as_dict())
        write(tmp_path / name / "runs", cfg, "train", training=training())
        (group,) = tables(tmp_path / name)
        assert group.facts.titled["labels and weights"] == said
        assert frame(group)["labels and weights"].tolist() == [said]


def test_memory_is_a_ratio_or_says_that_it_needs_a_gpu(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    done(tmp_path / "runs", config("sora"), aa=10.0)
    whole = dataclasses.replace(expense(1.0), peak_bytes=300, reference_bytes=200)
    write(tmp_path / "runs", config("sora"), "cost", expense=whole)
    cells = {label: row.cells["memory_ratio"] for label, row in rows_of(tmp_path).items()}
    assert cells["sora"].mean == 1.5
    assert cells["fgsm"].reason == "not measured without a GPU"


def test_wilson_interval_is_the_textbooks():
    assert wilson(0.5, 100) == pytest.approx((40.38, 59.62), abs=0.01)
    low, high = wilson(0.0, 10)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(27.75, abs=0.01)


def test_an_interval_of_seeds_is_no_narrower_than_that_of_images():
    assert confidence_interval([50.0], [100]) == pytest.approx((40.38, 59.62), abs=0.01)
    assert confidence_interval([50.0, 50.0], [100]) == pytest.approx((40.38, 59.62), abs=0.01)
    assert confidence_interval([40.0, 50.0, 60.0], [100]) == pytest.approx((25.16, 74.84), abs=0.01)
    assert confidence_interval([10.0, 60.0], [100]) == (0.0, 100.0)
    assert confidence_interval([1.0]) is None


def test_the_reference_of_the_time_column_is_what_costs_are_measured_against():
    assert catalogue.constant("bench/stages/cost.py", "REFERENCE") == REFERENCE


def test_a_diagnostic_of_one_seed_has_no_interval_as_it_is_no_share_of_images(tmp_path):
    value = Value(value=0.5, unit="cosine", n=40)
    values = {"gradient_alignment": value}
    one = Evaluation(settings={}, scores={}, values=values, measure_seconds=1.0)
    done(tmp_path / "runs", config(), aa=30.0)
    write(tmp_path / "runs", config(), "gradient_alignment", measure=one)
    cell = row_of(tmp_path).cells["gradient_alignment"]
    assert (cell.mean, cell.images, cell.interval) == (0.5, (40,), None)
