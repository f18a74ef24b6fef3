"""Which records belong to a run, and which runs to a table."""

import json
import shutil

from made_up import config, done, write
from tables import ids, row_of, rows_of, tables

from bench.runs import catalogue
from bench.runs.record import TRACES
from report.collect import collect


def test_runs_of_different_radii_are_in_different_tables(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config(), aa=10.0)
    done(runs, config(eps="8/255"), aa=10.0)
    assert len(tables(tmp_path)) == 2


def test_a_broken_record_is_a_cell_and_not_the_end_of_the_page(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    (path,) = (tmp_path / "runs").rglob("autoattack.json")
    path.write_text(path.read_text()[:100])
    row = row_of(tmp_path)
    assert row.cells["clean"].mean == 90.0
    (absence,) = row.cells["autoattack"].absences
    assert absence.id == "unreadable"


def test_a_broken_record_without_a_sound_one_beside_it_has_the_plans_row_or_is_a_fault(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    for path in (tmp_path / "runs").rglob("*.json"):
        path.write_text("")
    found = collect(published=tmp_path, plan=tmp_path / "plan.json")
    assert found.runs == []
    assert len(found.faults) == 3
    assert "train.json is no valid record" in found.faults[0]
    plan = {"suite": "x", "runs": [{"folder": config().folder, "config": config().as_dict()}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    row = row_of(tmp_path)
    assert [absence.id for absence in row.cells["autoattack"].absences] == ["unreadable"]


def test_a_record_of_another_run_in_a_folder_is_unreadable_and_no_row(tmp_path):
    mine, other = config("fgsm"), config("sora")
    done(tmp_path / "runs", mine, aa=10.0)
    done(tmp_path / "elsewhere", other, aa=20.0)
    folder = tmp_path / "runs" / mine.folder
    copied = "autoattack.json"
    shutil.copy(tmp_path / "elsewhere" / other.folder / copied, folder / copied)
    (run,) = collect(published=tmp_path / "none", runs=tmp_path / "runs").runs
    assert run.config == mine
    assert run.broken == {
        "autoattack": f"{folder / copied} is of run {other.run_id}, and its folder is named "
        f"{mine.run_id}; move it to {other.folder} or remove it"
    }
    for path in {*folder.glob("*.json")} - {folder / copied}:
        path.unlink()
    found = collect(published=tmp_path / "none", runs=tmp_path / "runs")
    assert (found.runs, len(found.faults)) == ([], 1)
    folder.rename(tmp_path / "runs/mine")
    (run,) = collect(published=tmp_path / "none", runs=tmp_path / "runs").runs
    assert run.config == other, "a folder whose name is no id may have any run"


def test_a_plan_that_cannot_be_read_is_named_and_the_records_stand(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    (tmp_path / "plan.json").write_text('{"suite": "x", "ru')
    found = collect(published=tmp_path, plan=tmp_path / "plan.json")
    assert len(found.runs) == 1
    (fault,) = found.faults
    assert "plan.json cannot be read (plan: Invalid JSON" in fault
    assert "Snakemake's next run writes it anew" in fault


def test_a_working_record_goes_before_the_published_one(tmp_path):
    done(tmp_path / "published/set", config("sora"), aa=20.0)
    done(tmp_path / "published/set", config("fgsm"), aa=20.0)
    done(tmp_path / "runs", config("sora"), aa=30.0)
    rows = rows_of(tmp_path)
    assert rows["sora"].cells["autoattack"].mean == 30.0
    assert "published" not in ids(rows["sora"])
    assert "published" in ids(rows["fgsm"])


def test_a_run_that_never_saw_its_data_stands_with_those_that_did(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    write(tmp_path / "runs", config("sora"), "train", status="failed", reason="x", data=None)
    (group,) = tables(tmp_path)
    assert [row.label for row in group.rows] == ["fgsm", "sora"]
    assert group.facts.official is True


def test_published_records_are_whole_and_official():
    published = collect(published=catalogue.ROOT / "results/published").runs
    assert published
    arrays = set()
    for run in published:
        assert not run.broken
        done = [record for record in run.records.values() if record.status == "done"]
        assert all(record.data.official for record in done)
        arrays |= {name for record in done if record.measure for name in record.measure.arrays}
    files = (catalogue.ROOT / "results/published").rglob("*.safetensors")
    assert {path.name for path in files} <= {TRACES, *arrays}, "weights are not for git"
