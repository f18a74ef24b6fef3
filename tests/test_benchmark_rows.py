"""FastAT_Benchmark's rows: verdicts on made-up curves, and the committed files."""

import csv
import json
import re
import shutil
import sys

import pytest

from evaluation.overfitting import judge
from report import benchmark, curves, outside
from report.curves import Ending, Run, endings, read, read_csv, statement, write_csv

ROBUST, FALLEN, WORN = (0.7, 0.5, 0.45), (0.75, 0.75, 0.01), (0.7, 0.3, 0.28)
RUNS = {
    Run("cifar10", "mine", 0): [ROBUST] * 5,
    Run("cifar10", "mine", 1): [ROBUST] * 3 + [FALLEN] * 2,
    Run("tiny_imagenet", "mine", 0): [ROBUST] * 2 + [FALLEN] + [ROBUST] * 2,
    Run("tiny_imagenet", "mine", 1): [ROBUST] * 4 + [WORN],  # far below its best, but no collapse
    Run("tiny_imagenet", "plain", 0): [],
}
FOUND = [
    Ending("cifar10", "mine", 0, 45.0, 1, 45.0, "none", None),
    Ending("cifar10", "mine", 1, 45.0, 1, 1.0, "collapsed", 4),
    Ending("tiny_imagenet", "mine", 0, 45.0, 1, 45.0, "recovered", None),
    Ending("tiny_imagenet", "mine", 1, 45.0, 1, 28.0, "none", None),
    Ending("tiny_imagenet", "plain", 0, None, None, None, None, None),
]
HEAD = "dataset,method,seed,epoch,train_loss,clean,fgsm,pgd10"


def as_csv(runs=RUNS):
    """Write curves as CSV; a run without attacks has two epochs with empty cells."""
    lines = [HEAD]
    for run, epochs in runs.items():
        for i, shares in enumerate(epochs or [("", "", "")] * 2):
            lines.append(",".join(map(str, (*run, i, 2.3, *shares))))
    return "\n".join(lines) + "\n"


def as_json(runs=RUNS):
    """Write curves as the public file has them: under the benchmark's names, with other keys."""
    found = {}
    for (dataset, method, seed), epochs in runs.items():
        entry = found.setdefault(dataset.replace("_", "-"), {}).setdefault(method, {"seeds": {}})
        lists = list(zip(*epochs, strict=True)) or [[], [], []]
        names = ("model_val_acc_list", "model_fgsm_acc_list", "model_pgd_acc_list")
        entry["seeds"][str(seed)] = dict(zip(names, lists, strict=True)) | {"seed": seed}
    return json.dumps(found)


@pytest.fixture
def put(tmp_path):
    def put(text, name="curves.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return put


@pytest.mark.parametrize(("file", "write"), [("curves.csv", as_csv), ("data.json", as_json)])
def test_curves_become_verdicts_from_either_file(put, file, write):
    assert endings(read(put(write(), file))) == FOUND


def test_a_key_that_is_missing_is_a_run_without_attacks(put):
    run = '{"train_acc_list": [0.1], "model_pgd_acc_list": null}'
    path = put(f'{{"cifar10": {{"mine": {{"seeds": {{"0": {run}}}}}}}}}', "data.json")
    assert read(path) == {Run("cifar10", "mine", 0): []}


@pytest.mark.parametrize(("last", "fell"), [(30.0, True), (30.1, False), (99.9, False)])
def test_a_run_fell_by_fifteen_points_or_more(last, fell):
    assert Ending("cifar10", "mine", 0, 45.0, 1, last, "none", None).fell == fell


def test_the_rule_is_that_of_our_own_runs(put, monkeypatch):
    asked = []

    def ask(curve, **facts):
        asked.append(facts)
        return judge(curve, **facts)

    monkeypatch.setattr(curves, "judge", ask)
    endings(read(put(as_csv())))
    assert asked == [{"classes": 10, "images": 1000}] * 2 + [{"classes": 200, "images": 2000}] * 2


def test_the_statement_counts_what_it_is_given():
    text = statement(FOUND, "Theirs")
    assert "2 of 5 runs of Theirs end 15 points or more below" in text
    assert "1 end collapsed, and 1 more collapsed and recovered" in text
    assert "1 have no curve under attack" in text
    assert "no curve" not in statement(FOUND[:4], "Theirs")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("curves.csv", "", "curves.csv holds no curves"),
        ("curves.csv", "a,b\n1,2\n", "line 2: dataset is missing"),
        ("curves.csv", f"{HEAD}\nmnist,m,0,0,2,.1,.1,.1\n", "unknown data set 'mnist': choose"),
        ("curves.csv", f"{HEAD}\ncifar10,m,0,1,2,.1,.1,.1\n", "seed 0, has epoch 1 in place of 0"),
        ("curves.csv", f"{HEAD}\ncifar10,m,0,0,2,.1,.1,31\n", "line 2: pgd10: Input should be"),
        ("curves.csv", f"{HEAD}\ncifar10,m,0,0,2,.1,.1,nan\n", "line 2: pgd10: Input should be"),
        ("curves.csv", f"{HEAD}\ncifar10,m,0,0,2,.1,.1,\n", "has 1, 1, 0 accuracies"),
        ("data.json", "{", "Invalid JSON"),
        ("data.json", "{}", "data.json holds no curves"),
        ("data.json", '{"cifar10": {"m": {}}}', "cifar10.m.seeds is missing"),
    ],
)
def test_a_file_without_such_curves_is_refused_with_its_fault(put, file, text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read(put(text, file))


def test_the_program_writes_the_verdicts_and_says_the_count(put, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["outside"])
    outside.main([str(put(as_csv())), "--into", str(tmp_path / "into")])
    assert "2 of 5 runs" in capsys.readouterr().out
    assert read_csv(tmp_path / "into/fastat_runs.csv", Ending) == FOUND
    with pytest.raises(SystemExit, match=r"^outside: .*bad.csv holds no curves"):
        outside.main([str(put("", "bad.csv"))])
    with pytest.raises(SystemExit, match=r"^outside: .*No such file.*gone.json"):
        outside.main([str(tmp_path / "gone.json")])


# the committed files


def test_no_printed_number_was_lost_on_the_way():
    with (benchmark.FOLDER / "fastat.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 62
    metrics = [name.removesuffix("_sd") for name in rows[0] if name.endswith("_sd")]
    assert len(metrics) * len(rows) == 496
    sums = {name: round(sum(float(row[name]) for row in rows), 2) for name in metrics}
    assert sums == {  # of the 496 numbers as they were read off the public file
        "clean": 3776.68, "pgd10": 2192.31, "pgd20": 2161.09, "pgd50": 2152.05,
        "autoattack": 1787.42, "cr_attack": 1796.75, "seconds": 412489.1, "memory_gb": 217.91,
    }  # fmt: skip


def test_the_verdicts_are_of_every_run_of_every_row():
    path = benchmark.FOLDER / "fastat_runs.csv"
    runs = read_csv(path, Ending)
    assert write_csv(runs) == path.read_text()
    assert len({(run.dataset, run.method, run.seed) for run in runs}) == 3 * 62
    for row in benchmark.read().rows:
        assert row.collapse.partition(" ")[2][:4] == ("" if row.name == "PGD-AT" else "of 3"), row
    assert sum(run.fell for run in runs) == 33  # counted before, by hand, from the same curves
    assert sum(run.outcome == "collapsed" for run in runs) == 34


def test_a_row_says_what_became_of_its_seeds():
    (row,) = (r for r in benchmark.read().rows if (r.name, r.dataset) == ("ELLE", "cifar10"))
    assert (row.autoattack, row.autoattack_sd, row.seconds, row.memory_gb) == (
        32.46,
        25.27,
        2943,
        2.5,
    )
    assert (row.held_out_best, row.held_out_last) == (50.33, 38.0)
    assert row.collapse == "1 of 3 (epoch 53); 2 recovered"
    assert row.badges == [("collapsed 1 of 3", True), ("recovered 2 of 3", True)]
    assert "1 of 3 ended 15 points or more below their own best (of epoch 38)" in row.footnote


def test_a_damaged_line_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "reported"
    shutil.copytree(benchmark.FOLDER, folder)
    path = folder / "fastat.csv"
    path.write_text(path.read_text().replace("77.78", "high", 1))
    monkeypatch.setattr(benchmark, "FOLDER", folder)
    with pytest.raises(ValueError, match=r"fastat.csv line 2: clean: .*given 'high'"):
        benchmark.read()
