"""docs/submissions.md: its worked example is replayed, and what it quotes is what is said."""

import dataclasses
import re
import shutil
import sys

import pytest
from made_up import config, done
from tables import ids, row_of

import evaluation.autoattack
from bench import __main__ as program
from bench.runs.catalogue import ROOT
from bench.runs.record import Record
from bench.tools import verify
from report import render
from report.collect import collect_all

TEXT = (ROOT / "docs/submissions.md").read_text()
REAL = evaluation.autoattack.library


BLOCKS = dict(re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))  # by language


def shortened(*args, **rest):
    """AutoAttack with fewer queries and steps: Square alone takes 20 s on any number of images."""
    made = REAL(*args, **rest)
    made.apgd.n_iter = made.apgd_targeted.n_iter = 20
    made.square.n_queries, made.fab.n_iter = 20, 5
    return made


def command(monkeypatch, line):
    """Run one of the example's commands here; return its exit code."""
    _, dash, name, *words = line.split()
    assert (dash, name) == ("-m", "bench")
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    try:
        program.main()
    except SystemExit as exit_:
        return exit_.code or 0
    return 0


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """The folder in which the example was run, and what its last command said."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "run.yaml").write_text(BLOCKS["yaml"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(evaluation.autoattack, "library", shortened)
        *before, last = BLOCKS["sh"].splitlines()
        assert [command(patch, line) for line in before] == [0, 0, 0]
        said = []
        patch.setattr("builtins.print", lambda *words, **rest: said.append(" ".join(words)))
        assert command(patch, last) == 0
    return folder, said


@pytest.fixture
def mine(replayed, tmp_path):
    return shutil.copytree(replayed[0] / "mine", tmp_path / "mine")


def claims(lines):
    """Shorten lines of checks to what they are of; keep those that tell what was not checked."""
    return [line if line.startswith("  --") else line.partition(": ")[0]
            for line in lines if line.startswith(("  ok", "  --"))]  # fmt: skip


def test_the_example_ends_as_the_page_says(replayed):
    _, said = replayed
    shown = BLOCKS[""].splitlines()
    assert claims(said) == claims(shown)
    assert said[-2:] == shown[-2:]
    assert not [line for line in said if line.startswith("note") and "commit" not in line]


def test_every_complaint_that_the_page_names_is_one(mine):
    """Each `FAIL` of the page is a claim of verify's."""
    source = (ROOT / "bench/tools/verify.py").read_text()
    named = re.findall(r"`FAIL  ([^:`]+)", TEXT)
    assert len(named) >= 10
    assert [claim for claim in named if f'"{claim}"' not in source] == []
    (mine / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"there is no .*model\.safetensors; ask who submitted"):
        verify.verify(mine, data_dir=mine)


def remarks(mine, **origin):
    trained, attacked = (Record.read(mine / f"{name}.json") for name in ("train", "autoattack"))
    trained, attacked = (
        dataclasses.replace(one, origin=dataclasses.replace(one.origin, dirty=False, **origin))
        for one in (trained, attacked)
    )
    return list(verify.remarks(mine, trained, attacked))


def test_nothing_is_noted_of_a_run_of_this_code(mine):
    assert remarks(mine) == []


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ({"method_code": "x"}, "the page will say: older method code"),
        ({"bench_code": "x"}, "the page will say: older code"),
    ],
)
def test_other_code_is_noted(mine, origin, said):
    (remark,) = remarks(mine, **origin)
    assert said in remark


def test_changes_data_and_methods_from_elsewhere_are_noted(mine):
    trained, attacked = (Record.read(mine / f"{name}.json") for name in ("train", "autoattack"))
    attacked = dataclasses.replace(
        attacked, origin=dataclasses.replace(attacked.origin, dirty=True),
        data=dataclasses.replace(attacked.data, official=False),
        config=dataclasses.replace(attacked.config, method="mine"),
    )  # fmt: skip
    said = "; ".join(verify.remarks(mine, trained, attacked))
    assert "methods/mine.py is not here; it has to come with the run" in said
    assert "there were uncommitted changes" in said
    assert "the page will say: unofficial data" in said


def test_a_run_that_is_published_already_is_noted(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "PUBLISHED", tmp_path / "published")
    run = Record.read(mine / "train.json")
    shutil.copytree(mine, tmp_path / "published/set" / run.config.folder)
    (remark,) = remarks(mine)
    assert f"the same run is published already, in {tmp_path}/published/set/digits" in remark
    assert remarks(tmp_path / "published/set" / run.config.folder) == [], "that is this one"


@pytest.mark.parametrize("place", ["ada/mine", "digits/small_cnn/fgsm", "ada/{0}/more", "."])
def test_a_submission_in_another_place_is_no_row_and_named_once(tmp_path, place):
    folder = tmp_path / "published/submitted" / place.format(config().folder)
    done(tmp_path / "elsewhere", config(), aa=20.0)
    shutil.copytree(tmp_path / "elsewhere" / config().folder, folder)
    found = collect_all(tmp_path)
    assert found.runs == []
    (fault,) = found.faults
    belongs = tmp_path / "published/submitted/<who submitted it>" / config().folder
    assert fault == f"{folder} is a submission in no place of one; move it to {belongs}"
    render.render(tmp_path)
    assert fault in (tmp_path / "leaderboard.txt").read_text()
    done(tmp_path / "published/submitted/ada", config(), aa=20.0)
    assert "submitted" in ids(row_of(tmp_path))


def test_a_published_record_that_cannot_be_read_is_named_in_the_terminal_too(tmp_path):
    done(tmp_path / "published/submitted/ada", config(), aa=20.0)
    path = tmp_path / "published/submitted/ada" / config().folder / "train.json"
    path.write_text("x")
    render.render(tmp_path)
    assert f"{path} is no valid record" in (tmp_path / "leaderboard.txt").read_text()


def test_a_row_says_who_submitted_it(tmp_path):
    done(tmp_path / "published/submitted/ada", config(), aa=20.0)
    row = row_of(tmp_path)
    assert [note.text for note in row.notes if note.id == "submitted"] == ["submitted by ada"]
    done(tmp_path / "runs", config(), aa=20.0)
    assert "submitted" not in ids(row_of(tmp_path)), "one's own record has replaced it"
