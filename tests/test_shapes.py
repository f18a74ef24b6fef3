"""What of the papers' claims records show: every verdict, what lacks, and claims that are none."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up import attack, done, expense, training, write

from bench.runs.record import Evaluation, Score
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_suite
from report import shapes
from report.collect import collect
from report.shapes import Claim, Side, claims
from report.statistic import Statistic, difference_interval

SMOKE = {run.method: run for run in expand(parse_suite(read_suite(Path("smoke"))))}
FGSM, SORA = SMOKE["fgsm"], SMOKE["sora"]


def claim(measure="clean", suite="smoke", more=None, less=None, **changes):
    sides = {"more": more or Side(method="fgsm"), "less": less or Side(method="sora")}
    given = {"paper": "sora", "where": "Table 1", "says": "So it is.", "suite": suite}
    return Claim(**given, measure=measure, **sides, **changes)


def shape(root, asked):
    (found,) = shapes.shapes([asked], collect(published=root).runs)
    return found


def trained(root, run, seeds=1, **scores):
    for seed in range(seeds):
        write(root, run.with_seed(seed), "train", training=training(**scores))


@pytest.mark.parametrize(
    ("more", "less", "within", "verdict"),
    [
        (90.0, 40.0, None, "visible"),
        (40.0, 90.0, None, "opposite"),
        (62.0, 60.0, None, "not visible at this scale"),
        (62.0, 60.0, 30.0, "visible"),
        (62.0, 60.0, 5.0, "not visible at this scale"),
        (98.0, 40.0, 5.0, "opposite"),
        (40.0, 98.0, 5.0, "opposite"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(tmp_path, more, less, within, verdict):
    trained(tmp_path, FGSM, clean=more)
    trained(tmp_path, SORA, clean=less)
    found = shape(tmp_path, claim(within=within))
    assert found.difference == pytest.approx(more - less)
    assert found.verdict == verdict
    assert found.n == "50 images x 1 seed"


def test_the_interval_of_a_difference_is_newcombes():
    """His example (Statistics in Medicine 17, 1998, table II): 56 of 70 and 48 of 80."""
    from evaluation.binomial import wilson

    one, other = (
        Statistic(100 * a / n, n=1, images=(n,), interval=wilson(a / n, n))
        for a, n in ((56, 70), (48, 80))
    )
    assert difference_interval(one, other) == pytest.approx((5.24, 33.39), abs=0.01)
    assert difference_interval(one, Statistic(3.0, n=1)) is None


def test_autoattack_is_compared_image_by_image(tmp_path):
    """What falls in one network and stands in the other decides, not the two accuracies."""
    trained(tmp_path, FGSM)
    trained(tmp_path, SORA)
    write(tmp_path, FGSM, "autoattack", attack=attack(60.0))
    write(tmp_path, SORA, "autoattack", attack=attack(40.0))  # of those that stand there, too
    nested = shape(tmp_path, claim("autoattack"))
    assert nested.difference == pytest.approx(20.0)
    half = 2.023 * 100 * np.sqrt(0.2 * 0.8 / 39)  # Student's point of 39 degrees
    assert nested.interval == pytest.approx((20 - half, 20 + half), abs=0.05)
    assert nested.verdict == "visible"
    scattered = attack(40.0, generator=np.random.default_rng(0))
    write(tmp_path, SORA, "autoattack", attack=scattered)
    assert shape(tmp_path, claim("autoattack")).verdict == "not visible at this scale"


@pytest.mark.parametrize(("seeds", "verdict"), [(1, "not visible at this scale"), (3, "visible")])
def test_collapses_count_in_seeds(tmp_path, seeds, verdict):
    trained(tmp_path, FGSM, seeds, onset=2)
    trained(tmp_path, SORA, seeds)
    found = shape(tmp_path, claim("collapsed"))
    assert found.verdict == verdict
    assert found.more.text == f"{seeds} of {seeds} (epoch {', '.join(['3'] * seeds)})"
    assert found.less.text == f"0 of {seeds}"
    assert found.n == f"{seeds} seed{'s' if seeds > 1 else ''}"


def test_a_collapse_stands_beside_other_numbers(tmp_path):
    trained(tmp_path, FGSM, onset=0)
    trained(tmp_path, SORA)
    assert shape(tmp_path, claim()).more.text == "90.00 (collapsed)"


def test_what_images_do_not_bound_needs_seeds(tmp_path):
    swept = ((FGSM, (90, 40, 60)), (SORA, (90, 80, 70)))
    for seeds, verdict in ((1, "one run: no interval"), (3, "visible")):
        for run, accuracies in swept:
            trained(tmp_path, run, seeds)
            for seed in range(seeds):
                scores = {
                    f"fgsm {k}/255": Score(accuracy=float(y + seed * k / 51), n=50)
                    for k, y in zip((0, 25, 51), accuracies, strict=True)
                }
                measure = Evaluation(settings={}, scores=scores, measure_seconds=1.0)
                write(tmp_path, run.with_seed(seed), "eps_sweep", measure=measure)
        found = shape(tmp_path, claim("eo"))
        assert found.verdict == verdict
        assert found.difference > 0
    assert shape(tmp_path, claim("pert_align")).verdict == "not visible at this scale"


def test_times_have_the_interval_of_their_repetitions(tmp_path):
    for run, ratio in ((FGSM, 3.0), (SORA, 1.0)):
        done(tmp_path, run, aa=40.0, ratio=ratio)
        measured = dataclasses.replace(expense(ratio), update_seconds_sd=0.005)  # of 0.1
        write(tmp_path, run, "cost", expense=measured)
    found = shape(tmp_path, claim("time_ratio"))
    assert found.interval == pytest.approx((2 - np.hypot(0.3, 0.1), 2 + np.hypot(0.3, 0.1)))
    assert found.verdict == "visible"


def test_what_lacks_is_named_with_the_command_that_makes_it(tmp_path):
    command = "snakemake --configfile workflows/config/smoke.yaml"
    assert shape(tmp_path, claim()).lacking == f"FGSM: not run; SORA: not run; `{command}`"
    trained(tmp_path, FGSM)
    found = shape(tmp_path, claim())
    assert (found.verdict, found.n, found.difference_text) == ("not measured", "-", "-")
    assert found.lacking == f"SORA: not run; `{command}`"
    trained(tmp_path, SORA)
    assert shape(tmp_path, claim()).lacking == ""
    more = f"`{command} --config 'evaluations=[confidence]'`"
    assert shape(tmp_path, claim("confidence.confidence_clean")).lacking.endswith(more)


def test_a_network_that_learned_nothing_proves_nothing(tmp_path):
    trained(tmp_path, FGSM, clean=90.0)
    trained(tmp_path, SORA, clean=10.0, fgsm=10.0, pgd10=10.0)
    found = shape(tmp_path, claim())
    assert found.verdict == "not measured"
    assert found.lacking == "SORA: learned nothing or did not end"
    write(tmp_path, SORA.with_seed(1), "train", training=training(clean=88.0))
    write(tmp_path, SORA.with_seed(2), "train", status="diverged", reason="loss is nan")
    found = shape(tmp_path, claim())
    assert found.less.text == "88.00; 2 more learned nothing or did not end"
    assert found.verdict == "not visible at this scale"


def test_sides_may_measure_two_things_or_stand_at_two_radii(tmp_path):
    two = claim(
        more=Side(method="fgsm", measure="clean"), less=Side(method="fgsm"), measure="pgd10"
    )
    assert [name for _, name in shape(tmp_path, two).named] == ["FGSM, Clean, %", "FGSM, PGD-10, %"]
    radii = claim(
        suite="seat_radius",
        more=Side(method="fgsm", eps=51), less=Side(method="fgsm", eps=102),
    )  # fmt: skip
    found = shape(tmp_path, radii)
    assert [name for _, name in found.named] == ["FGSM at 51/255", "FGSM at 102/255"]
    assert (found.at, found.measure) == ("digits", "Clean, %")


def test_a_run_is_named_by_what_is_not_its_methods_own(tmp_path):
    sides = [Side(method="soar", settings={"order": order, "start": "pgd1"}) for order in "12"]
    asked = claim(suite="soar_small", more=sides[0], less=sides[1])
    found = shape(tmp_path, asked)
    assert [name for _, name in found.named] == ["SOAR (order=1)", "SOAR"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"suite": "seat_smal"}, "unknown suite 'seat_smal': did you mean seat_small"),
        ({"more": Side(method="fgsmm")}, "unknown method of smoke 'fgsmm': did you mean fgsm"),
        ({"measure": "pgd50_1o"}, "unknown measure 'pgd50_1o': did you mean pgd"),
        (
            {"measure": "confidence.clean"},
            "unknown number of confidence 'clean': choose from confidence_clean, confidence_random",
        ),
        (
            {"more": Side(method="fgsm", settings={"alpha": 3.0}, eps=8)},
            "smoke has no run of fgsm with alpha=3.0, eps=8; name settings and eps that one run",
        ),
        (
            {"suite": "soar_small", "more": Side(method="soar"), "less": Side(method="standard")},
            "soar_small has 6 runs of soar with any settings; name settings and eps that one run",
        ),
    ],
)
def test_a_claim_of_what_is_not_there_is_one_sentence(tmp_path, changes, said):
    with pytest.raises(ValueError, match=r"^shapes\.toml: 'So it is.' of sora: ") as error:
        shape(tmp_path, claim(**changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[claim]", "shapes.toml is no TOML"),
        ("", "shapes.toml"),
        ("[[claim]]\npaper = 'sora'", "says is missing"),
        ("[[claim]]\n{}\nmore = {{method = 'fgsm'}}\nwhy = 1", "why"),
        ("[[claim]]\n{}\nmore = {{method = 'fgsm'}}", "unknown paper 'sorra': did you mean sora"),
    ],
)
def test_a_file_of_other_things_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "shapes.toml"
    rest = "paper = 'sorra'\nwhere = ''\nsays = ''\nsuite = 'smoke'\nless = {method = 'fgsm'}"
    path.write_text(text.format(rest))
    with pytest.raises(ValueError, match=said) as error:
        claims(path)
    assert "\n" not in str(error.value)


def test_every_claim_names_runs_of_its_suite():
    asked = claims()
    assert {found.verdict for found in shapes.shapes(asked, [])} == {"not measured"}
    assert {one.paper for one in asked} == {"sora", "seat", "soar", "gradalign"}


def test_the_page_holds_every_claim(monkeypatch, tmp_path):
    asked = [claim(), claim(note="Mind the gap.", within=30.0), claim("collapsed")]
    monkeypatch.setattr(shapes, "claims", lambda: asked)
    trained(tmp_path, FGSM, clean=62.0)
    trained(tmp_path, SORA, clean=60.0)
    page = shapes.page(collect(published=tmp_path).runs)
    assert page.count("So it is.") == 3
    assert "\n\nMind the gap.\n" in page
    assert "Of 3 claims:\n\n- 1 **visible**" in page
    assert "- 2 **not visible at this scale**" in page
    assert "alike within 30.0 | 50 images x 1 seed |" in page


def test_a_mistake_ends_the_command_with_its_sentence(monkeypatch):
    monkeypatch.setattr(shapes, "claims", lambda: [claim(suite="seat_smal")])
    with pytest.raises(SystemExit, match="unknown suite 'seat_smal'"):
        shapes.main()


def test_a_run_of_another_seed_than_the_suites_is_taken(tmp_path):
    write(tmp_path, FGSM.with_seed(7), "train", training=training(clean=90.0))
    trained(tmp_path, SORA, clean=40.0)
    assert shape(tmp_path, claim()).verdict == "visible"
