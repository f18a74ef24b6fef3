"""Printed numbers beside ours: what is compared, what departs, and why a cell is empty."""

import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
import sys
from collections import Counter

import made_up
import pytest

from bench.runs import catalogue
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import (
    Attack,
    Averaged,
    Best,
    Config,
    Data,
    Epoch,
    Evaluation,
    Record,
    Score,
    Start,
    Training,
    Value,
    Verdict,
    is_radius,
)
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from report import benchmark, readme, render
from report.collect import RunRecords
from report.groups import groups
from report.papers import main, page
from report.printed import Choice, Paper, Printed, papers, printed
from report.reproduction import (
    ATTACKS,
    _incomparable,
    _is,
    _shared,
    _stage,
    effects,
    paper_report,
)

HOSTILE = "<script>alert('x')</script> \"q\" | a\\b"
RESNET10 = "resnet10_nobn"
PAPER = Paper(
    key="p", title="P", authors="A", venue="V", link="https://arxiv.org/abs/1", source="s",
    protocols=["sora-paper"], settings={"sora": {"tau": 0.02}}, choices=[],
)  # fmt: skip
NUMBER = Printed(
    table="Table 1", dataset="cifar10", architecture="preact_resnet18", norm="Linf", eps="8/255",
    label="SORA", method="sora", settings={}, attack="autoattack", checkpoint="last",
    value="40.0", unit="%", spread="", seeds=None, images=None, epochs="30", note="",
)  # fmt: skip
# accuracies that runs could be compared with, at least
LEAST = {"sora": 19, "seat": 105, "soar": 423, "gradalign": 7, "robustbench": 4, "fastat": 354}
LEAST_OTHERS = {"seat": 12, "soar": 27, "gradalign": 1}  # that are no accuracies
RULE = Choice(what="w", known="s", method="sora", field="rule", options=["code", "paper"])
DATA = Data(checksum="c", official=True, train_images=50_000, test_images=10_000)


def record(stage, config, status="done", reason=None, data=DATA, **body):
    return Record(
        stage=stage, run="r", config=config, status=status, reason=reason, data=data, **body
    )


def run(
    aa=40.0, *, n=10_000, seed=0, data=DATA, settings=None, protocol="sora-paper", mode="exact",
    **changes,
):  # fmt: skip
    """A run whose every accuracy is the same."""
    config = Config(**{
        "dataset": "cifar10", "architecture": "preact_resnet18", "width": 64, "method": "sora",
        "settings": {"tau": 0.02, "rule": "code"} | (settings or {}), "eps": "8/255", "seed": seed,
        "protocol": PROTOCOLS[protocol].as_dict(), **changes,
    })  # fmt: skip
    score = Score(accuracy=aa, n=n)
    training = Training(
        epochs=1, updates=2, parameters=3, train_seconds=1.0, data_seconds=0.1, probe_seconds=0.2,
        peak_bytes=None, state_bytes=0, probe_images=10, resumed=0, clean=score, fgsm=score,
        pgd10=score, verdict=Verdict(collapsed=False, onset_epoch=None), method_source="",
        curves=[Epoch(epoch=0, lr=0.1, loss=1.0, pert_align=0.5, reach=1.0, state={}, probe={})],
    )  # fmt: skip
    attack = Attack(
        version="standard", library="x", seed=0, batch=8, n=n, accuracy=aa,
        after={"clean": aa, "apgd-ce": aa + 1, "square": aa}, robust={}, attack_seconds=1.0,
        mode=mode,
    )  # fmt: skip
    measure = Evaluation(settings={}, scores={"pgd50_10": score}, measure_seconds=1.0)
    return RunRecords(folder=f"{seed}", config=config, published=False, records={
        "train": record("train", config, data=data, training=training),
        "autoattack": record("autoattack", config, data=data, attack=attack),
        "pgd50_10": record("pgd50_10", config, data=data, measure=measure),
    })  # fmt: skip


def trained(number):
    return {"dataset": number.dataset, "architecture": number.architecture, "eps": number.eps}


def chosen(weights):
    """A run that chose or averaged weights, which are better than its last."""
    found = run()
    scores = {"clean": Score(accuracy=81.0, n=10_000), "fgsm": Score(accuracy=51.0, n=10_000),
              "pgd10": Score(accuracy=46.0, n=10_000)}  # fmt: skip
    kept = Averaged(**scores) if weights == "average" else \
        Best(epoch=0, validation=47.0, **scores)  # fmt: skip
    training = dataclasses.replace(found.records["train"].training, **{weights: kept})
    found.records["train"] = record("train", found.config, training=training)
    return found


def cell(*runs, paper=PAPER, **changes):
    (found,) = paper_report(paper, [dataclasses.replace(NUMBER, **changes)], runs).blocks[0].cells
    return found


# the data


@pytest.mark.parametrize("paper", papers(), ids=lambda paper: paper.key)
def test_printed_numbers_are_sound_and_stand_once(paper):
    numbers = printed(paper.key)
    keys = Counter((n.table, n.dataset, n.architecture, n.norm, n.eps, n.label, n.attack)
                   for n in numbers)  # fmt: skip
    assert [key for key, count in keys.items() if count > 1] == []
    for number in numbers:
        assert number.unit in {
            "%", "% fooled", "% confidence", "loss", "L2 distance", "min", "s", "GiB", "elements",
            "passes", "Lipschitz bound", "cosine", "ratio", "times FGSM", "batch",
        }  # fmt: skip
        assert number.number >= 0
        assert not number.unit.startswith("%") or number.number <= 100
        assert number.method in {"", *catalogue.names("methods")}
        assert number.dataset in catalogue.names("bench/data")
        assert number.norm in ("Linf", "L2", "")
        assert not number.eps or is_radius(number.eps, number.norm.partition("/")[0])
        unknown = number.settings.keys() - catalogue.default_settings(number.method).keys() \
            if number.method in catalogue.names("methods") else ()  # fmt: skip
        assert not unknown


def test_no_number_was_lost_on_the_way():
    counts = {paper.key: len(printed(paper.key)) for paper in papers()}
    assert counts == {
        "sora": 30, "seat": 156, "soar": 547, "gradalign": 19, "robustbench": 4, "fastat": 496,
    }  # fmt: skip


def soar(*tables, label="", network=RESNET10):
    return [
        number
        for number in printed("soar")
        if number.table in tables and number.label.startswith(label)
        and number.architecture == network
    ]  # fmt: skip


def test_two_spreads_of_soar_are_as_printed():
    (transfer,) = [n for n in soar("Tables 2 and 16", label="ADV")
                   if n.attack == "transfer_pgd1000_from_resnet"]  # fmt: skip
    (confidence,) = [n for n in soar("Table 5", label="Standard")
                     if n.attack == "confidence_random"]  # fmt: skip
    assert (transfer.spread, confidence.spread) == ("0.34", "0.06")


def test_soars_trades_has_its_own_weight_in_forty_rows():
    tables = ("Tables 1 and 15", "Tables 2 and 16", "Table 3", "Table 11", "Table 12", "Table 13")
    found = soar(*tables, label="TRADES")
    assert len(found) == 40
    assert all(number.settings == {"beta": 9.0} for number in found)
    default = catalogue.default_settings("trades")
    assert cell(
        run(**trained(found[0]), method="trades", settings=default), **vars(found[0])
    ).reason


def test_soars_adv_is_best_on_test_in_twenty_four_rows():
    found = soar("Tables 1 and 15", "Tables 2 and 16", "Table 3", label="ADV")
    assert len(found) == 24
    assert {number.checkpoint for number in found} == {"best_on_test"}
    assert sum(number.checkpoint == "best_on_test" for number in printed("soar")) == 24


def test_soars_tables_in_l2_have_the_radius_of_training_and_the_attacks_in_its_name():
    found = [number for number in soar("Table 9", "Table 10", "Table 13")
             if number.attack.startswith("l2 ")]  # fmt: skip
    assert len(found) == 66
    for number in found:
        l2 = number.label.startswith(("ADV", "TRADES"))
        assert (number.norm, number.eps) == (("L2", "1.74") if l2 else ("Linf", "8/255"))
        assert re.fullmatch(r"l2 [a-z0-9_]+ [\d.]+(/255)?", number.attack)


def test_methods_that_are_here_have_their_settings():
    methods = {number.label: (number.method, number.settings) for number in printed("soar")}
    assert methods["FOAR zero init"] == ("soar", {"order": "1", "start": "zero"})
    assert methods["MMA margin=12/255"] == ("mma", {"d_max": 1.5})  # in units of 8/255
    assert methods["MART beta=0.1"] == ("mart", {"beta": 0.1})
    methods = {number.label: (number.method, number.settings) for number in printed("seat")}
    assert methods["SEAT-FL"] == ("seat", {"b": "> 0"})
    assert methods["SEAT w/o proposed attack"] == ("seat", {"attack": "ce", "b": "> 0"})


@pytest.mark.parametrize(("key", "least"), LEAST.items())
def test_so_many_accuracies_can_be_compared(key, least):
    paper = next(paper for paper in papers() if paper.key == key)
    report = paper_report(paper, printed(key), [])
    comparable = [cell.printed.unit == "%" for cell in report.cells if cell.comparable]
    assert sum(comparable) >= least
    assert len(comparable) - sum(comparable) >= LEAST_OTHERS.get(key, 0)
    assert report.comparable + report.incomparable.total() == len(printed(key))
    assert not any(found.comparable for found in report.cells
                   if found.printed.attack == "pgd_unspecified")  # fmt: skip


def test_fastats_numbers_are_those_that_the_page_has():
    rows = {(row.dataset, row.name): row for row in benchmark.read().rows}
    for number in printed("fastat"):
        if number.attack == "autoattack":
            row = rows[number.dataset, number.label]
            assert number.number == row.autoattack
            last = number.label == "PGD-AT"
            assert number.checkpoint == ("last" if last else "best")


def test_papers_and_choices_name_what_exists():
    for paper in papers():
        assert set(paper.protocols) <= PROTOCOLS.keys()
        for method, settings in paper.settings.items():
            assert settings.keys() <= catalogue.default_settings(method).keys()
        for choice in paper.choices:
            assert len(choice.options) >= 2 or not choice.field
            if choice.field == "protocol":
                assert set(choice.options) <= PROTOCOLS.keys()
            elif choice.method:
                assert choice.field in catalogue.default_settings(choice.method)


def test_a_line_that_is_no_number_is_named(tmp_path, monkeypatch):
    shutil.copytree(catalogue.ROOT / "report/papers", tmp_path / "papers")
    text = (tmp_path / "papers/sora.csv").read_text()
    (tmp_path / "papers/sora.csv").write_text(text.replace("35.54", "35,54 %", 1).replace('"', ""))
    monkeypatch.setattr("report.printed.FOLDER", tmp_path / "papers")
    with pytest.raises(ValueError, match=r"sora\.csv line 3"):
        printed("sora")


# what is compared


@pytest.mark.parametrize(
    "changes",
    [{"dataset": "cifar100"}, {"architecture": "resnet18"}, {"eps": "16/255"}, {"method": "fgsm"}],
    ids=str,
)
def test_only_like_is_compared_with_like(changes):
    found = cell(run(**changes))
    assert (found.ours, found.reason, found.verdict) == (None, "no run of sora like it", "none")


@pytest.mark.parametrize("eps", ["0.5", "127.5/255"])
def test_a_number_in_l2_is_compared_with_runs_in_l2_alone(eps):
    l2 = {"norm": "L2", "eps": "0.5"}
    printed = {"norm": "L2", "eps": eps}
    assert cell(run(**l2), **printed).ours.mean == 40.0
    assert cell(run(eps="127.5/255"), **printed).ours is None
    assert cell(run(**l2), eps=eps).ours is None


def test_a_number_after_a_collapse_is_compared_with_runs_that_ended_so():
    after = {"checkpoint": "last, collapsed"}
    held, fell = run(seed=0), run(10.0, seed=1)
    training = fell.records["train"].training
    verdict = dataclasses.replace(training.verdict, collapsed=True, onset_epoch=0)
    fell.records["train"] = dataclasses.replace(
        fell.records["train"], training=dataclasses.replace(training, verdict=verdict)
    )
    assert cell(held, **after).reason == "no run of sora like it"
    found = cell(held, fell, **after).ours
    assert (found.mean, found.seeds) == (10.0, 1)


def test_a_row_with_settings_is_compared_with_runs_that_have_them():
    with_tau = {"settings": {"tau": 0.5}}
    assert cell(run(), **with_tau).reason == "no run of sora tau=0.5 like it"
    assert cell(run(settings={"tau": 0.5}), **with_tau).ours.mean == 40.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attack": "gama_pgd100"}, "attack gama_pgd100 is not run here"),
        ({"attack": "pgd_unspecified"}, "attack pgd_unspecified is not run here"),
        ({"method": ""}, "method SORA is not here"),
        ({"method": "slat"}, "method slat is not here"),
        ({"settings": {"mood": 1}}, "sora has no setting mood here"),
        ({"architecture": "CNN6"}, "network CNN6 is not here"),
        ({"norm": "L2", "method": "elle"}, "elle does not know L2 here"),
        ({"norm": "L2", "eps": "0.5"}, "no run of sora like it"),
        ({"eps": "", "norm": ""}, "the table names no radius"),
        ({"unit": "loss"}, "autoattack in loss is not measured here"),
        (
            {"unit": "Lipschitz bound", "attack": "lipschitz_upper"},
            "lipschitz_upper in Lipschitz bound is not measured here",
        ),
        ({"unit": "min", "attack": "epoch_time"}, "epoch_time in min is not measured here"),
        ({"checkpoint": "epoch 23"}, "of epoch 23, which no run keeps"),
        ({"checkpoint": "best"}, "not run"),
        (
            {"checkpoint": "best_on_test", "attack": "pgd100"},
            "attack pgd100 is not run here on weights chosen on test images",
        ),
    ],
)
def test_a_number_that_cannot_be_compared_says_why(changes, reason):
    found = cell(run(), **changes)
    assert (found.ours, found.reason) == (None, reason)


@pytest.mark.parametrize("attack", [*ATTACKS, "pgd50_10"])
def test_every_attack_finds_its_own_number(attack):
    assert cell(run(), attack=attack).ours.mean == (41.0 if attack == "apgd_ce" else 40.0)


@pytest.mark.parametrize(("attack", "mean"), [("clean", 81.0), ("fgsm", 51.0), ("pgd10", 46.0)])
@pytest.mark.parametrize("weights", ["best", "average", "best_on_test"])
def test_numbers_of_chosen_weights_are_compared_with_those_of_such_weights(weights, attack, mean):
    assert cell(chosen(weights), checkpoint=weights, attack=attack).ours.mean == mean
    assert cell(chosen(weights), attack=attack).ours.mean == 40.0
    assert cell(run(), checkpoint=weights, attack=attack).reason == "not measured"


def test_attacks_of_chosen_weights_have_names_of_their_own():
    found = chosen("best")
    for name, accuracy in (("autoattack_best", 33.0), ("pgd50_10-weights_best", 34.0)):
        measure = Evaluation(settings={}, scores={name.replace("-", " "): Score(
            accuracy=accuracy, n=100)}, measure_seconds=1.0)  # fmt: skip
        found.records[name] = record(name, found.config, measure=measure)
    assert cell(found, checkpoint="best").ours.mean == 33.0
    assert cell(found, checkpoint="best", attack="pgd50_10").ours.mean == 34.0
    assert cell(found, attack="pgd50_10").ours.mean == 40.0


def measured(value, *, name="cw_mean_l2", unit="L2 distance", stage="cw", seed=0):
    found = run(seed=seed)
    values = {name: Value(value=value, unit=unit, n=100)}
    body = Evaluation(settings={}, scores={}, values=values, measure_seconds=1.0)
    found.records[stage] = record(stage, found.config, measure=body)
    return found


DISTANCE = {"attack": "cw_mean_l2", "unit": "L2 distance", "value": "0.2"}


def test_what_is_no_accuracy_is_found_by_its_name_and_unit():
    two = [measured(0.3, seed=0), measured(0.32, seed=1)]
    found = cell(*two, **DISTANCE)
    assert (found.ours.mean, found.ours.images) == (pytest.approx(0.31), 100)
    assert found.difference_text == "+0.11"
    assert found.verdict == "held"  # by Student's for two seeds
    assert "cw_mean_l2 on 100 of 10000 test images" in found.ours.departures
    other = measured(0.3, unit="L2")
    assert cell(other, **DISTANCE).reason == "not measured"
    assert cell(measured(None), **DISTANCE).reason == "not measured"
    assert cell(run(), **DISTANCE).reason == "not run"


def test_one_seed_of_what_is_no_accuracy_has_no_verdict():
    found = cell(measured(0.004), **DISTANCE | {"value": "0.003"})
    assert (found.verdict, found.ours.interval) == ("open", None)
    assert found.ours.text == "0.0040, 1 seed of 100 images"
    assert found.difference_text == "+0.0010"
    report = paper_report(PAPER, [found.printed], [measured(0.004)])
    assert "? open" in page([report])
    assert "| open |" in page([report], "paper_report.md.j2")


@pytest.mark.parametrize("name", ["gradient_alignment", "lin_err"])
def test_a_diagnostics_number_is_that_of_its_stage(name):
    unit = {"gradient_alignment": "cosine", "lin_err": "loss"}[name]
    runs = [measured(0.5, name=name, unit=unit, stage=name),
            measured(0.9, name=name, unit=unit, stage="cw", seed=1)]  # fmt: skip
    assert cell(*runs, attack=name, unit=unit).ours.mean == 0.5


def test_passes_are_those_that_the_cost_counts():
    found = run()
    found.records["cost"] = record("cost", found.config, expense=made_up.expense(1.0))
    for way in ("forward", "backward"):
        one = cell(found, attack=f"passes_{way}", unit="passes", value="3")
        assert (one.ours.mean, one.ours.text) == (2.0, "2.00, 1 seed")


def test_the_score_that_chose_on_test_images_is_compared_with_pgd20():
    found = chosen("best_on_test")
    assert cell(found, checkpoint="best_on_test", attack="pgd20").ours.mean == 47.0


def test_more_than_zero_is_any_such_setting():
    with_tau = {"settings": {"tau": "> 0.1"}}
    assert cell(run(), **with_tau).reason == "no run of sora tau > 0.1 like it"
    assert cell(run(settings={"tau": 0.5}), **with_tau).ours.departures == ()


def test_a_papers_own_interval_is_of_its_images():
    number = dataclasses.replace(NUMBER, value="45.35", spread="0.48", seeds=5)
    assert (number.interval, number.text) == (None, "45.35 ± 0.48")
    number = dataclasses.replace(number, images=1000)
    low, high = number.interval
    assert high - low == pytest.approx(6.15, abs=0.1)
    assert number.text == f"45.35 ± 0.48 [{low:.1f}, {high:.1f}]"
    wide = dataclasses.replace(number, spread="4.0").interval
    assert wide[1] - wide[0] == pytest.approx(2 * 2.776 * 4 / 5**0.5, abs=0.01)


def test_a_run_from_anothers_weights_took_the_epochs_of_both():
    start = Start(method="standard", settings={}, seed=0,
                  protocol=PROTOCOLS["soar-standard-200"].as_dict())  # fmt: skip
    paper = dataclasses.replace(PAPER, protocols=["soar-200"])
    found = cell(run(protocol="soar-200", start=start), paper=paper, epochs="200+200")
    assert found.ours.departures == ()
    alone = cell(run(protocol="soar-200"), paper=paper, epochs="200+200")
    assert alone.ours.departures == ("200 epochs, not 200+200",)


@pytest.mark.parametrize(("aa", "verdict"), [(39.5, "held"), (42.0, "above"), (38.0, "below")])
def test_the_verdict_is_whether_the_interval_holds_the_number(aa, verdict):
    found = cell(run(aa))
    assert found.verdict == verdict
    assert found.difference == pytest.approx(aa - 40)
    low, high = found.ours.interval
    assert low < aa < high


def test_fewer_images_make_a_wider_interval():
    found = cell(run(36.0, n=128))
    assert found.verdict == "held"
    assert found.ours.interval == pytest.approx((28.2, 44.6), abs=0.1)


def test_seeds_are_summed_up_and_counted():
    found = cell(run(39.0, seed=0), run(41.0, seed=1))
    assert (found.ours.mean, found.ours.seeds) == (40.0, 2)
    assert found.ours.interval[0] < 28  # Student's for two seeds that differ by two points
    assert found.ours.text == "40.00 [27.3, 52.7], 2 seeds of 10000 images"


def test_what_the_paper_leaves_open_stands_beside_our_result():
    paper = dataclasses.replace(PAPER, choices=[RULE])
    assert cell(run(), paper=paper).ours.text.endswith("10000 images, rule=code")
    assert cell(run(), paper=PAPER).ours.text.endswith("10000 images")


def test_notes_of_a_row_stand_once():
    both = [dataclasses.replace(NUMBER, note="a; b"),
            dataclasses.replace(NUMBER, attack="fgsm", note="a; c")]  # fmt: skip
    (block,) = paper_report(PAPER, both, []).blocks
    assert block.beside("SORA") == ["paper: a", "paper: b", "paper: c"]


def test_the_runs_that_depart_least_stand_beside_the_number():
    departing = [run(99.0, seed=seed, width=16) for seed in range(3)]
    assert cell(*departing, run(40.0)).ours.mean == 40.0
    assert cell(run(40.0), *departing).ours.mean == 40.0


@pytest.mark.parametrize(
    ("changes", "departures"),
    [
        ({}, ()),
        ({"protocol": "sora-cosine"}, ("protocol sora-cosine, not sora-paper",)),
        (
            {"protocol": "sora-15"},
            ("protocol sora-15, not sora-paper", "15 epochs, not 30"),
        ),
        ({"width": 16}, ("width 16, not 64",)),
        ({"train_images": 10_000}, ("10000 training images",)),
        ({"precision": "bf16"}, ("precision bf16",)),
        ({"n": 128}, ("autoattack on 128 of 10000 test images",)),
        ({"data": dataclasses.replace(DATA, official=False)}, ("unofficial data",)),
        ({"settings": {"tau": 0.5}}, ("tau 0.5, not 0.02",)),
    ],
    ids=str,
)
def test_every_departure_is_listed(changes, departures):
    assert cell(run(**changes)).ours.departures == departures


def test_a_paper_whose_protocol_is_not_here_says_so():
    found = cell(run(), paper=dataclasses.replace(PAPER, protocols=[]))
    assert found.ours.departures == ("protocol sora-paper, not the paper's",)


def test_any_network_that_is_here_is_compared_at_its_own_width():
    wide = {"architecture": "wide_resnet28_10"}
    assert cell(run(width=16, **wide), **wide).ours.departures == ()
    assert cell(run(width=64, **wide), **wide).ours.departures == ("width 64, not 16",)


@pytest.mark.parametrize(("attack", "is_one"), [("autoattack", True), ("apgd_ce", True),
                                                ("pgd10", False)])  # fmt: skip
def test_fast_mode_departs_where_the_number_is_autoattacks(attack, is_one):
    runs = [run(), run(seed=1, mode="fast")]
    departures = ("AutoAttack in fast mode",) if is_one else ()
    assert cell(*runs, attack=attack).ours.departures == departures
    assert cell(runs[0], attack=attack).ours.departures == ()


def test_a_failed_run_says_so_in_its_cell():
    broken = run()
    broken.records["autoattack"] = record("autoattack", broken.config, "oom", "memory is full")
    assert cell(broken).reason == "oom: memory is full"
    assert cell(broken, attack="clean").ours.mean == 40.0


# what the papers leave open


def test_a_choice_is_measured_on_runs_that_differ_in_it_alone():
    runs = [run(30.0, seed=seed) for seed in (0, 1)]
    runs += [run(31.0 + 2 * seed, seed=seed, settings={"rule": "paper"}) for seed in (0, 1)]
    runs += [run(90.0, seed=2, settings={"rule": "paper"}), run(90.0, seed=0, width=16)]
    found = {effect.attack: effect for effect in effects(RULE, runs)}
    effect = found["autoattack"]
    assert (effect.mean, effect.pairs, effect.options) == (2.0, 2, ("code", "paper"))
    assert effect.spread == pytest.approx(2**0.5)
    assert effect.images == 10_000
    assert found.keys() == {"clean", "pgd10", "autoattack"}


def test_a_choice_between_protocols_is_one_too():
    choice = Choice(what="w", known="s", field="protocol", options=["sora-paper", "sora-cosine"])
    found = effects(choice, [run(30.0), run(33.0, protocol="sora-cosine")])
    assert len(found) == 3
    for effect in found:
        assert (effect.mean, effect.pairs, effect.spread) == (3.0, 1, None)
        assert "sora-" not in effect.where


def test_pairs_attacked_on_different_images_are_no_pairs():
    assert effects(RULE, [run(), run(n=128, settings={"rule": "paper"})]) == []


def test_what_no_run_differs_in_is_not_measured():
    assert effects(RULE, [run()]) == []
    assert effects(Choice(what="w", known="s"), [run(), run(seed=1)]) == []
    shown = page([paper_report(dataclasses.replace(PAPER, choices=[RULE]), [NUMBER], [run()])])
    assert "not measured: no two runs differ in rule alone" in shown


# the pages


def test_foreign_text_stays_text():
    hostile = run(settings={"rule": HOSTILE})
    failed = run(seed=1, method="fgsm")
    failed.records["autoattack"] = record("autoattack", failed.config, "failed", HOSTILE)
    numbers = [NUMBER, dataclasses.replace(NUMBER, label=HOSTILE, method="fgsm", note=HOSTILE)]
    paper = dataclasses.replace(PAPER, choices=[dataclasses.replace(
        RULE, options=["code", HOSTILE])])  # fmt: skip
    found = [
        paper_report(
            paper, numbers, [run(), hostile, run(seed=2, settings={"rule": HOSTILE}), failed]
        )
    ]
    assert found[0].effects[0][1] and HOSTILE in found[0].blocks[0].cells[0].ours.chosen
    assert "<script" not in page(found)
    assert "&lt;script&gt;" in page(found)
    markdown = page(found, "paper_report.md.j2")
    assert "<script" not in markdown
    for line in markdown.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 8, line


def test_the_page_needs_no_network_and_no_script():
    shown = page([paper_report(paper, printed(paper.key), [run()]) for paper in papers()])
    links = re.findall(r'href="([^"]*)"', shown)
    assert links == [paper.link for paper in papers()]
    for word in ("<script", "src=", "@import", "url(", "unsafe-"):
        assert word not in shown
    (style,) = re.findall(r"<style>(.*?)</style>", shown, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'\"" in shown


def test_every_printed_number_is_on_the_page():
    found = [paper_report(paper, printed(paper.key), [run(45.0)]) for paper in papers()]
    total = sum(report.counts.total() for report in found)
    assert total == sum(len(printed(paper.key)) for paper in papers())
    markdown = page(found, "paper_report.md.j2")
    assert sum(line.startswith("| ") and " --- " not in line and not line.startswith("| method")
               for line in markdown.splitlines()) == total  # fmt: skip
    shown = page(found)
    assert (
        len(re.findall(r'<td class="(?:held|above|below|none)(?: departs)?">', shown))
        == total + 4  # of the legend
    )
    assert 'class="held departs"' in shown or 'class="above departs"' in shown


README = "<!-- leaderboard: written by `make readme` -->\n<!-- end of leaderboard -->"


def test_what_compares_stands_among_the_tables_with_its_difference():
    runs = [run(45.0), run(42.21, method="fgsm_rs", settings={"alpha": 1.25}, n=1000)]
    lines = [line for line in readme.tables(runs).splitlines() if "https://" in line]
    assert f"{len(lines)} of our numbers are of a setting" in readme.readme(runs, README)
    cells = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    assert ["clean", "84.69"] in [row[3:5] for row in cells]
    (row,) = [row for row in cells if row[3:5] == ["autoattack", "43.21"]]
    assert row[2] == "FGSM-RS (Wong2020Fast)"
    assert row[5].startswith("42.21 [39.2, 45.3], 1 seed of 1000 images")
    assert row[6] == "-1.00"
    assert "autoattack on 1000 of 10000 test images" in row[7]
    assert all(len(row) == 8 for row in cells)


def test_tables_without_anything_to_compare_say_so():
    runs = [run(45.0, eps="12/255")]
    assert "None of our numbers can be compared" in readme.readme(runs, README)
    text = readme.tables(runs)
    assert "Nothing here can be compared" in text
    total = sum(len(printed(paper.key)) for paper in papers())
    assert f"{total} numbers of SORA" in text
    possible = re.search(r"(\d+) could be, with the methods, networks, norms and attacks", text)
    assert sum(LEAST.values()) <= int(possible[1]) < total
    assert "https://" not in text


def test_only_numbers_that_a_record_could_stand_beside_are_counted_as_such():
    possible = [NUMBER, dataclasses.replace(NUMBER, method="fgsm", label="FGSM")]
    other = [dataclasses.replace(NUMBER, method="slat", label="SLAT"),
             dataclasses.replace(NUMBER, attack="gama_pgd100")]  # fmt: skip
    found = paper_report(PAPER, [*possible, *other], [run()])
    assert (found.counts.total(), found.comparable, len(found.compared)) == (4, 2, 1)


def test_what_compares_stands_on_the_page():
    runs = [run(45.0)]
    shown = render.page(groups(runs), runs)
    part = shown[shown.index('<section id="printed"') :].partition("</section>")[0]
    assert part.count("<tr>") == 1 + 3  # the head; clean, FGSM and PGD-10 of SORA
    assert "84.69" in part
    assert "-39.69" in part
    assert 'data-part="printed"' in shown
    other = [run(45.0, eps="12/255")]
    assert 'id="printed"' not in render.page(groups(other), other)


def test_the_program_renders_whatever_exists(tmp_path):
    for results in (tmp_path / "empty", tmp_path / "some"):
        if results.name == "some":
            shutil.copytree(catalogue.ROOT / "results/published", results / "published")
        done = subprocess.run(
            [sys.executable, "-m", "bench", "papers", "--results", str(results)],
            cwd=catalogue.ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "SORA: " in done.stdout
        for kind in ("html", "md"):
            assert "SORA" in (results / f"paper_report.{kind}").read_text()


def test_the_count_names_what_compares_and_why_others_do_not(capsys):
    main(["--count"])
    said = capsys.readouterr().out
    assert re.search(
        r"^SEAT: \d+ of 130 accuracies and 12 of 26 other numbers can be compared$", said, re.M
    )
    assert re.search(r"^ +4 lipschitz_upper in Lipschitz bound is not measured here$", said, re.M)
    assert re.search(r"^ +18 attack pgd_unspecified is not run here$", said, re.M)
    assert re.search(r"^ +4 network CNN6 is not here$", said, re.M)


def test_every_method_stands_once_in_the_suite_of_all():
    suite = parse_suite(read_yaml(catalogue.ROOT / "workflows/config/all_methods.yaml"))
    assert suite.methods == catalogue.names("methods")


@pytest.mark.parametrize("key", ["seat", "soar", "fastat"])
def test_a_papers_suite_measures_what_can_be_compared(key):
    """On its data sets, in its norm, at its radii; other slices by --config, as its file says."""
    suite = parse_suite(read_yaml(catalogue.ROOT / f"workflows/config/{key}.yaml"))
    stages = {"train", "autoattack", "cost", *suite.evaluations}
    configs = expand(suite)
    seen = 0
    for number in printed(key):
        found = _incomparable(number) is None and [
            config for config in configs
            if _shared(config) == _shared(number)
            and all(_is(config.settings[name], said) for name, said in number.settings.items())
        ]  # fmt: skip
        if found:
            seen += 1
            assert _stage(number) in stages, number
    assert seen > LEAST[key] / 2


def test_the_rule_runs_the_program():
    text = (catalogue.ROOT / "workflows/rules/papers.smk").read_text()
    assert "rule paper_report:" in text
    assert "-m bench papers" in text
