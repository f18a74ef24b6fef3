"""All records as one download: read by pandas in one line, with the masks, the same every time."""

import dataclasses
import gzip
import json
import re

import pandas as pd
import pytest
from made_up import attack, config, done, measure, training, write

from bench.runs.catalogue import ROOT
from bench.runs.files import between_marks
from bench.runs.record import Record
from bench.runs.typed import parse
from report import records, render
from report.collect import collect
from report.columns import measured
from report.groups import groups
from report.rows import NOT_LEARNED, choices

PUBLISHED = ROOT / "results/published"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The download of the published records."""
    folder = tmp_path_factory.mktemp("results")
    found = collect(published=PUBLISHED)
    records.write(found, folder)
    return folder, found


def read(folder):
    """The two lines of results/README.md."""
    lines = pd.read_json(folder / "records.jsonl.gz", lines=True)
    return lines, pd.read_csv(folder / "records.csv")


def test_a_line_is_a_record_and_a_run(published):
    folder, found = published
    lines, runs = read(folder)
    assert len(lines) == sum(len(run.records) for run in found.runs) > 100
    assert len(runs) == len(found.runs) > 50
    assert list(runs["folder"]) == [run.folder for run in found.runs]
    text = gzip.decompress((folder / "records.jsonl.gz").read_bytes()).decode()
    run, line = found.runs[0], json.loads(text.partition("\n")[0])
    assert (line.pop("folder"), line.pop("published")) == (run.folder, True)
    assert parse(Record, json.dumps(line), "record") == Record.read(run.place / "train.json")


def test_numbers_of_the_csv_are_those_of_the_records(published):
    folder, found = published
    _, runs = read(folder)
    for run, (_, row) in zip(found.runs, runs.iterrows(), strict=True):
        if not run.has("train"):
            assert row["status"] == run.absence("train").id
            assert pd.isna(row["clean"])
            continue
        body = run.records["train"].training
        assert (row["clean"], row["clean_n"]) == (body.clean.accuracy, body.clean.n)
        assert row["collapsed"] == body.verdict.collapsed
        assert row["method"] == run.config.method


def test_masks_give_the_accuracy_by_the_line_that_is_told(published):
    folder, _ = published
    _, runs = read(folder)
    text = (ROOT / "results/README.md").read_text()
    line = 'bin(int("1" + mask[2:], 16))[3 : 3 + n]'
    assert f"`{line}`" in text
    attacked = runs[runs["autoattack"].notna()]
    assert len(attacked) > 50
    for _, row in attacked.iterrows():
        n = int(row["autoattack_n"])
        digits = eval(line, {"mask": row["robust_square"], "n": n})
        assert len(digits) == n
        assert 100 * digits.count("1") / n == pytest.approx(row["autoattack"])


def test_the_example_finds_the_best_row_of_each_table(published):
    """The mean, spread and n of every row are the page's, whatever else is in its table."""
    folder, found = published
    text = (ROOT / "results/README.md").read_text()
    names = {"runs": read(folder)[1]}
    (example,) = re.findall(r"```python\n(rows = .*?)```", text, re.DOTALL)
    exec(example, names)
    rows, best = names["rows"].to_dict("index"), names["best"]
    highest = {table: mean for (table, _, _), mean in best["mean"].items()}
    made = groups(found.runs)
    attacked = {one.file_name for one in made if any(row.cells["autoattack"].n for row in one.rows)}
    assert sorted(table for table, _, _ in best.index) == sorted(attacked)
    assert {table for table, _, _ in rows} == {group.file_name for group in made}
    for group in made:
        for row in group.rows:
            settings = json.dumps(choices(row.runs[0].config), sort_keys=True)
            line, cell = rows[group.file_name, row.method, settings], row.cells["autoattack"]
            assert line["count"] == cell.n
            if cell.n:
                assert line["mean"] == pytest.approx(cell.mean)
                assert line["learned"] == (row.unfit != NOT_LEARNED)
                assert not line["learned"] or line["mean"] <= highest[group.file_name]
            if cell.n > 1:
                assert line["std"] == pytest.approx(cell.spread)


def test_a_run_that_failed_has_what_its_configuration_says(published):
    _, runs = read(published[0])
    diverged = runs[runs["status"] == "diverged"]
    assert len(diverged) > 1
    assert runs["train_images"].notna().all()
    assert diverged["table"].notna().all()


def test_a_path_leads_to_the_runs_records(published, tmp_path):
    _, runs = read(published[0])
    assert all((ROOT / "results" / path).is_dir() for path in runs["path"])
    done(tmp_path / "runs", config(), aa=0.0)
    records.main(["--results", str(tmp_path)])
    assert read(tmp_path)[1].loc[0, "path"] == f"runs/{config().folder}"


def test_the_same_records_are_the_same_bytes(published, tmp_path):
    folder, found = published
    records.write(found, tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert not (tmp_path / "records.jsonl.gz").read_bytes()[4:8].strip(b"\0"), "a time is in it"


def test_the_columns_are_told_in_one_place(published):
    """If this fails: make readme."""
    folder, found = published
    text = (ROOT / "results/README.md").read_text()
    described = records.described(found.runs)
    assert between_marks(text, records.MARK, described) == text
    told = {*re.findall(r"`([^`]+)`", described)}
    _, runs = read(folder)
    measures = measured(r for run in found.runs for r in run.records.values())
    keys = {one.key for one in measures}
    others = {*runs.columns} - keys - {f"{key}_n" for key in keys}
    assert {name for name in others if not name.startswith("robust_")} <= told
    assert {one.key for one in measures if one.key == one.stage} <= told
    assert {"filters.norm.I", "fgsm.fgsm", "loss_ratio.pgd_loss"} <= told
    assert "`simba` (%); `simba.simba_queries` (queries) |" in described


def test_every_state_of_a_run_is_a_line(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("sora"), aa=50.0)
    write(runs, config("sora"), "pgd50_10", measure=measure("pgd50_10"))
    write(runs, config("fgsm"), "train", training=training(onset=2, pgd10=0.0))
    write(runs, config("=1+1"), "train", status="failed", reason="=2+2")
    done(runs, config("pgd10"), aa=10.0)
    (runs / config("pgd10").folder / "train.json").write_text("{")
    render.render(tmp_path)  # which writes it
    lines, table = read(tmp_path)
    table = table.set_index("method")
    assert dict(table["status"]) == {
        "sora": "done", "fgsm": "not run", "'=1+1": "failed", "pgd10": "unreadable",
    }  # fmt: skip
    assert table.loc["fgsm", "onset_epoch"] == 2
    assert bool(table.loc["fgsm", "collapsed"]) is True
    assert (table.loc["sora", "pgd50_10"], table.loc["sora", "pgd50_10_n"]) == (50.0, 40)
    assert table.loc["sora", "robust_square"] == f"0x{attack(50.0).robust['square']}"
    assert table.loc["'=1+1", "reason"] == "failed: =2+2"
    assert len(lines) == 8
    assert list(lines[lines["stage"] == "pgd50_10"]["folder"]) == [config("sora").folder]


def test_masks_of_digits_alone_stay_masks(tmp_path):
    """A reader would take a column of 00 for numbers."""
    done(tmp_path / "runs", config(), aa=0.0)
    render.render(tmp_path)
    _, table = read(tmp_path)
    assert table.loc[0, "robust_square"] == "0x0000000000"


def test_the_program_says_what_it_wrote_and_what_it_left_out(tmp_path, capsys):
    done(tmp_path / "runs", config(), aa=0.0)
    (tmp_path / "runs/x").mkdir()
    (tmp_path / "runs/x/train.json").write_text("{")
    records.main(["--results", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert said[2] == "3 records of 1 run"
    assert "x/train.json is no valid record" in said[3]
    assert said[0].startswith(f"{tmp_path}/records.jsonl.gz, 0.0 MB")


def test_the_page_links_to_it(tmp_path):
    done(tmp_path / "runs", config(), aa=0.0)
    render.render(tmp_path)
    html = (tmp_path / "leaderboard.html").read_text()
    assert 'href="records.csv"' in html
    assert 'href="records.jsonl.gz"' in html


def test_a_page_of_many_records_leaves_it_to_its_program(tmp_path, monkeypatch):
    done(tmp_path / "runs", config(), aa=0.0)
    render.render(tmp_path)
    monkeypatch.setattr(records, "MOST", 2)
    render.render(tmp_path)
    assert "records.csv" not in (tmp_path / "leaderboard.html").read_text()
    there = [name for name in (records.LINES, records.TABLE) if (tmp_path / name).exists()]
    assert not there, "what is there must be of this page"


def test_a_working_record_goes_before_a_published_one(tmp_path):
    done(tmp_path / "published/set", config(), aa=20.0)
    done(tmp_path / "runs", config(), aa=30.0)
    record = dataclasses.replace(config(), seed=1)
    done(tmp_path / "published/set", record, aa=40.0)
    render.render(tmp_path)
    _, table = read(tmp_path)
    assert sorted(zip(table["autoattack"], table["published"], strict=True)) == [
        (30.0, False), (40.0, True),
    ]  # fmt: skip
