"""Evaluations: a mapping, the stage's name and the printed one stand for each other."""

import re

import made_up
import pytest

from bench.runs import catalogue, evaluations
from bench.runs.evaluations import as_mapping, known, pattern, read
from bench.runs.record import ConfigError, is_stage
from bench.runs.run import expand
from bench.runs.stage import stage, stages_for
from report.printed import papers, printed

PGD = {"attack": "pgd"}


@pytest.mark.parametrize(
    ("mapping", "name", "shown", "title"),
    [
        (PGD, "pgd20", "pgd20", "PGD-20"),
        (PGD | {"steps": 50, "restarts": 10}, "pgd50_10", "pgd50_10", "PGD-50-10"),
        (PGD | {"eps": "6/255"}, "pgd20-6_255", "pgd20 6/255", "PGD-20 6/255"),
        (PGD | {"eps": 1}, "pgd20-1", "pgd20 1", "PGD-20 1"),
        (
            PGD | {"steps": 100, "norm": "L2", "eps": 1.74},
            "pgd100-l2-1.74",
            "l2 pgd100 1.74",
            "L2 PGD-100 1.74",
        ),
        (PGD | {"alpha": 0.0001}, "pgd20-alpha_0.0001", "pgd20 alpha_0.0001", None),
        (PGD | {"weights": "best"}, "pgd20-weights_best", "pgd20 weights_best", None),
        (
            {"diagnostic": "gradient_alignment"},
            "gradient_alignment",
            "gradient_alignment",
            "gradient alignment",
        ),
        ({"diagnostic": "filters", "at": 63}, "filters-at_63", "filters at_63", "filters at_63"),
    ],
)
def test_three_forms_stand_for_each_other(mapping, name, shown, title):
    entry = read(mapping)
    assert (entry.name, entry.printed) == (name, shown)
    assert read(name) == read(shown) == entry
    assert title is None or entry.title == title
    assert re.fullmatch(pattern(), name)
    assert is_stage(name)
    assert stage(name).flags(stage(name).defaults)["--evaluation"] == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("pgd_target_least_likely_10", "pgd_target_least_likely_10"),
        ("pgd_target_random_20", "pgd_target_random_20"),
        ("pgd_untarget_20", "pgd20"),
        ("square at 4/255", "square-4_255"),
        ("apgd_dlr_targeted at 6/255", "apgd_dlr_targeted-6_255"),
        ("l2 aa 0.5", "aa-l2-0.5"),
        ("cw", "cw"),
        ("pgd", "pgd20"),
        ("pgd20_1", "pgd20"),
        ("pgd20 at 6/255", "pgd20-6_255"),
        ("l2_pgd100 60/255", "pgd100-l2-60_255"),
        ("pgd20 6.0/255", "pgd20-6_255"),
    ],
)
def test_papers_ways_of_writing_are_read(written, name):
    assert read(written).name == name
    assert is_stage(written) == (written == name)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("pdg20", "unknown evaluation 'pdg20': did you mean pgd20"),
        ("pgd20-stepz_3", "unknown setting of pgd 'stepz_3'"),
        ({"steps": 3}, "names no file; write {attack: NAME}"),
        ({"attack": "pgx"}, "unknown attack 'pgx': did you mean pgd?"),
        (PGD | {"stepz": 3}, "unknown setting of pgd 'stepz': did you mean steps?"),
        (PGD | {"steps": "many"}, "pgd.steps = 'many' is no int"),
        (PGD | {"eps": "8/256"}, "a radius is a text like 6/255, or a number like 0.5"),
        (PGD | {"eps": 6}, "an Linf radius lies in (0, 1], like 6/255, and one of L2 needs"),
        (PGD | {"norm": "L1"}, "unknown norm 'L1'"),
        ({"attack": "autoattack_best", "norm": "L7"}, "unknown norm 'L7'"),
        (PGD | {"weights": "worst"}, "unknown weights 'worst'"),
        (PGD | {"at": "end"}, "at is 'end' of attack pgd; it is a number of updates"),
        (PGD | {"at": 3, "weights": "best"}, "at update 3, and has weights as well; leave one out"),
        (PGD | {"at": 3, "every": 5}, "at update 3, and has every as well; leave one out"),
        ("autoattack_best-at_3", "at update 3, and has weights best as well; leave one out"),
    ],
)
def test_mistakes_are_one_sentence(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        read(given)


def test_a_suite_takes_both_forms_and_no_evaluation_twice():
    both = [PGD | {"steps": 50, "restarts": 10}, "gradient_alignment"]
    suite = made_up.digits_suite(evaluations=both)
    assert [one.name for one in stages_for(suite)][2:-1] == ["gradient_alignment", "pgd50_10"]
    with pytest.raises(ConfigError, match="names something twice"):
        made_up.digits_suite(evaluations=[*both, "pgd50_10"])
    with pytest.raises(ConfigError, match="unknown attack 'pgx'"):
        made_up.digits_suite(evaluations=[{"attack": "pgx"}])


def test_an_evaluation_of_another_norm_is_refused_at_planning(monkeypatch):
    original = catalogue.class_constant

    def alone(name, constant, kind):
        return ("Linf",) if (name, constant) == ("pgd", "norms") else original(name, constant, kind)

    monkeypatch.setattr(catalogue, "class_constant", alone)
    suite = made_up.digits_suite(methods=["fgsm"], norms=["L2"], evaluations=["pgd20", "fgsm"])
    with pytest.raises(ConfigError, match=r"attack pgd has no L2 form, only .*fgsm.* have"):
        expand(suite)
    with pytest.raises(ValueError, match="attack pgd has no L2 form, only Linf"):
        read(PGD | {"norm": "L2"})


def test_diagnostics_while_training_are_of_training_and_of_the_end():
    fifty = {"diagnostic": "gradient_alignment", "every": 50}
    suite = made_up.digits_suite(evaluations=[fifty, "pgd20"])
    assert suite.evaluations == ["gradient_alignment-every_50", "pgd20"]
    assert suite.watch == ["gradient_alignment-every_50"]
    assert expand(suite)
    names = [stage.name for stage in stages_for(suite)]
    assert names == ["train", "autoattack", "gradient_alignment", "pgd20", "cost"]
    twice = made_up.digits_suite(evaluations=[fifty, fifty | {"every": 7}])
    with pytest.raises(ConfigError, match="gradient_alignment is to be measured at two intervals"):
        expand(twice)
    window = fifty | {"every": 5, "since": 100, "until": 200}
    dense = made_up.digits_suite(evaluations=[fifty, window, {"attack": "pgd", "every": 50}])
    assert dense.watch[1] == "gradient_alignment-every_5-since_100-until_200"
    assert read(dense.watch[1]) == read(window)
    assert expand(dense)
    assert [stage.name for stage in stages_for(dense)] == [
        "train", "autoattack", "gradient_alignment", "pgd20", "cost",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"since update 99999, and protocol .* after \d+"):
        expand(made_up.digits_suite(evaluations=[window | {"since": 99999, "until": 99999}]))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"diagnostic": "elle", "since": 5}, "diagnostic elle has since, and no every"),
        ({"diagnostic": "elle", "every": 5, "until": "x"}, "until is 'x' .* a number of updates"),
        ({"diagnostic": "elle", "every": 0}, "every is 0 of diagnostic elle"),
        ({"diagnostic": "elle", "every": 5, "since": 9, "until": 8}, "the first comes first"),
        ({"attack": "aa", "every": 5}, "attack aa cannot be measured while training"),
        ({"attack": "transfer", "every": 5}, "attack transfer cannot be measured while training"),
    ],
)
def test_what_cannot_be_measured_while_training_is_refused(entry, said):
    with pytest.raises(ValueError, match=said):
        read(entry)


def test_names_are_safe_in_files_and_read_back():
    for name in known():
        assert re.fullmatch(r"[a-z0-9_.-]+", name)
        assert read(name).name == name


def test_settings_of_a_record_hold_what_is_not_the_runs():
    assert as_mapping(read("pgd50_10-6_255")) == {
        "steps": 50, "restarts": 10, "alpha": 0.25, "eps": "6/255",
    }  # fmt: skip


def test_printed_names_are_found_but_those_that_say_no_attack():
    attacks = {number.attack for paper in papers() for number in printed(paper.key)}
    found = {attack for attack in attacks if re.match(r"pgd\d", attack)}
    assert found >= {"pgd20", "pgd100", "pgd20_50", "pgd50_10"}
    assert all(read(attack).file == "pgd" for attack in found)
    assert attacks >= {"mifgsm", "cw", "simba", "square", "fab_targeted", "transfer_from_vgg11"}
    accuracies = {number.attack for paper in papers() for number in printed(paper.key)
                  if number.unit == "%"}  # fmt: skip
    unread = {attack for attack in accuracies - {"clean", "autoattack"} if not is_read(attack)}
    assert unread == {"pgd_unspecified", "curve_pgd_unspecified", "curve_fgsm"}
    assert evaluations.read("pgd20_50").settings["restarts"] == 50


def is_read(attack):
    try:
        return bool(read(attack))
    except ValueError:
        return False
