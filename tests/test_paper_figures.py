"""The papers' figures: what they draw from which records, and what they say where these lack."""

import dataclasses
import re
import shutil

import drawn
import made_up
import pandas as pd
import pytest
import vl_convert
from made_up import SMOKE, config, done, expense, training, write

from bench.runs import catalogue
from bench.runs.catalogue import FIGURES, ROOT
from bench.runs.record import ConfigError, Evaluation, Score, Source, Start
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from report import figures, render, suite_figures
from report.collect import collect
from report.environment import templates
from report.paper_figures import _parts as parts

RADII = (0, 25, 51, 64)
SOUND, TRAPPED = (95, 80, 60, 40), (95, 50, 75, 70)  # FGSM accuracy, by radius


def suite(*names, base="smoke", **changes):
    given = read_yaml(ROOT / f"workflows/config/{base}.yaml")
    return parse_suite(given | {"figures": [*names]} | changes)


def numbers(results, name, of="smoke"):
    return pd.read_csv(results / f"figures/{of}/{name}.csv")


def page(results, of="smoke"):
    return (results / f"figures/{of}.html").read_text()


def swept(fgsm, n=500):
    scores = {
        f"{attack} {k}/255": Score(accuracy=float(y), n=n)
        for attack in ("fgsm", "pgd10")
        for k, y in zip(RADII, fgsm, strict=True)
    }
    return Evaluation(settings={}, scores=scores, measure_seconds=1.0)


@pytest.fixture
def results(tmp_path):
    """Runs of the suite smoke, whose FGSM has learnt its step."""
    for run in expand(suite()):
        done(tmp_path / "runs", run, aa=40.0, ratio=1.0)
        measure = swept(TRAPPED if run.method == "fgsm" else SOUND)
        write(tmp_path / "runs", run, "eps_sweep", measure=measure)
    return tmp_path


def where(results, method, stage):
    (run,) = (run for run in expand(suite()) if run.method == method)
    return f"{run.folder}/{stage}.json", results / "runs" / run.folder / f"{stage}.json"


@pytest.mark.parametrize("name", catalogue.names(FIGURES))
def test_a_figure_says_what_it_shows_and_reads_and_draws_nothing_from_nothing(name):
    figure = suite_figures.draw(name, [])
    title, _ = figure.said
    assert title
    assert catalogue.said(f"{FIGURES}/{name}.py", "Figure")
    reads = catalogue.said(f"{FIGURES}/{name}.py", "Reads")
    assert reads == "nothing." or (reads and reads in figure.lacking)


def points(name, root):
    pictures = suite_figures.draw(name, drawn.read(root)).pictures
    return [
        {**point, "picture": one.name} for one in pictures for point in one.spec["data"]["values"]
    ]


def said(found):
    """What points show, but for the files that they name."""
    return [{k: v for k, v in point.items() if k != "records"} for point in found]


@pytest.mark.parametrize("name", catalogue.names(FIGURES))
def test_points_go_with_the_records_that_they_name_and_with_no_others(name, tmp_path):
    """Name in `records` the files that a point is of: those without which it is not what it is."""
    if catalogue.said(f"{FIGURES}/{name}.py", "Reads") == "nothing.":
        return
    assert name in drawn.RECORDS, "give it the records that it is drawn from, in tests/drawn.py"
    drawn.RECORDS[name](tmp_path)
    before = points(name, tmp_path)
    named = {file for point in before for file in point["records"].split()}
    ours = {file for file in named if not (ROOT / file).is_file()}  # others have printed numbers
    assert ours, "it is drawn, and names no record"
    of_none = [point for point in before if not point["records"]]
    assert all("no records" in point.values() for point in of_none), "a point names no file"
    runs = tmp_path / "runs"
    files = {path.relative_to(runs).as_posix() for path in runs.rglob("*.json")}
    for file in sorted(files | ours):
        content = (runs / file).read_bytes()
        (runs / file).unlink()
        after = points(name, tmp_path)
        (runs / file).write_bytes(content)
        if file not in ours:
            assert after == before, f"{file} is read, and no point names it"
            continue
        lost, left = ([point for point in found if file in point["records"].split()]
                      for found in (before, after))  # fmt: skip
        assert not left, f"{file} is gone, and a point names it"
        assert not any(point in said(after) for point in said(lost)), f"{file} made no difference"


def test_figures_are_drawn_from_published_records_without_training(tmp_path):
    source = ROOT / "results/published/mnist_5k"
    shutil.copytree(source, tmp_path / "published")
    names = ("cost_totals", "trade_off", "hyperparameters")
    whole = suite(*names, base="default", seeds=[0, 1, 2])
    assert all(figure.pictures for figure in suite_figures.render(whole, tmp_path))
    drawn = {path.name for path in (tmp_path / "figures/default").iterdir()}
    assert {f"trade_off-pgd10.{kind}" for kind in ("svg", "pdf", "csv")} < drawn
    shown = numbers(tmp_path, "trade_off-pgd10", "default").set_index("method")
    x, y = (column for column in shown if "accuracy" in column)
    assert (x, y) == tuple(f"{name} accuracy, %, n = 1000, 3 seeds" for name in ("clean", "PGD-10"))
    found = collect(published=source).runs
    fgsm = [run.records["train"].training for run in found if run.config.method == "fgsm"]
    assert shown.loc["FGSM", y] == pytest.approx(sum(t.pgd10.accuracy for t in fgsm) / 3)
    seconds = numbers(tmp_path, "cost_totals-seconds", "default").set_index("method")
    (run,) = (r for r in found if r.config.method == "fgsm" and "cost" in r.records)
    pace = run.records["cost"].expense.update_seconds
    total = next(column for column in seconds if column.startswith("seconds of a run"))
    assert seconds.loc["FGSM", total] == pytest.approx(pace * 320)
    assert "not measured, as there is none to measure without a GPU" in page(tmp_path, "default")


def test_a_run_that_did_not_learn_is_named_so_among_soars_starts(tmp_path):
    for order, training_ in (("1", training(10.0, 10.0, 10.0)), ("2", training())):
        settings = catalogue.default_settings("soar") | {"order": order}
        write(tmp_path / "runs", config("soar", settings=settings), "train", training=training_)
    (picture,) = suite_figures.draw("soar_starts", drawn.read(tmp_path)).pictures
    names = {point["name"] for point in picture.spec["data"]["values"]}
    assert names == {"FOAR, start PGD-1: did not learn", "SOAR, start PGD-1"}


def test_the_page_says_which_stages_were_not_run(results):
    two = {"seeds": [0, 1], "evaluations": ["eps_sweep", "pgd50_10"]}
    first, *others = [run for run in expand(suite(**two)) if run.seed]
    done(results / "runs", first, aa=40.0)  # costs are measured for the first seed alone
    for run in others:
        done(results / "runs", run, aa=40.0)
        (results / "runs" / run.folder / "autoattack.json").unlink()
    write(results / "runs", first, "eps_sweep", status="failed", reason="of itself")
    suite_figures.render(suite("eps_overfitting", **two), results)
    told = page(results).partition("Not run, and so in no picture: ")[2].partition("<")[0]
    n, seeds = 2 * len(others) + 2, len(others)
    assert told == (
        f"autoattack of {seeds} of {n} runs, eps_sweep of {seeds} of {n} runs, "
        f"pgd50_10 of {n} of {n} runs"
    )


def test_what_a_figure_says_is_escaped_and_its_commands_are_code():
    made = templates().from_string("{{ text | quoted }}").render(text="run `a <b>`, not <c>")
    assert made == "run <code>a &lt;b&gt;</code>, not &lt;c&gt;"


def test_a_point_goes_with_its_record(results):
    record, path = where(results, "fgsm", "eps_sweep")
    suite_figures.render(suite("eps_overfitting"), results)
    before = numbers(results, "eps_overfitting")
    assert set(before["method"]) == {"FGSM", "SORA"}
    assert set(before[before["method"] == "FGSM"]["records"]) == {record}
    assert record in page(results)
    path.unlink()
    suite_figures.render(suite("eps_overfitting"), results)
    assert set(numbers(results, "eps_overfitting")["method"]) == {"SORA"}
    assert record not in page(results)
    where(results, "sora", "eps_sweep")[1].unlink()
    suite_figures.render(suite("eps_overfitting"), results)
    assert not list((results / "figures/smoke").iterdir())
    assert "needs trained runs and their evaluation eps_sweep." in page(results)


def test_axes_say_of_how_many_images_and_seeds_a_mean_is():
    of_seed = {"n": 360, "seed": 0, "line": "Clean"}
    assert parts.counted([of_seed]) == "n = 360, 1 seed"
    other = {**of_seed, "seed": 1}
    assert parts.counted([of_seed, other]) == "n = 360, 2 seeds"
    assert parts.counted([of_seed, {**other, "line": "PGD-10"}]) == "n = 360, 1 seed"
    elsewhere = [{**of_seed, "x": x, "seed": x} for x in (1, 2, 2, 3)]
    assert parts.counted([of_seed, *elsewhere]) == "n = 360, 1 seed"
    assert parts.counted([of_seed, other, *elsewhere]) == "n = 360, 1 to 2 seeds"
    attacked = [{**other, "line": line, "n": n} for line, n in (("A", 360), ("B", 100), ("B", 50))]
    assert parts.counted([of_seed, *attacked]) == "n = 360, B 50 or 100, 1 seed"


def test_a_point_between_two_axes_has_the_seeds_of_its_own(tmp_path):
    for method, seeds in (("fgsm", (0, 1)), ("sora", (0,))):
        for seed in seeds:
            done(tmp_path / "runs", config(method, seed), aa=40.0)
    for name in ("trade_off", "cost_totals"):
        picture = suite_figures.draw(name, drawn.read(tmp_path)).pictures[0]
        shown = {p["label"]: (p["seeds"], p["n"]) for p in picture.spec["data"]["values"]}
        assert shown == {"FGSM, 2 seeds": (2, "50"), "SORA, 1 seed": (1, "50")}
        titles = picture.csv.partition("\n")[0]
        assert "PGD-10 accuracy, %, n = 50, 1 to 2 seeds" in titles.replace('"', "")
        assert titles.endswith(",seeds,images,records")


def test_runs_without_costs_are_told_and_how_to_make_them(results, capsys):
    for run in expand(suite()):
        (results / "runs" / run.folder / "cost.json").unlink(missing_ok=True)
    figure = suite_figures.draw("cost_totals", drawn.read(results))
    trained = len(expand(suite()))
    assert figure.lacking.endswith(f"({trained} trained runs are here, and the cost of none)")
    suite_figures.main(["--suite", "sora_figures", "--results", str(results)])
    asked = "made by: snakemake figures --configfile workflows/config/sora_figures.yaml"
    assert asked in capsys.readouterr().out


def test_what_no_record_is_drawn_from_says_so(results):
    suite_figures.render(suite("gradalign_lemma1", "trade_off"), results)
    computed, _, drawn_of = page(results).partition('id="trade_off"')
    assert "Computed as drawn, from no file" in computed
    assert "Drawn from" not in computed.partition("<main>")[2]
    assert "Computed" not in drawn_of
    assert re.search(r"Drawn from [1-9]\d* file", drawn_of)


@pytest.mark.parametrize("name", catalogue.names(FIGURES))
def test_text_can_be_read_on_a_page_180_mm_wide(name, tmp_path):
    drawn.RECORDS.get(name, lambda root: None)(tmp_path)
    page_wide = 180 / 25.4 * 72  # points
    for picture in suite_figures.draw(name, drawn.read(tmp_path)).pictures:
        svg = vl_convert.vegalite_to_svg(picture.spec)
        wide = float(re.search(r'<svg[^>]* width="([\d.]+)"', svg)[1])
        least = min(float(size) for size in re.findall(r'font-size="([\d.]+)px"', svg))
        assert least * page_wide / wide >= 6.4, f"{picture.name} is {wide:.0f} pixels wide"


def symbols(picture):
    """The symbols of a picture's legends, as they are drawn."""
    svg = vl_convert.vegalite_to_svg(picture.spec)
    legends = re.findall(r'role-legend-symbol".*?</g>', svg)
    return [symbol for legend in legends for symbol in re.findall(r"<path [^>]*>", legend)]


@pytest.mark.parametrize("name", ["early_warning", "gradalign_lemma1", "eps_overfitting"])
def test_every_symbol_of_a_legend_can_be_seen(name, tmp_path):
    drawn.RECORDS.get(name, lambda root: None)(tmp_path)
    found = [one for picture in suite_figures.draw(name, drawn.read(tmp_path)).pictures
             for one in symbols(picture)]  # fmt: skip
    assert found
    for symbol in found:
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', symbol))
        filled = given.get("fill", "none") not in ("none", "transparent")
        is_line = "A" not in given["d"] and "Z" not in given["d"]  # which has nothing to fill
        stroked = given.get("stroke", "none") != "none" and float(given["stroke-width"])
        assert stroked or (filled and not is_line), symbol


def test_epsilon_overfitting_is_drawn_with_its_number(results):
    suite_figures.render(suite("eps_overfitting"), results)
    shown = numbers(results, "eps_overfitting")
    number = shown[shown["attack"] == "EO"].set_index("method")["radius, 1/255; of EO: points"]
    assert dict(number) == {"FGSM": 25.0, "SORA": -15.0}
    svg = (results / "figures/smoke/eps_overfitting.svg").read_text()
    assert ">accuracy, %<" in svg
    assert ">n = 500, 1 seed<" in svg


def test_the_number_of_epsilon_overfitting_is_no_mean_of_its_axes(results):
    for seed in (0, 1):
        for run in expand(suite(methods=["fgsm", "sora"], seeds=[seed])):
            done(results / "runs", run, aa=40.0)
            measure = swept([y - seed * i for i, y in enumerate(TRAPPED)])
            write(results / "runs", run, "eps_sweep", measure=measure)
    (picture,) = suite_figures.draw("eps_overfitting", drawn.read(results)).pictures
    panel = picture.spec["vconcat"][0]["hconcat"][0]
    titles = {str(layer["encoding"]["y"]["title"]) for layer in panel["layer"][1:]}
    assert titles == {"['accuracy, %', 'n = 500, 2 seeds']"}


def test_totals_hold_what_a_run_begins_with_and_memory_where_there_is_any(tmp_path, monkeypatch):
    start = Start(method="standard", settings={}, protocol=SMOKE, seed=0)
    soar = config("soar", settings=catalogue.default_settings("soar"), start=start)
    read = Source(run=soar.source.run_id, digest="0" * 64, epochs=1, updates=2, train_seconds=1.0)
    runs = tmp_path / "runs"
    for run, source, most in ((soar.source, None, 3_000_000), (soar, read, 2_000_000)):
        done(runs, run, aa=40.0)
        write(runs, run, "train", training=dataclasses.replace(training(), source=source))
        measured = dataclasses.replace(expense(1.0), peak_bytes=most)  # 0.1 s, of 2 updates
        write(runs, run, "cost", expense=measured)

    def totals():
        pictures = suite_figures.draw("cost_totals", drawn.read(tmp_path)).pictures
        values = {p.name.rpartition("cost_totals-")[2]: p.spec["data"]["values"] for p in pictures}
        return {name: {v["label"]: v["x"] for v in points} for name, points in values.items()}

    assert totals() == {
        "seconds": pytest.approx({"Standard": 0.2, "SOAR": 0.4}),
        "minutes": pytest.approx({"Standard": 0.2 / 60, "SOAR": 0.2 / 60}),
        "memory": {"Standard": 3.0, "SOAR": 3.0},
    }
    (runs / soar.source.folder / "cost.json").unlink()
    assert totals() == {}  # nobody knows what its source took
    other = dataclasses.replace(made_up.ORIGIN, device="another CPU")
    monkeypatch.setattr(made_up, "ORIGIN", other)
    for name in ("fgsm", "sora"):
        done(runs, config(name), aa=40.0)
        monkeypatch.undo()
    assert totals()["seconds-1"].keys() | totals()["seconds-2"].keys() == {"FGSM", "SORA"}


def test_hyperparameters_are_told_of_all_records_there_are(results):
    suite_figures.render(suite("hyperparameters", "trade_off", methods=["fgsm"]), results)
    (row,) = numbers(results, "hyperparameters").query("network != 'no records'").to_dict("records")
    assert (row["data set"], row["AutoAttack, %"], row["rank"]) == ("digits", "40.00", "1= of 2")
    assert set(numbers(results, "trade_off-pgd10")["method"]) == {"FGSM"}  # its own suite's alone


def test_what_failed_is_named_on_the_page(results):
    (run,) = (run for run in expand(suite()) if run.method == "fgsm")
    write(results / "runs", run, "train", status="diverged", reason="the loss is not finite")
    path = where(results, "sora", "autoattack")[1]
    path.write_text("{")
    suite_figures.render(suite("trade_off", methods=["fgsm", "sora", "pgd2"]), results)
    said = page(results)
    assert "fgsm seed 0, digits, train: diverged: the loss is not finite" in said
    assert "sora seed 0, digits, autoattack: unreadable" in said
    assert "1 of the suite&#39;s 3 runs, which have no records" in said


def test_pictures_on_one_page_share_no_ids(results, monkeypatch):
    values = [{"x": x, "records": ""} for x in (0, 1)]
    spec = {"data": {"values": values}, "mark": {"type": "point", "clip": True},
            "encoding": {"color": {"field": "x", "type": "quantitative"}},
            "usermeta": {"columns": {"x": "x"}}}  # fmt: skip
    pictures = [figures.Picture.of(f"trade_off-{i}", spec) for i in range(2)]
    monkeypatch.setattr(suite_figures._module("trade_off"), "draw", lambda runs: pictures)
    folder = results / "figures/smoke"
    pictures[0].draw(folder)  # as another process may have, which counts from 0 again
    shutil.copy(folder / "trade_off-0.svg", folder / "trade_off-1.svg")
    suite_figures.render(suite("trade_off"), results)
    ids = re.findall(r' id="([^"]+)"', page(results))
    assert len(ids) == len(set(ids)) > 2
    used = {*re.findall(r"url\(#([^)]+)\)", page(results))}
    assert used
    assert used <= {*ids}


def test_the_leaderboard_links_to_the_page_and_leaves_it_alone(results):
    suite_figures.render(suite("trade_off"), results)
    before = {path: path.read_bytes() for path in (results / "figures").rglob("*.*")}
    render.render(results)
    assert '<a href="figures/smoke.html">' in (results / "leaderboard.html").read_text()
    assert {path: path.read_bytes() for path in before} == before
    assert '<a href="../leaderboard.html">' in page(results)


def test_a_file_beside_the_records_that_is_missing_is_told(results, monkeypatch):
    def draw(runs):
        raise ValueError("curves.safetensors is missing; copy it")
        yield

    monkeypatch.setattr(suite_figures._module("trade_off"), "draw", draw)
    suite_figures.render(suite("trade_off"), results)
    assert "curves.safetensors is missing; copy it" in page(results)


def test_an_unknown_figure_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="unknown figure 'eps_overfit': did you mean eps_o"):
        suite("eps_overfit")
    with pytest.raises(SystemExit, match="the suite is no JSON"):
        suite_figures.main(["--suite", "{"])
    with pytest.raises(SystemExit, match="unknown suite 'smoky': did you mean smoke"):
        suite_figures.main(["--suite", "smoky"])
    with pytest.raises(SystemExit, match=r"names no figures; give it some of: .*trade_off"):
        suite_figures.main(["--suite", "smoke"])


def test_a_method_looks_the_same_in_every_picture(results):
    runs = collect(published=results / "published", runs=results / "runs").runs
    (picture,) = suite_figures.draw("eps_overfitting", runs).pictures
    lines = picture.spec["vconcat"][0]["hconcat"][0]["layer"][-1]["encoding"]
    colours = dict(zip(lines["color"]["scale"]["domain"], lines["color"]["scale"]["range"],
                       strict=True))  # fmt: skip
    shapes = dict(zip(lines["shape"]["scale"]["domain"], lines["shape"]["scale"]["range"],
                      strict=True))  # fmt: skip
    looks = figures.looks(["fgsm", "sora"])
    assert {name: (colours[name], shapes[name]) for name in colours} == {
        "FGSM": looks["fgsm"], "SORA": looks["sora"],
    }  # fmt: skip


def test_no_two_lines_of_a_picture_share_dashes_or_shape_as_grey_has_no_colours():
    methods = ["fgsm", "fgsm_rs", "grad_align", "sora", "pgd2", "pgd10"]
    looks = figures.looks(methods)
    assert len({shape for _, shape in looks.values()}) < len(methods), "these would not tell"
    found = parts.of_methods(methods)
    assert len({look.shape for look in found.values()}) == len(methods)
    assert len({look.dash for look in found.values()}) == len(methods)
    assert {name: look.colour for name, look in found.items()} == {
        name: colour for name, (colour, _) in looks.items()
    }


def test_each_printed_ablation_stands_below_the_nearest_reading(tmp_path):
    drawn.of(tmp_path, "sora", (84, 57, 45))
    drawn.of(tmp_path, "sora", (85, 58, 45), draw="none")  # the paper's row: +0.98, +1.38, -0.21
    drawn.of(tmp_path, "sora", (86, 51, 33), adapt=False)  # +2.13, -5.49, -11.48
    drawn.of(tmp_path, "sora", (89, 28, 17), adapt=False, draw="none")  # +5.24, -29.21, -28.33
    (picture,) = suite_figures.draw("sora_ablation", drawn.read(tmp_path)).pictures
    order = picture.spec["layer"][0]["encoding"]["y"]["sort"]
    below = dict(zip(order[1:], order, strict=False))
    assert below["printed: without random sampling"] == "code: u = 1"
    assert below["printed: clamping step-size"] == "code: step fixed at 2 eps"
    assert below["printed: without optimal step-size"] == "code: u = 1, step fixed at 2 eps"
    values = {(p["name"], p["line"]): p for p in picture.spec["data"]["values"]}
    assert values["code: u = 1", "FGSM"]["y"] == pytest.approx(1)
    assert values["printed: clamping step-size", "PGD-10"]["y"] == pytest.approx(34.08 - 45.56)


def test_the_suite_of_ablations_has_all_17_readings():
    runs = expand(parse_suite(read_yaml(ROOT / "workflows/config/sora_ablation.yaml")))
    read = suite_figures._module("sora_ablation").reading
    names = [read(run) for run in runs if run.seed == 0]
    assert len(names) == len(set(names)) == 17
    assert None not in names


def test_a_sweep_holds_what_differs_in_its_setting_alone(tmp_path):
    for tau in (0.02, 0.1):
        drawn.of(tmp_path, "sora", (90, 60, 50), tau=tau)
    drawn.of(tmp_path, "sora", (90, 60, 10), tau=0.5, theta=0.5)
    (picture,) = suite_figures.draw("sora_sweep", drawn.read(tmp_path)).pictures
    assert {point["x"] for point in picture.spec["data"]["values"]} == {0.02, 0.1}
    assert len(picture.spec["hconcat"]) == 1  # theta and alpha_max have one value


def test_networks_of_several_radii_are_shown_at_one(tmp_path):
    for eps in ("51/255", "77/255"):
        run = config("fgsm", eps=eps)
        write(tmp_path / "runs", run, "train", training=training(90, 60, 50))
        measure = Evaluation(settings={}, scores={"pgd50 51/255": Score(accuracy=30.0, n=360)},
                             measure_seconds=1.0)  # fmt: skip
        write(tmp_path / "runs", run, "pgd50-51_255", measure=measure)
    (picture,) = suite_figures.draw("seat_radius", drawn.read(tmp_path)).pictures
    points = picture.spec["data"]["values"]
    assert {(p["x"], p["y"]) for p in points if p["panel"] != "no attack"} == {(51, 30), (77, 30)}
    rule = picture.spec["hconcat"][1]["layer"][0]["data"]["values"]
    assert rule == [{"x": 51}]
