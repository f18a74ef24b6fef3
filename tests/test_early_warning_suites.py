"""Early warning: the grids of made-up runs, and the suites that probe around their onsets."""

import dataclasses
import json

import made_up
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bench.runs import evaluations
from bench.runs.catalogue import ROOT
from bench.runs.record import TRACES, TRAIN
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.traces import Traces
from report import early_warning, suite_figures
from report.collect import collect
from report.early_warning import DETECTORS, Detector, collapse, grid, readings
from report.traces import read

EPOCHS, UPDATES = 20, 2000
BEGUN = {0: 1720, 1: None, 2: 800}  # first update of the collapse, by seed
HOLDS = 1
WATCHED = [evaluations.read(one.entry) for one in DETECTORS if one.entry]


def robust(seed, update):
    """PGD-10 in percent."""
    return 20.0 if BEGUN[seed] is None or update < BEGUN[seed] else 1.0


def trained(folder, seed, watch, digest):
    """Write traces in which every number but PGD-10 says when it was read; return the training."""
    tensors = {"loss": torch.arange(1.0, UPDATES + 1)}
    for entry in map(evaluations.read, watch):
        at = list(range(entry.since, entry.until + 1, entry.every))
        name = entry.printed if entry.kind == "attack" else entry.column(entry.file)
        values = [robust(seed, k) if name == "pgd10" else float(k) for k in at]
        tensors |= {f"watch.{name}": torch.tensor(values), f"watch.{name}.update": torch.tensor(at)}
    traces = Traces()
    traces.add(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    body = made_up.training(epochs=EPOCHS)
    curves = [
        dataclasses.replace(one, probe={"pgd10": robust(seed, 100 * (one.epoch + 1))})
        for one in body.curves
    ]
    return dataclasses.replace(
        body, curves=curves, updates=UPDATES, watched=watch, traces=traces.write(folder / TRACES),
        weights={"last": {"full": f"{digest}{seed}"}},
    )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    """Train the runs of a suite's file, as it were; return the file, and how to train it."""
    path = tmp_path / "mine.yaml"
    given = read_yaml(made_up.ROOT / "workflows/config/digits.yaml")
    given |= {"suite": "mine", "methods": ["fgsm"], "seeds": [*BEGUN], "evaluations": ["pgd20"]}
    path.write_text(yaml.safe_dump(given))

    def train(path, digest="a"):
        suite = parse_suite(read_yaml(path))
        for config in expand(suite):
            folder = tmp_path / "runs" / config.folder
            seed = HOLDS if config.method == "pgd2" else config.seed
            training = trained(folder, seed, suite.watch, digest)
            made_up.write(tmp_path / "runs", config, TRAIN, training=training)

    return path, train


def call(path):
    early_warning.main([str(path), "--results", str(path.parent)])


def test_the_second_pass_probes_around_each_onset_and_where_none_is_around_the_usual_one(
    project, capsys
):
    path, train = project
    train(path)
    call(path)
    suites = sorted((path.parent / "early_warning").glob("*.yaml"))
    found = [parse_suite(read_yaml(one)) for one in suites]
    assert [one.seeds for one in found] == [[1, 2], [0]]
    for suite, window in zip(found, ("since_0-until_1050", "since_200-until_2000"), strict=True):
        assert suite.watch == [f"{one.name}-every_5-{window}" for one in WATCHED]
        assert suite.evaluations == ["pgd20", *suite.watch]
    first = {config.folder for config in expand(parse_suite(read_yaml(path)))}
    assert {config.folder for one in found for config in expand(one)} == first, "other runs"
    said = capsys.readouterr().out
    assert "fgsm, seed 0: collapses before update 1800; to be probed from 200 to 2000" in said
    assert "fgsm, seed 1: holds; to be probed from 0 to 1050" in said


def test_a_method_that_holds_is_probed_where_another_collapsed(project, capsys):
    path, train = project
    path.write_text(yaml.safe_dump(read_yaml(path) | {"methods": ["fgsm", "pgd2"], "seeds": [0]}))
    train(path)
    call(path)
    assert "pgd2, seed 0: holds; to be probed from 200 to 2000" in capsys.readouterr().out


def test_a_second_pass_with_other_weights_is_told(project, capsys):
    path, train = project
    train(path)
    call(path)
    for dense in (path.parent / "early_warning").glob("*.yaml"):
        train(dense)
    call(path)
    assert capsys.readouterr().out.count("probed, with the first's weights") == 3
    train(next((path.parent / "early_warning").glob("*-2000.yaml")), digest="b")
    with pytest.raises(
        SystemExit, match="in 1 run the second pass trained other weights than the first"
    ):
        call(path)
    said = capsys.readouterr().out
    assert "fgsm, seed 0: collapses before update 1800; probed, NOT with" in said


def test_what_cannot_be_probed_is_told_in_a_sentence(project, tmp_path, capsys):
    path, train = project
    call(path)
    assert capsys.readouterr().out.count("not run") == 3
    given = read_yaml(path)
    path.write_text(yaml.safe_dump(given | {"seeds": [1]}))
    train(path)
    call(path)
    assert "fgsm, seed 1: holds; no run tells where to probe" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="early_warning: there is no file"):
        call(tmp_path / "gone.yaml")


def test_all_detectors_are_read_on_one_grid_those_that_cost_nothing_too(project):
    path, train = project
    train(path)
    call(path)
    train(next((path.parent / "early_warning").glob("*-2000.yaml")))
    runs = early_warning.runs_of(expand(parse_suite(read_yaml(path))), path.parent)
    bodies = {run.config.seed: run.records[TRAIN].training for run in runs}
    assert grid(bodies[1]) is None, "of the first pass"
    found, at = read(runs[0].place, bodies[0]), grid(bodies[0])
    assert at.tolist() == [*range(200, 2001, 5)]
    for detector in DETECTORS:
        if detector.free in (None, "loss") and detector.column != "pgd10":
            assert readings(found, detector, at).tolist() == at.tolist(), detector
    assert readings(found, Detector("no", True, free="no"), np.array([5])) is None
    assert (collapse(bodies[0]), collapse(bodies[0], found)) == (1800, 1720)
    assert collapse(bodies[1]) is None


def drawn(path):
    given = read_yaml(path) | {"figures": ["early_warning"]}
    (figure,) = suite_figures.render(parse_suite(given), path.parent)
    folder = path.parent / "figures/mine"
    table = pd.read_csv(folder / "early_warning.csv") if figure.pictures else None
    return figure, table


def test_the_table_is_of_the_second_pass_and_names_its_records(project):
    path, train = project
    train(path)
    call(path)
    assert "python -m bench early_warning" in drawn(path)[0].lacking
    for dense in (path.parent / "early_warning").glob("*.yaml"):
        train(dense)
    figure, table = drawn(path)
    assert [one.name for one in figure.pictures] == [
        "early_warning", "early_warning-leads", "early_warning-public",
    ]  # fmt: skip
    assert len(table) == len(WATCHED) + 1, "and of what is free, the loss alone was traced"
    rows = table.set_index("detector")
    (title,) = figure.pictures[0].spec["title"]["text"]
    assert title.startswith("Leads in updates; 3 runs, 2 collapsed, 2 of them judged")
    # PGD-10 stands still and falls at the onset: its third reading beyond is 10 updates later
    robust = rows.loc["accuracy under PGD-10"]
    assert [*robust[["lead, median, updates", "least", "most"]]] == ["-10.0", "-10", "-10"]
    assert (robust["first"], robust["missed"], robust["passes"]) == (2, "0 of 2", "12 F, 10 B")
    # the others rise by the same number with every reading, of which one side is no fall
    assert rows.loc["training loss"]["missed"] == "2 of 2"
    assert rows.loc["training loss"]["passes"] == "none"
    first = rows["records"].iloc[0].split()
    assert len(first) == 3
    (path.parent / "runs" / first[0]).unlink()
    assert drawn(path)[1]["records"].iloc[0].split() == first[1:]


def test_a_collapse_with_few_readings_before_it_is_told_as_not_judged(project, monkeypatch):
    path, train = project
    monkeypatch.setitem(BEGUN, 2, 490)
    train(path)
    call(path)
    for dense in (path.parent / "early_warning").glob("*.yaml"):
        train(dense)
    (title,) = drawn(path)[0].pictures[0].spec["title"]["text"]
    assert title == (
        "Leads in updates; 3 runs, 2 collapsed, 1 of them judged (before the other 1: 97 readings)"
    )


def test_published_second_passes_ended_in_the_weights_of_the_first():
    folder = ROOT / "results/published/early_warning"
    first = json.loads((folder / "first.json").read_bytes())
    probed = 0
    for run in collect(published=folder).runs:
        training = run.records[TRAIN].training
        assert training.weights["last"]["full"] == first[run.folder], run.folder
        if grid(training) is not None:
            assert read(run.place, training).watched
            probed += 1
    assert probed, "none was probed"


def test_a_grid_is_one_that_all_detectors_share():
    spelt = [f"{one.name}-every_5-since_0-until_20" for one in WATCHED]
    body = dataclasses.replace(made_up.training(), updates=18)
    assert grid(dataclasses.replace(body, watched=spelt)).tolist() == [5, 10, 15]
    assert grid(dataclasses.replace(body, watched=spelt[:-1])) is None
    other = [*spelt[:-1], spelt[-1].replace("every_5", "every_6")]
    assert grid(dataclasses.replace(body, watched=other)) is None
    assert grid(body) is None
