"""Pictures: their files, what they name, and that they can be told apart without colour."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from made_up import config, done

from bench.runs import catalogue
from report import figures, render
from report.columns import COLUMNS
from report.page import details, view

# linear RGB as eyes without one kind of cone see it (Vienot, Brettel and Mollon 1999)
BLIND = {
    "red": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "green": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "none": np.eye(3),
}


def linear(colour):
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    f = np.cbrt(np.clip(xyz @ rgb / (0.9505, 1, 1.089), 0, 1))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture
def results(tmp_path):
    for seed in (0, 1):
        done(tmp_path / "runs", config("sora", seed), aa=30.0, ratio=1.02)
    done(tmp_path / "runs", config("fgsm"), aa=0.0, onset=0, pgd10=0.0)
    done(tmp_path / "runs", config("=1+1"), aa=10.0)
    render.render(tmp_path)
    return tmp_path


def files(results):
    return {path.name: path.read_bytes() for path in (results / "figures").iterdir()}


def drawn(results):
    found, records = render.gather(results)
    return list(figures.pictures(view(found, ()), details(records.runs, results / "logs")))


def test_every_picture_has_its_files_and_its_records(results):
    (group,) = render.gather(results)[0]
    names = {name.partition(".")[0] for name in files(results)}
    assert {f"{group.file_name}-autoattack-over-time_ratio", f"{group.file_name}-loss"} < names
    assert files(results).keys() == {f"{n}.{kind}" for n in names for kind in ("svg", "pdf", "csv")}
    table = pd.read_csv(results / f"figures/{group.file_name}-autoattack-over-time_ratio.csv")
    assert sorted(table["method"]) == ["'=1+1", "FGSM", "SORA"]
    sora = table[table["method"] == "SORA"].iloc[0]
    assert sora["AutoAttack, %"] == 30.0
    assert sora["Time, in units of fgsm_rs's (less is better)"] == 1.02
    assert set(sora["records"].split()) == {config("sora", seed).folder for seed in (0, 1)}
    curves = pd.read_csv(results / f"figures/{group.file_name}-loss.csv")
    assert set(curves[curves["method"] == "FGSM"]["record"]) == {config("fgsm").folder}


def test_git_and_make_clean_know_what_is_rendered(results):
    ignored = (catalogue.ROOT / ".gitignore").read_text().split()
    cleaned = (catalogue.ROOT / "Makefile").read_text().partition("\nclean:")[2].split()
    for path in results.iterdir():
        name = path.name if path.is_dir() else f"{path.name.split('.')[0]}.*"
        assert {f"/results/{name}", f"/results/{name}/"} & {*ignored}, name
        assert f"results/{name}" in cleaned


def test_the_same_records_make_the_same_bytes(results):
    first = files(results)
    for path in (results / "figures").iterdir():
        path.unlink()
    render.render(results)
    assert files(results) == first


def test_only_what_changed_is_drawn_again(results, monkeypatch):
    times = {path: path.stat().st_mtime_ns for path in (results / "figures").iterdir()}
    (results / "figures/of-a-table-that-is-gone.svg").touch()
    render.render(results)
    assert {path: path.stat().st_mtime_ns for path in (results / "figures").iterdir()} == times
    done(results / "runs", config("sora", 1), aa=35.0, ratio=1.02)
    render.render(results)
    changed = {p.name for p in (results / "figures").iterdir() if p.stat().st_mtime_ns != times[p]}
    assert {re.sub(r".*?-(?=autoattack)", "", name) for name in changed} == {
        f"autoattack-over-time_ratio.{kind}" for kind in ("svg", "pdf", "csv")
    }


def test_the_drawing_library_is_bundled_once_for_a_folder_of_results(tmp_path, monkeypatch):
    bundled = []
    monkeypatch.setattr(
        figures.vl_convert, "javascript_bundle", lambda text: bundled.append(text) or "bündle"
    )

    def script():
        figures._bundle.cache_clear()
        return figures.script(tmp_path)

    assert [script(), script()] == ["bündle", "bündle"]
    assert len(bundled) == 1
    kept = tmp_path / figures.BUNDLE
    for damage in (b"\xff", b"", kept.read_bytes()[:-1], kept.read_bytes().replace(b"1", b"2")):
        kept.write_bytes(damage)
        assert script() == "bündle"
    assert len(bundled) == 5
    monkeypatch.setattr(figures, "version", lambda name: "of tomorrow")
    script()
    assert len(bundled) == 6
    assert figures.script(tmp_path / "new") == "bündle"
    blocked = tmp_path / "blocked"
    blocked.touch()
    assert figures.script(blocked) == "bündle"  # nor does a folder that cannot be written to fail
    figures._bundle.cache_clear()


def test_a_picture_that_was_cut_off_is_drawn_again(results):
    whole = files(results)
    name = next(name for name in whole if name.endswith(".svg"))
    (results / "figures" / name).write_bytes(whole[name][:100])
    render.render(results)
    assert files(results) == whole


def test_no_more_pictures_are_drawn_than_a_reader_waits_for(results, monkeypatch):
    told = (results / "leaderboard.txt").read_text()
    assert told.splitlines()[-1] == str(results / "figures")
    monkeypatch.setattr(figures, "MOST", 1)
    render.render(results)
    assert len(files(results)) == 3
    told = (results / "leaderboard.txt").read_text()
    assert told.endswith(
        f"figures (the first 1 of {len(drawn(results))} pictures; the page saves any)"
    )


def test_a_row_without_a_rank_is_no_point_of_the_front(results):
    assert "SORA" in points(results)
    for seed in (0, 1):
        done(results / "runs", config("sora", seed), aa=90.0, clean=10.0)  # as by chance
    assert points(results) == {"FGSM", "=1+1"}


def points(results):
    (scatter,) = (picture for picture in drawn(results) if "over" in picture.name)
    return {point["label"] for point in scatter.spec["data"]["values"]}


def test_every_axis_says_its_unit(results):
    assert all(column.unit for column in COLUMNS)
    for picture in drawn(results):
        svg = (results / f"figures/{picture.name}.svg").read_text()
        words = set(re.findall(r"<t(?:ext|span)[^>]*>([^<]+)<", svg))
        if "over" in picture.name:
            assert {"AutoAttack, %", "Time, in units of fgsm_rs's (less is better)"} <= words
        else:
            assert "epoch" in words
            assert words & {*figures.UNITS.values(), figures.STATE_UNIT, "accuracy, %"}


def test_all_methods_differ_in_colour_or_shape_and_a_new_one_changes_nobodys():
    names = catalogue.names("methods")
    ours = figures.looks(names)
    assert len(set(ours.values())) == len(names)
    more = figures.looks([*names, "a_method_of_mine"])
    assert {name: more[name] for name in names} == ours
    assert figures.looks(["sora"]) == {"sora": ours["sora"]}  # whatever else is in a table


def test_a_method_looks_the_same_in_the_page_and_in_files(results):
    looks = figures.looks(["sora", "fgsm", "=1+1"])
    found, _ = render.gather(results)
    for group in view(found, ())["groups"]:
        assert {row["method"]: row["look"] for row in group["rows"]} == looks
    picture = next(p for p in drawn(results) if "over" in p.name)
    shown = {p["label"].lower(): (p["colour"], p["shape"]) for p in picture.spec["data"]["values"]}
    assert shown == looks


@pytest.mark.parametrize("missing", BLIND)
def test_colours_differ_for_colour_blind_readers(missing):
    seen = [lab(np.clip(np.array(BLIND[missing]) @ linear(c), 0, 1)) for c in figures.COLOURS]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert nearest > 10, missing  # 2.3 is just noticeable


def test_nothing_is_told_by_colour_alone():
    assert len({dash for _, dash in figures.ATTACKS.values()}) == len(figures.ATTACKS)
    points = [
        layer["mark"] for layer in figures.SCATTER["layer"] if layer["mark"]["type"] == "point"
    ]
    assert all(mark["stroke"] == "$ink" for mark in points)  # on white and in grey
