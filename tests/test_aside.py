"""Details beside the page: which files there are, and when they go."""

import json
import math
import os
import re

from made_up import HOSTILE, config, done

from report import aside, render
from report.page import details


def rendered(root, monkeypatch, largest=0):
    monkeypatch.setattr(aside, "LARGEST", largest)
    render.render(root)
    return sorted(path.name for path in (root / aside.FOLDER).glob("*.js"))


def age(root, seconds):
    for path in (root / aside.FOLDER).iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_a_small_page_is_one_file(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    render.render(tmp_path)
    assert not (tmp_path / aside.FOLDER).exists()
    html = (tmp_path / "leaderboard.html").read_text()
    assert "'nonce-" not in html
    assert aside.FOLDER not in html


def test_each_table_has_a_file_with_all_of_its_runs_and_of_no_other(tmp_path):
    for eps in ("8/255", "51/255"):
        for method in ("fgsm", HOSTILE):
            done(tmp_path / "runs", config(method, eps=eps, settings={"note": "'\\'"}), aa=10.0)
    found, records = render.gather(tmp_path)
    known = details(records.runs, tmp_path / "logs")
    for group in found:
        part = json.loads(json.dumps(aside._part(group, known)))
        runs = {run.run_id: run for row in group.rows for run in row.runs}
        assert part["runs"].keys() == runs.keys()
        for key, shown in part["runs"].items():
            assert part["runs"][key] == json.loads(json.dumps(known["runs"][key]))
            assert part["configs"][str(shown["config"])]["eps"] == runs[key].config.eps
            assert str(shown["source"]) in part["sources"]
            assert {str(stage["origin"]) for stage in shown["stages"]} <= part["origins"].keys()
            assert {str(stage["data"]) for stage in shown["stages"]} <= part["origins"].keys()
        script = aside._script(part)
        (text,) = re.findall(r"^takeDetails\('(.*)'\)\n$", script)
        assert json.loads(re.sub(r"\\(.)", r"\1", text)) == part
        assert not re.search(r"(?<!\\)(\\\\)*'", text)


def test_json_for_a_script_has_no_number_that_json_lacks():
    text = aside.compact({"a": [1.0, math.nan, math.inf, None], 2: "é"})
    assert text == '{"a":[1.0,null,null,null],"2":"é"}'


def test_files_stay_while_they_are_wanted_and_an_hour_longer(tmp_path, monkeypatch):
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    first = rendered(tmp_path, monkeypatch)
    assert len(first) == 1
    age(tmp_path, 2 * aside.STAYS)
    assert rendered(tmp_path, monkeypatch) == first  # wanted again, and young again
    done(tmp_path / "runs", config("sora"), aa=10.0)
    second = rendered(tmp_path, monkeypatch)
    assert {*first} < {*second}
    age(tmp_path, 2 * aside.STAYS)
    assert {*rendered(tmp_path, monkeypatch)} == {*second} - {*first}
    age(tmp_path, 2 * aside.STAYS)
    assert rendered(tmp_path, monkeypatch, largest=10**9) == []
