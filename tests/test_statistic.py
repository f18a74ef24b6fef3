"""Cells: mean, spread and interval over seeds, and the reason of an empty one."""

import dataclasses
import json

import pytest
from made_up import config, done, expense, training, write
from tables import ids, row_of, rows_of

from bench.runs import catalogue
from bench.runs.record import Best, Evaluation, Score, Value
from evaluation.binomial import wilson
from report.columns import REFERENCE
from report.statistic import confidence_interval


def test_mean_spread_and_n_are_over_seeds(tmp_path):
    for seed, aa in enumerate((30.0, 40.0, 50.0)):
        done(tmp_path / "runs", config(seed=seed), aa=aa)
    row = row_of(tmp_path)
    cell = row.cells["autoattack"]
    assert (cell.mean, cell.spread, cell.n, cell.images) == (40.0, 10.0, 3, (40,))
    assert cell.text == "40.00 ± 10.00"
    assert row.cells["time_ratio"].n == 1  # measured for one seed
    assert "one seed" not in ids(row)


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
    assert rows["fgsm"].cells["gap"].reason == "this protocol holds no validation images out"


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
