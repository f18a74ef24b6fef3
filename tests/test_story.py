"""The story's words follow the records: runs that collapse, that hold, and that are not there."""

import dataclasses
import re

import pytest
from made_up import attack, training, write

from bench.runs.record import Episode, Epoch, Evaluation, Score, Verdict
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from evaluation.sweep import read
from report import story, told

SUITE = parse_suite(read_yaml(story.SUITE) | {"methods": ["fgsm", "sora"]})
CONFIGS = expand(SUITE)
RADII = (0, 16, 48, 77, 115)
# accuracy under one and ten steps, by radius
SOUND = {"fgsm": (96, 94, 88, 80, 40), "pgd10": (96, 93, 80, 66, 10)}
TRAPPED = {"fgsm": (96, 80, 85, 99, 97), "pgd10": (96, 70, 10, 1, 0)}


def trained(*, collapses, align=(0.9, 0.5, 0.2), recovers=False):
    probes = [(50, 40), (90, 20), (97, 1)] if collapses else [(50, 40), (70, 60), (81, 66)]
    curves = [
        Epoch(epoch=i, lr=0.1, loss=1.0, pert_align=cosine, reach=1.0, state={},
              probe={"clean": 96.0, "fgsm": float(fgsm), "pgd10": float(pgd10)})
        for i, (cosine, (fgsm, pgd10)) in enumerate(zip(align, probes, strict=True))
    ]  # fmt: skip
    spells = [Episode(first=1, last=2 if collapses else 1, depth=1.0)]
    scores = (96.0, 98.0, 0.0) if collapses else (96.0, 80.0, 66.0)
    return dataclasses.replace(
        training(*scores, onset=1 if collapses else None, epochs=3),
        curves=curves,
        verdict=Verdict(
            collapsed=collapses, onset_epoch=1 if collapses else None,
            episodes=spells if collapses or recovers else [],
        ),
    )  # fmt: skip


def swept(accuracies, n=1000):
    scores = {
        f"{kind} {k}/255": Score(accuracy=float(y), n=n)
        for kind, ys in accuracies.items()
        for k, y in zip(RADII, ys, strict=True)
    }
    return Evaluation(settings={"seed": 0}, scores=scores, measure_seconds=1.0)


@pytest.fixture
def page(tmp_path):
    """Write runs, True for one that collapses; return the page's words, and the page."""

    def rendered(fgsm, sora=(False,) * 3, *, sweep=True, **changes):
        for config in CONFIGS:
            fates = fgsm if config.method == "fgsm" else sora
            if config.seed >= len(fates):
                continue
            body = trained(collapses=fates[config.seed], **changes)
            write(tmp_path / "runs", config, "train", training=body)
            write(tmp_path / "runs", config, "autoattack", attack=attack(50.0))
            if sweep:
                measure = swept(TRAPPED if fates[config.seed] else SOUND)
                write(tmp_path / "runs", config, "eps_sweep", measure=measure)
        html = story.page(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
        body = re.sub(r"<(svg|style).*?</\1>", "", html, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", body).split()), html

    return rendered


def test_runs_that_collapse_are_told_with_their_numbers(page):
    words, html = page([True] * 3)
    assert (
        "collapsed in 3 of 3 runs: it reads 98 % of digits right that were attacked in one step, "
        "and 0 % of those attacked in ten (mean of 3 runs that collapsed, 50 images each). It has"
    ) in words
    assert "FGSM: 3 of 3 runs collapsed, from epoch 2, 2, 2 on. After the last epoch" in words
    assert "SORA: 0 of 3 runs ended in collapse. After the last epoch it reads 81 % right" in words
    assert "Ended in collapse: FGSM (3 of 3 runs). Did not: SORA (0 of 3 runs)." in words
    assert (
        "FGSM: one step of 16/255 leaves 80 % right, one of 77/255 leaves 99 %; ten steps leave "
        "70 % and 1 % (mean of 3 runs that collapsed, 1,000 images). The longer step does no more"
    ) in words
    assert "SORA: one step of 16/255 leaves 94 % right, one of 77/255 leaves 80 %" in words
    assert words.count("The longer step does no more harm") == 1
    assert "FGSM: 0.90 in the first epoch, 0.20 in the last (mean of 3 runs that" in words
    assert html.count("<svg") == 2 + 2 + 2
    assert "<script" not in html
    assert "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-" in html


@pytest.mark.parametrize(
    ("fgsm", "pgd10", "learnt"),
    [
        ((96, 80, 85, 99, 97), (96, 70, 10, 1, 0), True),
        ((96, 80, 80, 78, 70), (96, 70, 10, 1, 0), True),  # within the noise of 1,000 images
        ((96, 80, 70, 60, 50), (96, 70, 10, 1, 0), False),  # one step does harm, too
        ((96, 80, 85, 99, 97), (96, 70, 69, 68, 60), False),  # ten steps do none
    ],
)
def test_a_step_is_learnt_if_it_does_no_more_harm_and_ten_do(page, tmp_path, fgsm, pgd10, learnt):
    page([True])
    (subject, _) = told.tell(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
    sweep = swept({"fgsm": fgsm, "pgd10": pgd10})
    runs = [dataclasses.replace(run, swept=read(sweep.scores)) for run in subject.runs]
    said = told.radii_said(dataclasses.replace(subject, runs=runs))
    assert f"77/255 leaves {fgsm[3]} %; ten steps leave {pgd10[1]} % and {pgd10[3]} %" in said
    assert ("has learnt the step" in said) == learnt


def test_pert_align_is_said_to_tell_only_what_it_tells(page, tmp_path):
    page([True] * 3)
    mixed = told.tell(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
    said = told.alignments_said(mixed)
    assert "0.20 to 0.20 in 3 runs that collapsed, 0.20 to 0.20 in 3 runs that did not" in said
    assert "they overlap: alone it tells no collapse here" in said
    page([True] * 3, align=(0.9, 0.5, 0.1))
    low = told.tell(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
    assert "lower in every run that collapsed here" in told.alignments_said([low[0], mixed[1]])
    assert told.alignments_said(low[:1]) == ""


def test_runs_that_hold_are_not_told_as_a_collapse(page):
    words, _ = page([False] * 3)
    assert "did not collapse in any of 3 runs: it reads 80 % of digits right" in words
    assert "That is no catastrophic overfitting." in words
    assert "It has learnt" not in words
    assert "The longer step does no more harm" not in words
    assert "collapse began" not in words
    assert "Did not: FGSM (0 of 3 runs), SORA (0 of 3 runs)." in words


def test_numbers_of_a_collapse_are_those_of_the_runs_that_collapsed(page):
    words, _ = page([False, True, False])
    assert "collapsed in 1 of 3 runs: it reads 98 % of digits right" in words
    assert "(1 run that collapsed, 50 images each)" in words
    assert "FGSM: one step of 16/255 leaves 80 % right" in words


def test_without_a_method_that_held_there_is_none_beside(page):
    words, html = page([True] * 3, [False, True, False])
    assert "No other method held in all of its runs" in words
    assert "Ended in collapse: FGSM (3 of 3 runs), SORA (1 of 3 runs)." in words
    assert html.count("<svg") == 1 + 2 + 2


def test_what_is_not_there_is_said(page):
    words, html = page([], [False], sweep=False, align=(None,) * 3)
    assert "No run of FGSM has anything to tell yet: not run." in words
    assert "Nothing to tell: FGSM (not run)." in words
    assert "SORA: its records lack accuracies at 77/255 and at smaller radii." in words
    assert "SORA: its records lack PertAlign." in words
    assert html.count("Not in the records.") == 2


def test_a_run_that_did_not_learn_holds_nothing(page, tmp_path):
    page([True] * 3)
    for config in CONFIGS[3:]:
        guess = dataclasses.replace(trained(collapses=False), clean=Score(accuracy=10.0, n=50))
        write(tmp_path / "runs", config, "train", training=guess)
    told_again = told.tell(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
    assert told.foil(told_again) is None
    assert "SORA (did not learn)" in told.all_said(told_again)


def test_a_run_that_is_missing_or_learned_nothing_is_not_passed_over(page):
    words, _ = page([True, True], [False] * 3)
    assert "FGSM: 2 of 2 runs (1 more learned nothing or did not end) collapsed" in words


def test_beside_it_stands_a_method_without_any_spell_if_there_is_one(page, tmp_path):
    page([True] * 3, recovers=True)
    (_, sora) = told.tell(story.runs_of(CONFIGS, tmp_path), SUITE.methods)
    assert sora.outcome == "0 of 3 runs ended in collapse; 3 fell into one and recovered"
    steady = dataclasses.replace(sora, runs=[dataclasses.replace(
        run, training=trained(collapses=False)) for run in sora.runs])  # fmt: skip
    assert told.foil([sora, steady]) is steady
    assert told.foil([sora]) is sora


def test_every_method_of_the_suite_is_explained():
    suite = parse_suite(read_yaml(story.SUITE))
    assert list(story.MEANINGS) == suite.methods
    assert told.SUBJECT in suite.methods
    assert {77, 115} <= {*suite.sweep_radii}


def test_nothing_trained_is_a_sentence(tmp_path):
    with pytest.raises(SystemExit, match="no run of the suite story is trained below"):
        story.main(["--results", str(tmp_path)])


def test_the_program_writes_the_page_and_names_it(page, tmp_path, capsys):
    page([True])
    story.main(["--results", str(tmp_path)])
    assert capsys.readouterr().out == f"{tmp_path}/story.html\n"
    assert "PGD-2 (not run)" in (tmp_path / "story.html").read_text()


@pytest.mark.parametrize(
    ("width", "height", "media"),
    [(1300, 900, "screen"), (1920, 1080, "screen"), (390, 844, "screen"), (1047, 718, "print")],
)
def test_it_is_read_at_any_width(window, page, tmp_path, width, height, media):
    _, html = page([True] * 3)
    (tmp_path / "story.html").write_text(html)
    shown, messages = window.new_page(), []
    shown.on("pageerror", lambda error: messages.append(str(error)))
    shown.on("console", lambda message: messages.append(message.text))
    shown.set_viewport_size({"width": width, "height": height})
    shown.emulate_media(media=media)
    shown.goto((tmp_path / "story.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    seen = shown.evaluate("""[...document.querySelectorAll("[role=img] svg")].map(drawn => {
      const box = drawn.getBoundingClientRect(), label = drawn.parentNode.ariaLabel
      return [box.left, box.right, box.height, label, getComputedStyle(drawn).display]
    })""")
    assert len(seen) >= 2 + 2 * len(SUITE.methods)
    for left, right, tall, label, display in seen:
        assert 0 <= left < right <= width
        assert tall > 50
        assert label
        assert display != "none"
    headline = shown.locator(".lead").bounding_box()
    assert headline["y"] + headline["height"] < height  # what it is about, without scrolling
    shown.close()
    assert not messages
