"""Rows: label, rank, tie group, collapse and family."""

import dataclasses

import pytest
from made_up import SMOKE, config, done, training, write
from tables import row_of, tables

from bench.runs import catalogue
from bench.runs.record import Episode, Start, Verdict
from report import sources


def test_rank_is_by_autoattack_and_never_by_pgd(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("fgsm"), aa=10.0, pgd10=99.0)
    done(runs, config("sora"), aa=30.0, pgd10=50.0)
    done(runs, config("n_fgsm"), aa=30.0, pgd10=40.0)
    write(runs, config("pgd10"), "train", training=training(pgd10=99.9))
    (group,) = tables(tmp_path)
    ranks = [(row.label, row.rank) for row in group.rows]
    assert ranks == [("n_fgsm", 1), ("sora", 1), ("fgsm", 3), ("pgd10", None)]
    assert group.rows[-1].cells["autoattack"].reason == "not run"


def test_rows_that_few_images_cannot_tell_apart_share_a_rank(tmp_path):
    for i, method in enumerate(("fgsm", "sora", "n_fgsm")):
        done(tmp_path / "runs", config(method), aa=(50.0, 45.0, 5.0)[i])
    (group,) = tables(tmp_path)
    assert [(row.place, row.rank_text) for row in group.rows] == [(1, "1="), (2, "1="), (3, "3")]


def test_variants_of_a_method_are_told_apart_by_what_differs(tmp_path):
    for rule in ("code", "paper"):
        done(tmp_path / "runs", config("sora", settings={"rule": rule, "tau": 0.02}), aa=10.0)
    (group,) = tables(tmp_path)
    assert {row.label for row in group.rows} == {"sora (rule=code)", "sora (rule=paper)"}


def test_of_many_settings_a_label_names_those_that_are_not_published(tmp_path):
    changes = {"rule": "paper"}, {"draw": "none"}, {"tau": 0.1}, {"theta": 0.5, "tau": 0.1}, {}
    published = catalogue.default_settings("sora")
    for settings in changes:
        done(tmp_path / "runs", config("sora", settings=published | settings), aa=10.0)
    (group,) = tables(tmp_path)
    assert {row.label for row in group.rows} == {
        "sora", "sora (rule=paper)", "sora (draw=none)", "sora (tau=0.1)",
        "sora (tau=0.1, theta=0.5)",
    }  # fmt: skip


def test_collapse_counts_seeds_and_names_the_epoch(tmp_path):
    for seed, onset in enumerate((None, 4, None)):
        done(tmp_path / "runs", config(seed=seed), aa=10.0, onset=onset)
    row = row_of(tmp_path)
    assert row.collapse == "1 of 3 (epoch 5)"


def test_badges_say_the_worst_in_a_word(tmp_path):
    runs = tmp_path / "runs"
    for seed, onset in enumerate((None, 0)):
        done(runs, config("fgsm", seed=seed), aa=10.0, onset=onset)
    done(runs, config("multigrad"), aa=10.0, onset=0)
    back = Verdict(collapsed=False, onset_epoch=None, episodes=[Episode(first=0, last=0, depth=1)])
    write(runs, config("sora"), "train", training=dataclasses.replace(training(), verdict=back))
    done(runs, config("elle"), aa=10.0, clean=10.0, fgsm=10.0, pgd10=10.0)
    done(runs, config("nuat"), aa=50.0, fgsm=20.0)  # a step does more than ten
    write(runs, config("atas"), "train", status="diverged", reason="loss is nan")
    done(runs, config("trades"), aa=50.0)
    (group,) = tables(tmp_path)
    assert {row.label: [text for text, _ in row.badges] for row in group.rows} == {
        "fgsm": ["collapsed 1 of 2", "masked?"],
        "multigrad": ["collapsed", "masked?", "n = 1"],
        "sora": ["recovered"],
        "elle": ["did not learn", "n = 1"],
        "nuat": ["masked?", "n = 1"],
        "atas": ["diverged"],
        "trades": ["n = 1"],
    }


def test_a_row_that_did_not_learn_in_any_seed_has_no_rank(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("elle"), aa=20.0, clean=10.0, fgsm=10.0, pgd10=10.0)
    done(runs, config("standard"), aa=0.0)
    done(runs, config("fgsm"), aa=0.0, clean=10.0, fgsm=10.0, pgd10=10.0)
    done(runs, config("fgsm", seed=1), aa=0.0)
    (group,) = tables(tmp_path)
    assert [(row.label, row.rank, row.status) for row in group.rows] == [
        ("fgsm", 1, "done"), ("standard", 1, "done"), ("elle", None, "did not learn"),
    ]  # fmt: skip
    assert len(group.pair_marks) == 2


def test_a_row_with_an_attacked_network_of_unreadable_training_has_no_rank(tmp_path):
    runs = tmp_path / "runs"
    for method in ("sora", "fgsm"):
        for seed in (0, 1):
            done(runs, config(method, seed=seed), aa=90.0 if method == "sora" else 10.0)
    (runs / config("sora", seed=1).folder / "train.json").write_text("{")
    (group,) = tables(tmp_path)
    assert [(row.label, row.rank, row.cells["autoattack"].n) for row in group.rows] == [
        ("fgsm", 1, 2), ("sora", None, 2),
    ]  # fmt: skip
    assert len(group.pair_marks) == 1
    assert group.rows[1].unfit == "attacked, but its training is unreadable"


def test_a_title_is_the_fields_name_and_the_settings_that_differ(tmp_path):
    for lam in (1.0, 2.0):
        done(tmp_path / "runs", config("grad_align", settings={"lam": lam}), aa=10.0)
    done(tmp_path / "runs", config("gone"), aa=10.0)
    (group,) = tables(tmp_path)
    assert {row.title for row in group.rows} == {
        "GradAlign (lam=1.0)", "GradAlign (lam=2.0)", "gone",
    }  # fmt: skip


def test_papers_and_code_are_those_that_files_name():
    key = sources.citation_key("nuat")
    assert sources.paper(key) == {
        "venue": "NeurIPS 2021", "link": "https://openreview.net/forum?id=kuK2VARZGnI",
    }  # fmt: skip
    assert all(sources.paper(key)["link"] for key in sources.entries())
    assert sources.code("aaer") == "https://github.com/tmllab/2023_NeurIPS_AAER/tree/d18a228"
    assert [sources.code(m) for m in ("fgsm", "sora", "gone")] == ["", "", ""]  # none is named


def test_a_method_whose_file_is_gone_is_sorted_by_its_passes():
    passes = {None: "other", 2: "standard", 4: "single-step", 22: "multi-step"}
    assert {count: sources.family("gone", count) for count in passes} == passes
    assert sources.family("free_at", 2) == "single-step"


MINE = '''
@dataclass(frozen=True)
class Mine(Method):
    """Mine.

    Source: mine.
    Cite: %s
    Family: %s

        d = 0
    """
'''


@pytest.mark.parametrize(
    ("text", "family", "key"),
    [
        (MINE % ("wong2020fast", "regularised"), "regularised", "wong2020fast"),
        (MINE % ("nobody2020", "odd"), "single-step", None),
        ("def (", "single-step", None),
    ],
)
def test_family_and_paper_are_those_of_the_docstring(tmp_path, monkeypatch, text, family, key):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/mine.py").write_text(text)
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    sources.described.cache_clear()
    assert (sources.family("mine", 4), sources.citation_key("mine")) == (family, key)
    sources.described.cache_clear()


def test_a_setting_that_is_called_start_tells_rows_apart_where_runs_have_a_start(tmp_path):
    """SOAR's starts once stood in one row as seeds."""
    begun = Start(method="standard", settings={}, protocol=SMOKE, seed=0)
    for start in ("pgd1", "zero"):
        done(tmp_path / "runs", config("soar", settings={"start": start}, start=begun), aa=10.0)
    group = next(group for group in tables(tmp_path) if len(group.rows) > 1)
    assert sorted(row.label for row in group.rows) == ["soar (start=pgd1)", "soar (start=zero)"]
