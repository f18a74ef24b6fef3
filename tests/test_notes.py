"""Notes beside a row: single seeds, data, stale code, costs, images and doubts."""

import dataclasses

from made_up import DATA, ORIGIN, attack, config, done, expense, training, write
from tables import ids, row_of, rows_of, tables

from bench.runs import fingerprints
from report import render
from report.notes import CurrentCode, Note


def unchanged(method):
    return ORIGIN.method_code


def test_one_seed_is_indicative_and_has_no_spread(tmp_path):
    done(tmp_path / "runs", config(), aa=30.0)
    row = row_of(tmp_path)
    assert row.cells["autoattack"].spread is None
    assert "one seed" in ids(row)


def test_unofficial_data_and_stale_code_are_marked(tmp_path):
    copy = dataclasses.replace(DATA, official=False)
    write(tmp_path / "runs", config(), "train", data=copy, training=training())
    current = CurrentCode(bench=lambda *where: " ".join(where), method=unchanged)
    (group,) = tables(tmp_path, current=current)
    assert group.facts.official is False
    assert {"unofficial data", "stale code"} <= set(ids(group.rows[0]))


def test_code_is_compared_stage_by_stage(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    codes = dict.fromkeys(("train", "autoattack", "cost"), ORIGIN.bench_code)
    current = CurrentCode(bench=lambda stage, *_: codes[stage], method=unchanged)
    assert "stale code" not in ids(row_of(tmp_path, current=current))
    codes["autoattack"] = "new"
    assert "stale code" in ids(row_of(tmp_path, current=current))


def test_stale_method_code_is_marked_apart_from_stale_bench_code(tmp_path):
    for method in ("fgsm", "sora", "gone"):
        done(tmp_path / "runs", config(method), aa=10.0)
    methods = {"fgsm": ORIGIN.method_code, "sora": "new"}
    current = CurrentCode(bench=lambda *_: ORIGIN.bench_code, method=methods.get)
    marks = {"stale code", "stale method code", "no method code"}
    found = {
        label: marks & {*ids(row)} for label, row in rows_of(tmp_path, current=current).items()
    }
    assert found == {"fgsm": set(), "sora": {"stale method code"}, "gone": {"no method code"}}


def test_the_page_compares_methods_with_their_files_and_stands_a_broken_one(tmp_path, monkeypatch):
    for method in ("fgsm", "gone", "../bench/ops"):
        done(tmp_path / "runs", config(method), aa=10.0)

    def notes():
        found, _ = render.gather(tmp_path)
        return {row.method: ids(row) for group in found for row in group.rows}

    assert "stale method code" in notes()["fgsm"]
    assert "no method code" in notes()["gone"]
    assert "no method code" in notes()["../bench/ops"]  # a file, and no method
    monkeypatch.setattr(
        fingerprints, "method_fingerprint", lambda method: compile("def", method, "exec")
    )
    assert "no method code" in notes()["fgsm"]


def test_rows_attacked_on_other_numbers_of_images_say_so(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    done(tmp_path / "runs", config("sora"), aa=20.0)
    fewer = attack(25.0, 8)
    write(tmp_path / "runs", config("sora"), "autoattack", attack=fewer)
    ((first, second),) = (group.rows for group in tables(tmp_path))
    for row, images in ((first, 8), (second, 40)):
        text = f"AutoAttack on {images} images, other rows on others"
        assert Note("image count", text) in row.notes


def test_a_wrong_declaration_of_cost_is_on_the_page(tmp_path):
    wrong = dataclasses.replace(expense(1.0), declared_forward=1)
    done(tmp_path / "runs", config(), aa=10.0)
    write(tmp_path / "runs", config(), "cost", expense=wrong)
    row = row_of(tmp_path)
    assert Note("declared cost", "declares 1 / 2 passes, makes 2 / 2") in row.notes


def test_doubts_stand_among_the_notes_and_say_how_many_seeds_have_them(tmp_path):
    for seed, pgd10 in enumerate((30.0, 80.0, 90.0)):
        done(tmp_path / "runs", config("sora", seed), aa=20.0, pgd10=pgd10, fgsm=90.0)
    done(tmp_path / "runs", config("fgsm"), aa=20.0, pgd10=80.0, fgsm=90.0)
    done(tmp_path / "runs", config("atas"), aa=20.0, pgd10=30.0, clean=15.0)
    rows = rows_of(tmp_path)
    text = ("AutoAttack (on 40 images) takes 60.0 points more than PGD-10 (on 50): gradients may "
            "be masked, or PGD-10 is weak here")  # fmt: skip
    assert rows["fgsm"].doubts == [Note("autoattack", text)]
    assert rows["sora"].doubts == [Note("autoattack", f"{text} (seed 1; 2 of 3 seeds)")]
    assert rows["atas"].doubts[0].id == "learning"
    for row in rows.values():
        assert set(row.doubts) <= set(row.notes)


def test_what_a_data_set_that_is_not_here_learned_is_not_judged(tmp_path):
    done(tmp_path / "runs", config(dataset="gone"), aa=0.0, pgd10=0.0, fgsm=0.0, clean=0.0)
    row = row_of(tmp_path)
    assert row.doubts == []
