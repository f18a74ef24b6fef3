"""LaTeX tables: their numbers, and the notes under them."""

import dataclasses
import re
import shutil
import subprocess

import pytest
from made_up import DATA, attack, config, done, measure, training, write
from tables import tables

from bench.runs import catalogue
from bench.runs.record import ConfigError
from report import render
from report.collect import collect
from report.columns import COLUMNS, SHORT
from report.groups import groups
from report.latex import latex


def tex(tmp_path):
    (group,) = tables(tmp_path)
    return render.latex(group, SHORT, group.file_name)


TEX = next(filter(None, map(shutil.which, ("pdflatex", "tectonic"))), "")
DOCUMENT = r"""\documentclass[10pt]{article}
\usepackage{booktabs, graphicx}
\begin{document}
%s
\typeout{the page has \thepage}
\end{document}
"""
LEGIBLE = 0.7  # of footnotesize, by an estimate that is a tenth too wide


def published():
    return groups(collect(published=catalogue.ROOT / "results/published").runs)


def width(text):
    """Estimate the width of a table in points: digits of 8-point Computer Modern are 4.25 wide."""
    rows = [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]
    cells = [
        [max((re.sub(r"\\textbf|[{}$\\]", "", line.replace(r"$\pm$", "+-"))
              for line in cell.removeprefix(r"\shortstack[l]").split(r" \\ ")), key=len)
         for cell in row]
        for row in rows
    ]  # fmt: skip
    return sum(max(len(cell) for cell in column) * 4.25 + 6 for column in zip(*cells, strict=True))


def test_a_latex_table_is_no_wider_than_a_line_of_text():
    """Whatever its columns; and with those of the files it is shrunk little or not at all."""
    for group in published():
        for columns in (SHORT, COLUMNS):
            text = latex(group, columns, "t")
            assert r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%" in text
        assert 345 / width(latex(group, SHORT, "t")) > LEGIBLE  # \textwidth of article


@pytest.mark.skipif(not TEX, reason="no TeX: apt-get install texlive-latex-recommended")
def test_tex_sets_every_published_table_without_an_overfull_line(tmp_path):
    tables = [latex(g, columns, "t") for g in published() for columns in (SHORT, COLUMNS)]
    (tmp_path / "t.tex").write_text(DOCUMENT % r"\clearpage".join(tables))
    # tectonic would look for packages in the network; it says so, and fails without one
    options = ["-interaction=nonstopmode", "-halt-on-error"] if TEX.endswith("pdflatex") else []
    ran = subprocess.run(
        [TEX, *options, "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    assert "Overfull" not in ran.stdout
    assert f"the page has {len(tables)}" in ran.stdout.replace("\n", "")


def test_the_columns_of_the_files_are_chosen_and_a_wrong_one_writes_nothing(tmp_path):
    done(tmp_path / "runs", config("sora"), aa=50.0)
    render.main(["--results", str(tmp_path), "--columns", "passes,autoattack"])
    (path,) = (tmp_path / "tables").glob("*.tex")
    assert "Rank & Method & AutoAttack & Passes & Collapsed & $n$" in path.read_text()
    path.unlink()
    (tmp_path / "leaderboard.html").unlink()
    with pytest.raises(SystemExit, match="unknown column 'pases': did you mean passes"):
        render.main(["--results", str(tmp_path), "--columns", "pases"])
    assert not (tmp_path / "leaderboard.html").exists()
    with pytest.raises(ConfigError):
        render.render(tmp_path, columns=["pases"])


def test_columns_are_told_as_they_are_meant_and_tables_that_lack_one_are_named(tmp_path, capsys):
    done(tmp_path / "runs", config("sora"), aa=50.0)
    write(tmp_path / "runs", config("sora"), "pgd50_10", measure=measure("pgd50_10"))
    other = dataclasses.replace(config("fgsm"), width=2)
    done(tmp_path / "runs", other, aa=10.0)
    render.main(["--results", str(tmp_path), "--columns", "autoattack, pgd50_10,"])
    heads = {path.stem: "PGD-50-10 &" in path.read_text() for path in tmp_path.glob("tables/*.tex")}
    ((without,), (_,)) = ([k for k, has in heads.items() if has is told] for told in (False, True))
    said = [line for line in capsys.readouterr().out.splitlines() if "lack it" in line]
    assert said == [f"no run of these tables has pgd50_10, so they lack it: {without}"]
    with pytest.raises(SystemExit, match=r"unknown column 'Time': did you mean time_ratio\?"):
        render.main(["--results", str(tmp_path), "--columns", "Time"])
    with pytest.raises(SystemExit, match="'collapsed' is in every LaTeX table: leave it out"):
        render.main(["--results", str(tmp_path), "--columns", "collapsed"])


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
        ("1=", "SORA", bold("50.00"), "2"),
        ("1=", "N-FGSM", bold("45.00"), "2"),
        ("3", "FGSM", r"0.00 $\pm$ 0.00", "2"),
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
    assert "SORA: indicative (n = 1)." in text
    assert "SORA: AutoAttack in fast mode" in text
    assert "SORA: -- in Time: not run." in text
    assert r"ATAS, FGSM: -- in Clean, FGSM, PGD-10: failed: 100 \% of it." in text
    assert "ATAS, FGSM: -- in AutoAttack, Time: not run." in text
    assert r"-- & ATAS & -- & -- & -- & -- & -- & -- & 0 \\" in text
    assert "in doubt" not in text


def test_a_latex_table_names_rows_in_doubt_and_other_numbers_of_images(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0, pgd10=30.0)
    done(tmp_path / "runs", config("sora"), aa=20.0, pgd10=99.0)
    fewer = attack(25.0, 8)
    write(tmp_path / "runs", config("fgsm"), "autoattack", attack=fewer)
    text = tex(tmp_path)
    assert "SORA: in doubt, see the page." in text
    assert "AutoAttack on the first 8 or 40 test images" in text
    assert "FGSM: AutoAttack on 8 images, other rows on others." in text
