"""Phase diagrams: verdicts by cell, the border between them, and the suite that refines it."""

import dataclasses

import made_up
import pytest
import yaml

from bench.runs.record import Episode, Verdict
from bench.runs.run import expand
from bench.runs.suite import parse_suite
from report.collect import collect
from report.paper_figures import phase as figure
from report.phase import midpoints, outcome, phases, varying
from report.refine import main

GRID = {"methods": ["fgsm"], "eps": [20, 40, 60], "seeds": [0, 1],
        "method_args": {"fgsm": {"alpha": [0.5, 1.0]}}}  # fmt: skip


def write(root, config, what):
    """Leave the training record of a run that went one way."""
    training = made_up.training(onset=0) if what == "collapsed" else made_up.training()
    if what == "recovered":
        spell = Episode(first=0, last=0, depth=0.5)
        verdict = Verdict(collapsed=False, onset_epoch=None, episodes=[spell])
        training = dataclasses.replace(training, verdict=verdict)
    if what == "did not learn":
        training = made_up.training(clean=10.0, fgsm=10.0, pgd10=10.0)
    if what == "never robust":
        training = made_up.training(fgsm=60.0, pgd10=10.0)
    if what == "diverged":
        made_up.write(root, config, "train", status="diverged", reason="nan", data=None)
    elif what == "failed":
        made_up.write(root, config, "train", status="failed", reason="OSError", data=None)
    else:
        made_up.write(root, config, "train", training=training)


def grid(root, fates, **changes):
    """Write the records of a suite; return its runs as they are read, and the suite."""
    suite = made_up.digits_suite(suite="tried", **(GRID | changes))
    for config in expand(suite):
        fate = fates(float(config.eps.partition("/")[0]), config.settings["alpha"], config.seed)
        if fate:
            write(root / "runs", config, fate)
    return collect(published=root / "published", runs=root / "runs").runs, suite


def beyond(x, alpha, seed):
    return "collapsed" if x * alpha > 35 else "healthy"


def test_a_cell_has_the_verdict_of_most_of_its_seeds_and_the_worst_of_as_many(tmp_path):
    fates = {0: "healthy", 1: "collapsed", 2: "healthy"}
    (one,) = phases(grid(tmp_path, lambda x, a, s: fates[s], seeds=[0, 1, 2])[0])
    assert {cell.verdict for cell in one.cells} == {"healthy"}
    (one,) = phases(grid(tmp_path / "two", lambda x, a, s: fates[s])[0])
    assert {cell.verdict for cell in one.cells} == {"collapsed"}
    assert {tuple(sorted(cell.outcomes)) for cell in one.cells} == {("collapsed", "healthy")}


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        ("collapsed", "collapsed"), ("recovered", "recovered"), ("healthy", "healthy"),
        ("did not learn", "did not learn"), ("diverged", "did not learn"), ("failed", None),
        ("never robust", "never robust"),
    ],
)  # fmt: skip
def test_every_run_has_one_word(tmp_path, fate, said):
    runs, _ = grid(tmp_path, lambda *_: fate)
    assert {outcome(run) for run in runs} == {said}


def test_the_border_is_where_neighbours_differ(tmp_path):
    (one,) = phases(grid(tmp_path, beyond)[0])
    assert (one.method, one.x, one.y) == ("fgsm", "eps", "alpha")
    cells = {(cell.x, cell.y): cell for cell in one.cells}
    assert {place for place, cell in cells.items() if cell.verdict == "collapsed"} == {
        (40, 1.0), (60, 1.0),
    }  # fmt: skip
    assert {place for place, cell in cells.items() if not cell.border} == {(20, 0.5)}
    assert midpoints(one.cells, across=True) == [30]
    assert midpoints(one.cells, across=False) == [0.75]


def test_cells_without_a_verdict_are_no_neighbours(tmp_path):
    runs, _ = grid(tmp_path, lambda x, a, s: None if (x, a) == (40, 1) else beyond(x, a, s))
    (one,) = phases(runs)
    assert {(cell.x, cell.y) for cell in one.cells if cell.border} == {(60, 0.5), (60, 1.0)}
    assert len(one.cells) == 5


def test_runs_that_vary_in_one_number_or_in_three_make_no_diagram(tmp_path):
    assert phases(grid(tmp_path, beyond, eps=[20])[0]) == []
    three = {"sora": {"tau": [0.01, 0.02], "theta": [0.05, 0.1]}}
    suite = made_up.digits_suite(methods=["sora"], eps=[20, 40], method_args=three)
    assert varying(expand(suite)) == ["eps", "tau", "theta"]


def test_any_two_settings_will_do():
    two = {"sora": {"tau": [0.01, 0.02], "rule": ["paper"], "alpha_max": [1.0, 2.0]}}
    suite = made_up.digits_suite(methods=["sora"], eps=[20], seeds=[0, 1], method_args=two)
    assert {*varying(expand(suite))} == {"tau", "alpha_max"}


def test_the_picture_says_verdict_seeds_and_border_and_loses_a_cell_with_its_records(tmp_path):
    runs, _ = grid(tmp_path, beyond)
    (picture,) = figure.draw(runs)
    lines = picture.csv.splitlines()
    assert lines[0] == "eps,alpha,verdict,seeds of that verdict,border,records"
    assert len(lines) == 7
    (cell,) = [line for line in lines if line.startswith("40,1,")]
    assert cell.startswith("40,1,collapsed,2 of 2,border,digits/small_cnn/fgsm/")
    records = cell.rpartition(",")[2].split()
    assert len(records) == 2
    for name in records:
        (tmp_path / "runs" / name).unlink()
    left = collect(published=tmp_path / "published", runs=tmp_path / "runs").runs
    (picture,) = figure.draw(left)
    assert not [line for line in picture.csv.splitlines() if line.startswith("40,1,")]


def refine(tmp_path, suite, capsys):
    path = tmp_path / "tried.yaml"
    path.write_text(yaml.safe_dump(suite.model_dump(mode="json", exclude_unset=True)))
    main([str(path), "--results", str(tmp_path)])
    out = capsys.readouterr().out
    new = parse_suite(yaml.safe_load(out))
    fresh = {run.folder for run in expand(new)} - {run.folder for run in expand(suite)}
    assert f"# {len(expand(new))} runs, {len(fresh)} of them new." in out
    return new


def test_refine_prints_the_suite_that_divides_the_border(tmp_path, capsys):
    _, suite = grid(tmp_path, beyond)
    new = refine(tmp_path, suite, capsys)
    assert new.suite == "tried_refined"
    assert new.eps == [20, 30, 40, 60]
    assert new.method_args["fgsm"] == [{"alpha": [0.5, 0.75, 1.0]}]
    same = {"suite", "eps", "method_args"}
    assert new.model_dump(exclude=same) == suite.model_dump(exclude=same)
    old = {config.run_id for config in expand(suite)}
    assert len(old & {config.run_id for config in expand(new)}) == len(old)


def test_refining_again_halves_the_steps_and_leaves_behind_what_is_far_from_the_border(
    tmp_path, capsys
):
    def left(x, alpha, seed):
        return "collapsed" if x > 35 else "healthy"

    _, suite = grid(tmp_path, left, eps=[20, 40, 60, 80])
    new = refine(tmp_path, suite, capsys)
    assert (new.eps, new.method_args["fgsm"]) == ([20, 30, 40], [{"alpha": [0.5, 1.0]}])
    for config in expand(new):
        write(tmp_path / "runs", config, left(float(config.eps.partition("/")[0]), 1, 0))
    again = refine(tmp_path, new, capsys)
    assert again.eps == [30, 35, 40]


def test_what_is_laid_over_the_default_suite_is_refined_likewise(tmp_path, capsys):
    _, suite = grid(tmp_path, beyond)
    path = tmp_path / "over.yaml"
    given = suite.model_dump(mode="json", exclude={"suite"})
    path.write_text(yaml.safe_dump(given))
    main([str(path), "--results", str(tmp_path)])
    new = yaml.safe_load(capsys.readouterr().out)
    assert "suite" not in new
    assert parse_suite(new).eps == [20, 30, 40, 60]


@pytest.mark.parametrize(
    ("changes", "fates", "said"),
    [
        (
            {},
            lambda *_: "healthy",
            "all 6 cells are of one verdict (healthy), so there is no border",
        ),
        (
            {},
            lambda *_: None,
            "verdicts on 0 of its 12 runs are too few to find a border; run the suite first: snake",
        ),
        (
            {},
            lambda x, alpha, seed: beyond(x, alpha, seed) if x == 20 else None,
            "verdicts on 4 of its 12 runs are too few",
        ),
        (
            {"datasets": ["digits", "mnist_5k"]},
            beyond,
            "its runs make 2 diagrams, one for each data set, network and choice of settings that",
        ),
        ({"eps": [20]}, beyond, "it varies alpha of fgsm; a phase diagram is of two numbers"),
        ({"methods": ["fgsm", "pgd2"]}, beyond, "of fgsm, pgd2; a phase diagram is of two numbers"),
    ],
)
def test_what_cannot_be_refined_is_said_in_a_sentence(tmp_path, capsys, changes, fates, said):
    suite = made_up.digits_suite(suite="tried", **(GRID | changes))
    if changes.get("methods") is None:
        grid(tmp_path, fates, **changes)
    with pytest.raises(SystemExit) as error:
        refine(tmp_path, suite, capsys)
    assert said in str(error.value)
