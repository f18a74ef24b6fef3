"""From records to rows and pages: what is ranked, said of an empty cell, and escaped."""

import dataclasses
import json
import math
import re
import shlex
from pathlib import Path

import pytest
from made_up import (
    DATA,
    HOSTILE,
    ORIGIN,
    attack,
    config,
    done,
    expense,
    training,
    write,
)

from bench.runs import catalogue, fingerprints
from bench.runs.record import Best, Measure, Score
from bench.runs.suite import run as config_of
from bench.stages import running
from evaluation.binomial import wilson
from report import figures, render, sources
from report.columns import COLUMNS, REFERENCE, SHORT
from report.page import command, curves, details, passes, view
from report.table import Now, collect, frame, groups, interval


def unchanged(method):
    return ORIGIN.method_code


def table(tmp_path, **rest):
    runs = collect(
        published=tmp_path / "published", runs=tmp_path / "runs", plan=tmp_path / "plan.json"
    )
    return groups(runs, **rest)


def test_mean_spread_and_n_are_over_seeds(tmp_path):
    for seed, aa in enumerate((30.0, 40.0, 50.0)):
        done(tmp_path / "runs", config(seed=seed), aa=aa)
    ((row,),) = (group.rows for group in table(tmp_path))
    cell = row.cells["autoattack"]
    assert (cell.mean, cell.spread, cell.n, cell.images) == (40.0, 10.0, 3, (40,))
    assert cell.text == "40.00 ± 10.00"
    assert row.cells["time_ratio"].n == 1  # measured for one seed
    assert "indicative (n = 1)" not in row.notes


def test_one_seed_is_indicative_and_has_no_spread(tmp_path):
    done(tmp_path / "runs", config(), aa=30.0)
    ((row,),) = (group.rows for group in table(tmp_path))
    assert row.cells["autoattack"].spread is None
    assert "indicative (n = 1)" in row.notes


def test_rank_is_by_autoattack_and_never_by_pgd(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("fgsm"), aa=10.0, pgd10=99.0)
    done(runs, config("sora"), aa=30.0, pgd10=50.0)
    done(runs, config("n_fgsm"), aa=30.0, pgd10=40.0)
    write(runs, config("pgd10"), "train", training=training(pgd10=99.9))
    (group,) = table(tmp_path)
    ranks = [(row.label, row.rank) for row in group.rows]
    assert ranks == [("n_fgsm", 1), ("sora", 1), ("fgsm", 3), ("pgd10", None)]
    assert group.rows[-1].cells["autoattack"].why == "not run"


def test_runs_that_may_not_be_compared_are_in_groups_of_their_own(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config(), aa=10.0)
    done(runs, config(eps="8/255"), aa=10.0)
    assert len(table(tmp_path)) == 2


def test_variants_of_a_method_are_told_apart_by_what_differs(tmp_path):
    for rule in ("code", "paper"):
        done(tmp_path / "runs", config("sora", settings={"rule": rule, "tau": 0.02}), aa=10.0)
    (group,) = table(tmp_path)
    assert {row.label for row in group.rows} == {"sora (rule=code)", "sora (rule=paper)"}


def test_an_empty_cell_says_why(tmp_path):
    runs = tmp_path / "runs"
    write(runs, config("fgsm"), "train", status="diverged", reason="loss is nan")
    write(runs, config("fgsm"), "autoattack", status="skipped", reason="training diverged")
    plan = {"suite": "s", "runs": [{"folder": "x", "config": config("sora").as_dict()}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    rows = {row.label: row for group in table(tmp_path) for row in group.rows}
    assert rows["fgsm"].status == "diverged"
    assert rows["fgsm"].cells["clean"].why == "diverged: loss is nan"
    assert rows["fgsm"].cells["autoattack"].why == "skipped: training diverged"
    assert rows["fgsm"].why == "diverged: loss is nan"
    assert (rows["sora"].status, rows["sora"].cells["clean"].why) == ("not run", "not run")


def test_a_broken_record_is_a_cell_and_not_the_end_of_the_page(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    (path,) = (tmp_path / "runs").rglob("autoattack.json")
    path.write_text(path.read_text()[:100])
    ((row,),) = (group.rows for group in table(tmp_path))
    assert row.cells["clean"].mean == 90.0
    assert "unreadable" in row.cells["autoattack"].why


def test_collapse_counts_seeds_and_names_the_epoch(tmp_path):
    for seed, onset in enumerate((None, 4, None)):
        done(tmp_path / "runs", config(seed=seed), aa=10.0, onset=onset)
    ((row,),) = (group.rows for group in table(tmp_path))
    assert row.collapse == "1 of 3 (epoch 5)"


def test_a_working_record_goes_before_the_published_one(tmp_path):
    done(tmp_path / "published/set", config("sora"), aa=20.0)
    done(tmp_path / "published/set", config("fgsm"), aa=20.0)
    done(tmp_path / "runs", config("sora"), aa=30.0)
    rows = {row.label: row for group in table(tmp_path) for row in group.rows}
    assert rows["sora"].cells["autoattack"].mean == 30.0
    assert "published record" not in rows["sora"].notes
    assert "published record" in rows["fgsm"].notes


def test_unofficial_data_and_older_code_are_marked(tmp_path):
    copy = dataclasses.replace(DATA, official=False)
    write(tmp_path / "runs", config(), "train", data=copy, training=training())
    (group,) = table(tmp_path, now=Now(bench=lambda *what: " ".join(what), method=unchanged))
    assert group.facts["data"] == "UNOFFICIAL DATA"
    assert {"unofficial data", "older code"} <= set(group.rows[0].notes)


def test_code_is_compared_stage_by_stage(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    made = ORIGIN.bench_code
    now = {"train": made, "autoattack": made, "cost": made}

    def notes():
        code = Now(bench=lambda stage, *_: now[stage], method=unchanged)
        ((row,),) = (group.rows for group in table(tmp_path, now=code))
        return row.notes

    assert "older code" not in notes()
    now["autoattack"] = "new"
    assert "older code" in notes()


def test_an_older_method_file_is_marked_apart_from_older_bench_code(tmp_path):
    for method in ("fgsm", "sora", "gone"):
        done(tmp_path / "runs", config(method), aa=10.0)
    methods = {"fgsm": ORIGIN.method_code, "sora": "new"}
    now = Now(bench=lambda *_: ORIGIN.bench_code, method=methods.get)
    notes = {row.method: row.notes for group in table(tmp_path, now=now) for row in group.rows}
    marks = {"older code", "older method code", "no method code to compare with"}
    assert {method: marks & set(said) for method, said in notes.items()} == {
        "fgsm": set(),
        "sora": {"older method code"},
        "gone": {"no method code to compare with"},
    }


def test_the_page_compares_methods_with_their_files_and_stands_a_broken_one(tmp_path, monkeypatch):
    for method in ("fgsm", "gone", "../bench/ops"):
        done(tmp_path / "runs", config(method), aa=10.0)

    def notes():
        found, _ = render.gather(tmp_path)
        return {row.method: " ".join(row.notes) for group in found for row in group.rows}

    assert "older method code" in notes()["fgsm"]
    assert "no method code" in notes()["gone"]
    assert "no method code" in notes()["../bench/ops"]  # a file, and no method
    monkeypatch.setattr(
        fingerprints, "method_fingerprint", lambda method: compile("def", method, "exec")
    )
    assert "no method code" in notes()["fgsm"]


def test_a_run_that_never_saw_its_data_stands_with_those_that_did(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    write(tmp_path / "runs", config("sora"), "train", status="failed", reason="x", data=None)
    (group,) = table(tmp_path)
    assert [row.label for row in group.rows] == ["fgsm", "sora"]
    assert group.facts["data"] == "official"


def test_rows_attacked_on_other_numbers_of_images_say_so(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    done(tmp_path / "runs", config("sora"), aa=20.0)
    fewer = dataclasses.replace(attack(20.0), n=8)
    write(tmp_path / "runs", config("sora"), "autoattack", attack=fewer)
    ((first, second),) = (group.rows for group in table(tmp_path))
    assert "AutoAttack on 8 images, other rows on others" in first.notes
    assert "AutoAttack on 40 images, other rows on others" in second.notes


def test_a_wrong_declaration_of_cost_is_on_the_page(tmp_path):
    wrong = dataclasses.replace(expense(1.0), declared_forward=1)
    done(tmp_path / "runs", config(), aa=10.0)
    write(tmp_path / "runs", config(), "cost", expense=wrong)
    ((row,),) = (group.rows for group in table(tmp_path))
    assert "declares 1 / 2 passes, makes 2 / 2" in row.notes


def test_wilson_interval_is_the_textbooks():
    assert wilson(0.5, 100) == pytest.approx((40.38, 59.62), abs=0.01)
    low, high = wilson(0.0, 10)
    assert low == pytest.approx(0.0, abs=1e-9)
    assert high == pytest.approx(27.75, abs=0.01)


# What is written.


@pytest.fixture
def page(tmp_path):
    runs = tmp_path / "runs"
    done(runs, config("sora"), aa=30.0, ratio=1.02)
    write(runs, config(HOSTILE), "train", status="failed", reason=HOSTILE)
    render.render(tmp_path)
    return tmp_path


def test_the_page_is_one_file_that_asks_for_nothing(page):
    html = (page / "leaderboard.html").read_text()
    # both name addresses, and fetch none
    ours = html.replace(figures.script(), "").replace("https://vega.github.io/schema", "")
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=|url\(|https?:", ours)
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
    assert len(re.findall(r"(?<!\\)\|", row)) == 6 + len(SHORT)


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


def test_optional_evaluations_appear_where_somebody_ran_them(page):
    assert "PGD-50-10" not in (page / "leaderboard.html").read_text()
    found = Score(accuracy=12.5, n=40)
    one = Measure(settings={}, scores={"pgd50_10": found}, measure_seconds=1.0)
    write(page / "runs", config("sora"), "pgd50_10", measure=one)
    scores = {f"{attack} {k}/255": found for attack in ("fgsm", "pgd10") for k in range(33)}
    sweep = Measure(settings={}, scores=scores, measure_seconds=1.0)
    write(page / "runs", config("sora"), "eps_sweep", measure=sweep)
    render.render(page)
    html = (page / "leaderboard.html").read_text()
    assert "PGD-50-10" in html
    assert "12.50" in html
    assert "radius of the attack, 1/255" in html


def test_any_score_of_a_later_evaluation_is_a_column_and_a_sweep_is_none(page):
    found = {name: Score(accuracy=12.25, n=40) for name in ("square 5000", "fgsm 8/255")}
    one = Measure(settings={}, scores=found, measure_seconds=1.0)
    write(page / "runs", config("sora"), "pgd50_10", measure=one)
    (group,) = table(page)
    added = [column for column in group.columns if column not in COLUMNS]
    assert [column.key for column in added] == ["pgd50_10.square 5000"]
    rows = {row.method: row for row in group.rows}
    assert rows["sora"].cells[added[0].key].mean == 12.25
    render.render(page)
    assert "square 5000" in (page / "leaderboard.html").read_text()


def test_the_best_epoch_and_its_gap_stand_beside_the_last(tmp_path):
    best = Score(accuracy=64.0, n=50)
    held = Best(epoch=1, validation=65.0, clean=best, fgsm=best, pgd10=best)
    body = dataclasses.replace(training(pgd10=60.0), best=held)
    write(tmp_path / "runs", config("sora"), "train", training=body)
    write(tmp_path / "runs", config("fgsm"), "train", training=training())
    rows = {row.label: row for group in table(tmp_path) for row in group.rows}
    assert rows["sora"].cells["best_pgd10"].mean == 64.0
    assert rows["sora"].cells["gap"].mean == 4.0
    assert rows["fgsm"].cells["gap"].why == "this protocol holds no validation images out"


def test_memory_is_a_ratio_or_says_that_it_needs_a_gpu(tmp_path):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    done(tmp_path / "runs", config("sora"), aa=10.0)
    whole = dataclasses.replace(expense(1.0), peak_bytes=300, reference_bytes=200)
    write(tmp_path / "runs", config("sora"), "cost", expense=whole)
    rows = {row.label: row.cells["memory_ratio"] for g in table(tmp_path) for row in g.rows}
    assert rows["sora"].mean == 1.5
    assert rows["fgsm"].why == "not measured without a GPU"


def test_rows_that_few_images_cannot_tell_apart_share_a_rank(tmp_path):
    for i, method in enumerate(("fgsm", "sora", "n_fgsm")):
        done(tmp_path / "runs", config(method), aa=(50.0, 45.0, 5.0)[i])
    (group,) = table(tmp_path)
    assert [(row.place, row.rank_text) for row in group.rows] == [(1, "1="), (2, "1="), (3, "3")]


def test_an_interval_of_seeds_is_no_narrower_than_that_of_images():
    assert interval([50.0], [100]) == pytest.approx((40.38, 59.62), abs=0.01)
    assert interval([50.0, 50.0], [100]) == pytest.approx((40.38, 59.62), abs=0.01)
    assert interval([40.0, 50.0, 60.0], [100]) == pytest.approx((25.16, 74.84), abs=0.01)
    assert interval([10.0, 60.0], [100]) == (0.0, 100.0)
    assert interval([1.0]) is None


def test_curves_are_thinned_and_keep_their_ends_and_the_collapse():
    (epoch,) = training().curves
    epochs = [dataclasses.replace(epoch, epoch=i, loss=math.nan) for i in range(200)]
    said = curves(epochs, 20, onset=57)
    assert len(said["epoch"]) <= 22
    assert {1, 58, 200} <= set(said["epoch"])
    assert "loss" not in said  # JSON has no word for it


def test_a_method_without_a_family_is_sorted_by_its_passes():
    passes = {None: "other", 2: "standard", 4: "single-step", 22: "multi-step"}
    assert {count: sources.family("mine", count) for count in passes} == passes
    assert sources.family("free_at", 2) == "single-step"


def test_every_entry_is_the_paper_that_the_method_names():
    for method, (_, key) in sources.METHODS.items():
        source = catalogue.ROOT / f"methods/{method}.py"
        if key is None:
            assert "arXiv" not in source.read_text()
            continue
        entry = sources.entries()[key]
        named = re.search(r"(?:eprint = {|OpenReview )([\w.]+)", entry)[1]
        assert named in source.read_text(), method


def test_nothing_done_renders_too(tmp_path):
    assert render.render(tmp_path) == []
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


def test_the_summary_names_the_files_and_the_first_row(page):
    text = render.summary(page, table(page))
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
    (group,) = table(tmp_path)
    assert frame(group).iloc[0]["eps"] == "51/255"


def test_the_readme_shows_the_published_records():
    """If this fails: make readme."""
    text = (catalogue.ROOT / "README.md").read_text()
    published = collect(published=catalogue.ROOT / "results/published")
    assert render.readme(published, text) == text


def test_the_command_of_a_run_asks_for_the_same_run():
    run, *_ = collect(published=catalogue.ROOT / "results/published")
    words = shlex.split(command(run))
    assert config_of(words[words.index("--config") + 1]) == run.config


def test_the_commands_of_a_run_are_those_that_its_records_fit(tmp_path, monkeypatch):
    made = dataclasses.replace(ORIGIN, threads=3, cuda="13.0")
    score = Score(accuracy=12.5, n=30)
    bodies = {
        "train": {"training": dataclasses.replace(training(), engine="compiled")},
        "autoattack": {"attack": dataclasses.replace(attack(10.0), mode="fast")},
        "cost": {"expense": dataclasses.replace(expense(1.0), engine="captured")},
        "pgd50_10": {"measure": Measure(
            settings={"seed": 4}, scores={"pgd50_10": score}, measure_seconds=1.0)},
        "eps_sweep": {"measure": Measure(
            settings={"seed": 5}, scores={"fgsm 8/255": score}, measure_seconds=1.0)},
    }  # fmt: skip
    for stage, body in bodies.items():
        write(tmp_path / "runs", config(), stage, **body)
    (run,) = collect(published=tmp_path / "published", runs=tmp_path / "runs")
    run.stages = {k: dataclasses.replace(r, origin=made) for k, r in run.stages.items()}
    _, *lines = command(run).splitlines()
    asked = {}

    def execute(task, place):
        asked[task.stage.name] = task
        assert (place.threads, place.device) == (3, "cuda")
        return run.stages[task.stage.name]

    monkeypatch.setattr(running, "execute", execute)
    for line in lines:
        _, _, _, program, *words = shlex.split(line)
        running.main(program, words)
    assert sorted(asked) == sorted(bodies)
    for name, task in asked.items():
        state = task.stage.state(run.stages[name], task.options, made.method_code)
        assert state == "done", name
    assert asked["train"].options.engine == "compiled"
    assert asked["cost"].options.engine == "captured"


def test_a_command_runs_nothing_that_a_record_smuggles_in(tmp_path):
    sly = Measure(settings={"seed": "0; reboot"}, scores={}, measure_seconds=1.0)
    write(tmp_path / "runs", config(settings={"note": "'; reboot"}), "pgd50_10", measure=sly)
    (run,) = collect(published=tmp_path / "published", runs=tmp_path / "runs")
    for line in command(run).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        assert not {";", "reboot"} & set(words), line


def test_the_end_of_every_stages_log_is_there_and_what_is_not_done_comes_first(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    write(tmp_path / "runs", config(), "autoattack", status="failed", reason="x")
    runs = collect(published=tmp_path / "published", runs=tmp_path / "runs")
    folder = tmp_path / "logs" / runs[0].folder
    folder.mkdir(parents=True)
    for stage in ("train", "autoattack", "cost", "eps_sweep", "data"):
        (folder / f"{stage}.log").write_text(f"first of {stage}\n" + "line\n" * 40 + f"of {stage}")
    (shown,) = details(runs, tmp_path / "logs")["runs"].values()
    assert list(shown["logs"]) == ["autoattack", "eps_sweep", "train", "cost"]
    for stage, end in shown["logs"].items():
        assert end.endswith(f"of {stage}")
        assert "first" not in end
    (plain,) = details(runs, tmp_path / "nowhere")["runs"].values()
    assert "logs" not in plain


def test_a_whole_runs_passes_count_each_image_once_an_epoch_and_replays_too(tmp_path):
    protocol = {
        "name": "p",
        "epochs": 16,
        "batch": 32,
    }  # 100 images: the last of 4 batches is short
    runs = tmp_path / "runs"
    for method, updates, forward in (("fgsm", 16 * 4, 2), ("free_at", 2 * 4 * 8, 1)):
        for seed in (0, 1):
            body = dataclasses.replace(training(), updates=updates)
            cfg = config(method, seed, protocol=protocol)
            write(runs, cfg, "train", training=body)
            counted = dataclasses.replace(expense(1.0), forward=forward, backward=forward / 2)
            if seed == 0:  # the count holds for the other seed as well
                write(runs, cfg, "cost", expense=counted)
    found = collect(published=tmp_path / "published", runs=runs)
    shown = details(found, tmp_path / "logs")["runs"].values()
    said = [(one["folder"].split("/")[2], one["passes"]) for one in shown]
    fgsm, free = {"forward": 32.0, "backward": 16.0}, {"forward": 16.0, "backward": 8.0}
    assert said == [("fgsm", fgsm)] * 2 + [("free_at", free)] * 2


def test_passes_are_left_out_where_the_batch_is_not_known(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)  # its protocol is a name alone
    (run,) = collect(published=tmp_path / "published", runs=tmp_path / "runs")
    assert passes(run.stages["train"], expense(1.0)) is None


def test_the_reference_of_the_time_column_is_what_costs_are_measured_against():
    assert catalogue.constant("bench/stages/cost.py", "REFERENCE") == REFERENCE


# LaTeX.


def tex(tmp_path):
    (group,) = table(tmp_path)
    return render.latex(group, SHORT, render.file_name(group))


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
    fewer = dataclasses.replace(attack(20.0), n=8)
    write(tmp_path / "runs", config("fgsm"), "autoattack", attack=fewer)
    text = tex(tmp_path)
    assert "sora: in doubt, see the page." in text
    assert "AutoAttack on the first 8 or 40 test images" in text
    assert "fgsm: AutoAttack on 8 images, other rows on others." in text


# Doubts: what they are is tested in test_masking.py.


def test_doubts_stand_among_the_notes_and_say_how_many_seeds_have_them(tmp_path):
    for seed, pgd10 in enumerate((30.0, 80.0, 90.0)):
        done(tmp_path / "runs", config("sora", seed), aa=20.0, pgd10=pgd10, fgsm=90.0)
    done(tmp_path / "runs", config("fgsm"), aa=20.0, pgd10=80.0, fgsm=90.0)
    done(tmp_path / "runs", config("atas"), aa=20.0, pgd10=30.0, clean=15.0)
    rows = {row.method: row for group in table(tmp_path) for row in group.rows}
    said = ("AutoAttack (on 40 images) takes 60.0 points more than PGD-10 (on 50): gradients may "
            "be masked, or PGD-10 is weak here")  # fmt: skip
    assert rows["fgsm"].doubts == [said]
    assert rows["sora"].doubts == [f"{said} (seed 1; 2 of 3 seeds)"]
    assert rows["atas"].doubts[0].startswith("did not learn: 15.0 % right")
    for row in rows.values():
        assert set(row.doubts) <= set(row.notes)


def test_what_a_data_set_that_is_not_here_learned_is_not_judged(tmp_path):
    done(tmp_path / "runs", config(dataset="gone"), aa=0.0, pgd10=0.0, fgsm=0.0, clean=0.0)
    ((row,),) = (group.rows for group in table(tmp_path))
    assert row.doubts == []


def test_published_records_are_whole_and_official():
    published = collect(published=catalogue.ROOT / "results/published")
    assert published
    for run in published:
        assert not run.broken
        assert all(record.data.official for record in run.stages.values())
        assert not list((catalogue.ROOT / "results/published").rglob("*.safetensors"))


def test_a_column_without_any_number_is_left_out():
    published = collect(published=catalogue.ROOT / "results/published")
    keys = {column["key"] for column in view(groups(published), ())["columns"]}
    assert {"autoattack", "clean", "fgsm", "pgd10", "time_ratio"} <= keys
    assert not {"memory_ratio", "best_pgd10", "gap"} & keys  # no GPU, and no validation images
    assert [column["key"] for column in view([], ())["columns"]] == []
