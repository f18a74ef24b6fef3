"""Early warning: the grids of made-up runs, and the suites that probe around their onsets."""

import dataclasses

import made_up
import numpy as np
import pytest
import torch
import yaml

from bench.runs.record import TRACES, TRAIN
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.traces import Traces
from report import early_warning
from report.early_warning import DETECTORS, Detector, Grid, grids, readings, window
from report.traces import read

UPDATES = 2000
FIRST = ["pgd10-every_50", "elle-every_50"]
BEGUN = {0: 1500, 1: None, 2: 1000}  # by seed


def traced(folder, watched, begun):
    """Write traces: PGD-10 falls to 1 % at an update, and every number says when it was read."""
    at = sorted({u for u in range(0, UPDATES + 1, 50)} | {
        u for one in watched if one.until for u in range(one.since, one.until + 1, one.every)
    })
    robust = [20.0 if begun is None or u < begun else 1.0 for u in at]
    tensors = {"loss": torch.arange(1.0, UPDATES + 1), "watch.pgd10": torch.tensor(robust),
               "watch.elle": torch.tensor(at, dtype=torch.float32)}  # fmt: skip
    tensors |= {f"watch.{name}.update": torch.tensor(at) for name in ("pgd10", "elle")}
    traces = Traces()
    traces.add(tensors)
    folder.mkdir(parents=True, exist_ok=True)
    return traces.write(folder / TRACES)


@pytest.fixture
def project(tmp_path):
    """Train the runs of a suite's file, as it were; return the file, and how to train it."""
    path = tmp_path / "mine.yaml"
    given = read_yaml(made_up.ROOT / "workflows/config/digits.yaml")
    given |= {"suite": "mine", "methods": ["fgsm"], "seeds": [*BEGUN], "evaluations": FIRST}
    path.write_text(yaml.safe_dump(given))

    def train(path, digest="a"):
        suite = parse_suite(read_yaml(path))
        for config in expand(suite):
            folder = tmp_path / "runs" / config.folder
            watched = [early_warning.evaluations.read(one) for one in suite.watch]
            training = dataclasses.replace(
                made_up.training(), updates=UPDATES, watched=suite.watch,
                traces=traced(folder, watched, BEGUN[config.seed]),
                weights={"last": {"full": f"{digest}{config.seed}"}},
            )  # fmt: skip
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
    assert found[1].evaluations == [*FIRST, *(
        f"{name}-every_5-since_0-until_1750" for name in ("pgd10", "elle")
    )]
    assert found[0].watch[2] == "pgd10-every_5-since_0-until_1250"
    first = {config.folder for config in expand(parse_suite(read_yaml(path)))}
    assert {config.folder for one in found for config in expand(one)} == first, "other runs"
    assert "fgsm, seed 1: holds; to be probed from 0 to 1250" in capsys.readouterr().out


def test_a_second_pass_with_other_weights_is_told(project, capsys):
    path, train = project
    train(path)
    call(path)
    for dense in (path.parent / "early_warning").glob("*.yaml"):
        train(dense)
    call(path)
    assert capsys.readouterr().out.count("probed, and with the first's weights") == 3
    train(next((path.parent / "early_warning").glob("*1750.yaml")), digest="b")
    with pytest.raises(SystemExit, match="1 runs of the second pass are not those of the first"):
        call(path)
    assert "fgsm, seed 0: collapses at update 1500; probed, and NOT" in capsys.readouterr().out


def test_what_cannot_be_probed_is_told_in_a_sentence(project, tmp_path, capsys):
    path, train = project
    call(path)
    assert capsys.readouterr().out.count("not run") == 3
    given = read_yaml(path)
    path.write_text(yaml.safe_dump(given | {"evaluations": FIRST[1:]}))
    with pytest.raises(SystemExit, match="suite mine does not measure pgd10 while training; list"):
        call(path)
    with pytest.raises(SystemExit, match="there is no file"):
        call(tmp_path / "gone.yaml")


def test_all_detectors_are_read_on_one_grid_those_that_cost_nothing_too(project):
    path, train = project
    train(path)
    call(path)
    train(next((path.parent / "early_warning").glob("*1750.yaml")))
    (run,) = [one for one in early_warning.runs_of(expand(parse_suite(read_yaml(path))), path.parent)
              if one.config.seed == 0]  # fmt: skip
    training = run.records[TRAIN].training
    found = read(run.place, training)
    dense, whole = grids(training)
    assert (dense, whole) == (Grid(5, 0, 1750), Grid(50, 0, None))
    loss, elle = (next(d for d in DETECTORS if d.column == name) for name in ("loss", "elle"))
    for grid, at in ((dense, range(5, 1751, 5)), (whole, range(50, 2001, 50))):
        assert grid.updates(UPDATES).tolist() == [*at]
        for detector in (loss, elle):
            assert readings(found, detector, grid.updates(UPDATES)).tolist() == [*at]
    assert readings(found, Detector("no", True, free="no"), np.array([5])) is None


def test_a_grid_is_one_that_all_detectors_share():
    training = dataclasses.replace(
        made_up.training(),
        watched=[*FIRST, "pgd10-every_5-since_20-until_90"],
    )
    assert grids(training) == [Grid(50, 0, None)]
    assert grids(made_up.training()) == []


def test_windows_begin_before_the_onset_and_stay_within_training():
    assert window(5350, 11730) == (3850, 5600)
    assert window(700, 11730) == (0, 950)
    assert window(11700, 11730) == (10200, 11730)
