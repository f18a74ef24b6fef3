"""What the report writes: the page, its tables and the README, escaped."""

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from made_up import HOSTILE, config, done, write
from tables import collected, rows_of, tables

from bench.runs import catalogue
from bench.runs.ending import Ending
from bench.runs.record import Evaluation, Score
from report import benchmark, figures, readme, render, sources
from report.collect import collect
from report.columns import COLUMNS
from report.groups import frame, groups
from report.page import view


@pytest.fixture
def page(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("sora"), aa=30.0, ratio=1.02)
    write(runs, config(HOSTILE), "train", status="failed", reason=HOSTILE)
    render.render(tmp_path)
    return tmp_path


def test_the_page_is_one_file_that_asks_for_nothing(page):
    html = (page / "leaderboard.html").read_text()
    # it names addresses, and so do links, which fetch nothing before a click
    ours = html.replace(figures.script(), "")
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=|url\(|http:", ours)
    assert ours != html
    assert "30.00" in html


def test_what_comes_from_records_is_escaped(page):
    html = (page / "leaderboard.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    (tex,) = (page / "tables").glob("*.tex")
    assert r"\end{table}" in tex.read_text()
    assert tex.read_text().count(r"\end{table}") == 1
    assert "50 \\%" in tex.read_text()
    row = next(
        line for line in (page / "leaderboard.md").read_text().splitlines() if "alert" in line
    )
    (group,) = tables(page)
    assert len(re.findall(r"(?<!\\)\|", row)) == 6 + len(group.columns)


def test_a_spreadsheet_computes_nothing_and_markdown_has_no_tags(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("=1+1"), aa=10.0)
    done(runs, config("fgsm", dataset="<b>digits"), aa=10.0)
    render.render(tmp_path)
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert sorted(table["method"]) == ["'=1+1", "fgsm"]
    assert set(table["collapsed"]) == {"0 of 1"}
    assert "<b>" not in (tmp_path / "leaderboard.md").read_text()


def test_a_chart_cannot_end_its_script(tmp_path):
    hostile = config("</script><b>")
    done(tmp_path / "runs", hostile, aa=10.0)
    render.render(tmp_path)
    html = (tmp_path / "leaderboard.html").read_text()
    assert "</script><b>" not in html
    assert "\\u003c/script\\u003e" in html


def test_the_csv_has_numbers_for_every_column(page):
    import pandas as pd

    table = pd.read_csv(page / "leaderboard.csv")
    sora = table[table["method"] == "sora"].iloc[0]
    assert (sora["autoattack"], sora["autoattack_n"], sora["time_ratio"]) == (30.0, 1, 1.02)
    assert {column.key for column in COLUMNS} <= set(table.columns)


def test_the_csv_says_which_cells_are_unreadable(page):
    (page / "runs" / config("sora").folder / "cost.json").write_text("{")
    render.render(page)
    table = pd.read_csv(page / "leaderboard.csv")
    assert list(table["method"]) == ["sora", f"{HOSTILE}"]
    assert table["time_ratio"].to_list()[0] == "unreadable"
    assert pd.isna(table["time_ratio"].to_list()[1])  # not run
    assert table["autoattack"][0] == 30.0


def test_optional_evaluations_appear_where_somebody_ran_them(page):
    assert "PGD-50-10" not in (page / "leaderboard.html").read_text()
    found = Score(accuracy=12.5, n=40)
    one = Evaluation(settings={}, scores={"pgd50_10": found}, measure_seconds=1.0)
    write(page / "runs", config("sora"), "pgd50_10", measure=one)
    scores = {f"{attack} {k}/255": found for attack in ("fgsm", "pgd10") for k in range(33)}
    sweep = Evaluation(settings={}, scores=scores, measure_seconds=1.0)
    write(page / "runs", config("sora"), "eps_sweep", measure=sweep)
    render.render(page)
    html = (page / "leaderboard.html").read_text()
    assert "PGD-50-10" in html
    assert "12.50" in html
    assert "radius of the attack" in html


def test_any_score_of_a_later_evaluation_is_a_column_and_a_sweep_is_none(page):
    found = {name: Score(accuracy=12.25, n=40) for name in ("square 5000", "pgd50_10 8/255")}
    one = Evaluation(settings={}, scores=found, measure_seconds=1.0)
    write(page / "runs", config("sora"), "pgd50_10", measure=one)
    (group,) = tables(page)
    added = [column for column in group.columns if column not in COLUMNS]
    assert [column.key for column in added] == ["pgd50_10.pgd50_10 8/255", "pgd50_10.square 5000"]
    rows = rows_of(page)
    assert {rows["sora"].cells[column.key].mean for column in added} == {12.25}
    render.render(page)
    assert "square 5000" in (page / "leaderboard.html").read_text()


def test_nothing_done_renders_too(tmp_path):
    assert render.render(tmp_path) == Ending("runs here")
    assert "No records yet" in (tmp_path / "leaderboard.html").read_text()
    assert (tmp_path / "leaderboard.csv").exists()


def test_what_others_report_is_shown_and_a_fault_of_theirs_costs_no_page(page):
    folder = page / "outside/cifar10/Linf"
    folder.mkdir(parents=True)
    one = {"name": "Wong2020Fast", "dataset": "cifar10", "architecture": "PreActResNet-18",
           "eps": "8/255", "clean_acc": "83.34", "autoattack_acc": "43.21"}  # fmt: skip
    (folder / "Wong2020Fast.json").write_text(json.dumps(one))
    render.render(page)
    assert "Wong2020Fast" in (page / "leaderboard.html").read_text()
    (folder / "Broken.json").write_text("{")
    render.render(page)
    html = (page / "leaderboard.html").read_text()
    assert "Broken.json" in html
    assert "30.00" in html


def test_a_damaged_file_of_the_benchmark_costs_its_rows_alone(page, monkeypatch):
    monkeypatch.setattr("report.benchmark.FOLDER", page / "none")
    render.render(page)
    html = (page / "leaderboard.html").read_text()
    assert "what others report" in html
    assert "fastat.toml" in html
    assert "30.00" in html


def test_what_others_report_is_written_beside_our_tables(page):
    render.render(page)
    rows = pd.read_csv(page / "leaderboard.outside.csv")
    assert len(rows) == len(benchmark.read().rows)
    text = (page / "leaderboard.md").read_text()
    assert benchmark.read().statement in text
    assert text.count("[FastAT_Benchmark](https://") == len(rows)
    assert "FastAT_Benchmark" not in (page / "leaderboard.csv").read_text()


def test_the_summary_shows_what_collapsed_and_how_many_rows_it_leaves_out(tmp_path, monkeypatch):
    done(tmp_path / "runs", config("sora"), aa=40.0)
    done(tmp_path / "runs", config("fgsm"), aa=0.0, onset=0, pgd10=0.0)
    write(tmp_path / "runs", config("elle"), "train", status="diverged", reason="loss is nan")
    lines = render.summary(tmp_path, tables(tmp_path)).splitlines()
    assert [line.split()[-1] for line in lines[3:6]] == ["60.00", "collapsed", "diverged"]
    monkeypatch.setattr(render, "TOP", 1)
    assert "  and 2 more rows, on the page" in render.summary(tmp_path, tables(tmp_path))


def test_the_summary_says_which_file_cannot_be_read_and_why(tmp_path, capsys):
    done(tmp_path / "runs", config("sora"), aa=40.0)
    path = write(tmp_path / "runs", config("elle"), "train", status="failed", reason="a\nb " * 99)
    done(tmp_path / "runs", config("fgsm"), aa=30.0)
    damaged = tmp_path / "runs" / config("fgsm").folder / "autoattack.json"
    damaged.write_text("{")
    render.main(["--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    (reason,) = (line for line in lines if line.startswith("  fgsm: unreadable: "))
    assert str(damaged)[:40] in reason
    assert any(line.startswith("  elle: failed: a b a b") for line in lines)
    assert max(map(len, lines[:-1])) < 250
    assert lines[-1].startswith("failed: 5 done, 1 failed, 2 left of 8 stages of runs here; elle ")
    assert path.is_file()


def test_a_terminal_is_shown_few_tables(tmp_path, monkeypatch):
    for eps in (1, 2, 3):
        done(tmp_path / "runs", config("sora", eps=f"{eps}/255"), aa=40.0)
    monkeypatch.setattr(render, "TABLES", 2)
    text = render.summary(tmp_path, tables(tmp_path))
    assert text.count("AutoAttack on") == 2
    assert "and 1 more tables, on the page" in text


def test_the_summary_names_the_files_and_the_first_row(page):
    text = render.summary(page, tables(page))
    assert "sora" in text
    assert str(page / "leaderboard.html") in text
    for path in re.findall(r"^\S+\.(?:html|md|csv|tex)$", text, re.MULTILINE):
        assert (page / path).exists()


def test_templates_hold_no_arithmetic():
    for template in (Path(render.__file__).parent / "templates").glob("*.j2"):
        for expression in re.findall(r"{[{%](.*?)[%}]}", template.read_text()):
            bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", expression)
            assert not re.search(r"[^|]\s[-*/+]\s", bare), f"{template.name}: {expression}"


def test_frame_keeps_what_the_group_shares(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    (group,) = tables(tmp_path)
    assert frame(group).iloc[0]["eps"] == "51/255"


@pytest.fixture(scope="module")
def published():
    return collect(published=catalogue.ROOT / "results/published").runs


def test_readme_and_tables_show_the_published_records(published):
    """If this fails: make readme."""
    text = (catalogue.ROOT / "README.md").read_text()
    assert readme.readme(published, text) == text
    assert readme.tables(published) == (catalogue.ROOT / readme.TABLES).read_text()


def test_what_else_is_published_leaves_the_readme_as_short(published, tmp_path):
    """A table of its own, and a row of another suite in a table of the README's."""
    text = (catalogue.ROOT / "README.md").read_text()
    done(tmp_path / "runs", config(), aa=30.0)
    known = next(run for run in published if run.config.train_images == 2000)
    named = dataclasses.replace(known.config, method="fgsm", settings={"alpha": 0.3})
    more = [*published, *collected(tmp_path), dataclasses.replace(
        known, folder=named.folder, config=named
    )]  # fmt: skip
    assert len(readme.readme(more, text).splitlines()) == len(text.splitlines())
    before, after = (readme.tables(runs).count("\n## ") for runs in (published, more))
    assert after > before
    assert "| FGSM (alpha=0.3) |" in readme.tables(more)
    assert "| FGSM (alpha=0.3) |" not in readme.tables(published)


def test_every_run_is_counted_once(published):
    shown = render.page(groups(published), published)
    total, attacked, lent = map(int, re.search(
        r"(\d+) runs, (\d+) of them attacked, and (\d+) that only lent", shown
    ).groups())  # fmt: skip
    assert total + lent == len(published)
    assert total == sum(len(row.runs) for group in groups(published) for row in group.rows)
    assert attacked == sum(run.has("autoattack") for run in published)


def test_a_caution_stands_wherever_there_are_ranks(tmp_path):
    done(tmp_path / "runs", config(dataset="mnist_5k"), aa=10.0)
    render.render(tmp_path)
    said = sources.caution("mnist_5k")
    assert "ranks say nothing of other data" in said
    (tex,) = (tmp_path / "tables").glob("*.tex")
    for path in (tmp_path / "leaderboard.md", tmp_path / "leaderboard.txt", tex):
        assert said in path.read_text(), path.name


def test_a_column_without_any_number_is_left_out(published):
    keys = {column["key"] for column in view(groups(published), ())["columns"]}
    assert {"autoattack", "clean", "fgsm", "pgd10", "time_ratio"} <= keys
    assert "memory_ratio" not in keys  # no GPU
    assert [column["key"] for column in view([], ())["columns"]] == []
