"""LaTeX tables: their numbers, and the notes under them."""

import dataclasses
import re

from made_up import DATA, attack, config, done, training, write
from tables import tables

from report import render
from report.columns import SHORT


def tex(tmp_path):
    (group,) = tables(tmp_path)
    return render.latex(group, SHORT, group.file_name)


def test_a_latex_table_says_its_images_seeds_and_ranks(tmp_path):
    for seed in (0, 1):
        done(tmp_path / "runs", config("sora", seed), aa=50.0)
        done(tmp_path / "runs", config("n_fgsm", seed), aa=45.0)
        done(tmp_path / "runs", config("fgsm", seed), aa=0.0)
    text = tex(tmp_path)
    assert "AutoAttack on the first 40 test images" in text
    assert "100 training images, official data" in text
    assert "in units of fgsm\\_rs's" in text
    rows = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]
    assert (rows[0][1], rows[0][-1]) == ("Method", "$n$")
    bold = r"\textbf{{{} $\pm$ 0.00}}".format
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("1=", "sora", bold("50.00"), "2"),
        ("1=", r"n\_fgsm", bold("45.00"), "2"),
        ("3", "fgsm", r"0.00 $\pm$ 0.00", "2"),
    ]
    assert len({len(row) for row in rows}) == 1
    assert re.search(r"\\caption\{.*\}\n\\label\{tab:[\w.-]+\}\n", text)
    assert "indicative" not in text


def test_a_latex_table_says_what_is_absent_and_what_holds_of_some_rows(tmp_path):
    runs, copy = tmp_path / "runs", dataclasses.replace(DATA, official=False)
    body = {"training": training(pgd10=30.0), "data": copy}
    write(runs, config("sora"), "train", **body)
    fast = dataclasses.replace(attack(30.0), mode="fast")
    write(runs, config("sora"), "autoattack", attack=fast, data=copy)
    for method in ("fgsm", "atas"):
        write(runs, config(method), "train", status="failed", reason="100 % of it", data=copy)
    text = tex(tmp_path)
    assert "unofficial data" in text
    assert "sora: indicative (n = 1)." in text
    assert "sora: AutoAttack in fast mode" in text
    assert "sora: -- in Time: not run." in text
    assert r"atas, fgsm: -- in Clean, FGSM, PGD-10: failed: 100 \% of it." in text
    assert "atas, fgsm: -- in AutoAttack, Time: not run." in text
    assert r"-- & atas & -- & -- & -- & -- & -- & -- & 0 \\" in text
    assert "in doubt" not in text


def test_a_latex_table_names_rows_in_doubt_and_other_numbers_of_images(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0, pgd10=30.0)
    done(tmp_path / "runs", config("sora"), aa=20.0, pgd10=99.0)
    fewer = attack(25.0, 8)
    write(tmp_path / "runs", config("fgsm"), "autoattack", attack=fewer)
    text = tex(tmp_path)
    assert "sora: in doubt, see the page." in text
    assert "AutoAttack on the first 8 or 40 test images" in text
    assert "fgsm: AutoAttack on 8 images, other rows on others." in text
