"""A run is named by its folder or its id, alike for every command; bench.load: test_load.py."""

import re
from pathlib import Path

import made_up
import pytest

from bench.runs import find
from bench.runs.find import run_folder
from bench.tools import benchmark, reproduce, robustbench, verify

CONFIG = made_up.config("fgsm", 0, {})
ID = CONFIG.run_id
ASK = rf"'; give {re.escape(find.WAYS.format('results'))}"
# By command: what it gives the run's folder to, and the words before and behind RUN.
TAKES = {
    "verify": (verify, "verify", [], []),
    "reproduce": (reproduce, "recorded_device", [], []),
    "export": (robustbench, "export", [], ["--into", "zoo"]),
    "benchmark": (benchmark, "load_trained", ["--out", "out.json", "--attack-run"], []),
}


class Reached(BaseException):
    """The command has found the run."""


def taken(monkeypatch, command, named):
    """Return the folder that a command works on."""
    module, function, before, behind = TAKES[command]

    def reached(folder, *_, **__):
        raise Reached(folder)

    monkeypatch.setattr(module, function, reached)
    with pytest.raises(Reached) as caught:
        module.main([*before, str(named), *behind])
    return caught.value.args[0]


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("results")


@pytest.mark.parametrize("command", TAKES)
def test_a_folder_and_an_id_are_the_same_run(results, tmp_path, monkeypatch, command):
    made_up.done(results / "runs", CONFIG, aa=10)
    there = results / "runs" / CONFIG.folder
    assert taken(monkeypatch, command, ID) == there
    assert taken(monkeypatch, command, there) == there
    elsewhere = there.rename(tmp_path / "sent")
    assert taken(monkeypatch, command, elsewhere) == elsewhere


@pytest.mark.parametrize("named", ["0123456789ab", "nowhere", "results", "results/runs/x"])
@pytest.mark.parametrize("command", TAKES)
def test_what_is_no_run_is_told_in_one_sentence(results, capsys, command, named):
    made_up.done(results / "runs", CONFIG, aa=10)
    module, _, before, behind = TAKES[command]
    with pytest.raises(SystemExit) as caught:
        module.main([*before, named, *behind])
    said = capsys.readouterr().err or str(caught.value)
    assert re.search(rf": there is no trained run '{named}{ASK}$", said.strip())
    assert said.strip().count("\n") == 0


def test_this_machines_run_stands_before_a_published_one_if_it_is_trained(results):
    published = results / "published/submitted/ada"
    made_up.done(published, CONFIG, aa=10)
    assert run_folder(ID) == published / CONFIG.folder
    here = results / "runs" / CONFIG.folder
    (here / "state").mkdir(parents=True)  # its training is under way
    assert run_folder(ID) == published / CONFIG.folder
    made_up.done(results / "runs", CONFIG, aa=10)
    assert run_folder(ID) == here


@pytest.mark.parametrize("command", TAKES)
def test_the_help_says_how_a_run_is_named(capsys, command):
    with pytest.raises(SystemExit):
        TAKES[command][0].main(["--help"])
    assert find.RUN in " ".join(capsys.readouterr().out.split())
