"""The cache of records: it is quicker than the JSON files, and never anything else."""

import itertools
import json
import os
import sys

import pytest
from made_up import config, done

from bench.runs import cache, catalogue
from bench.runs.cache import NAME, Cache
from bench.runs.record import Record
from bench.tools import plan, status
from report.collect import collect_all


@pytest.fixture
def checked(monkeypatch):
    """The names of files whose records were checked, as they are."""
    names, check = [], Record.checked.__func__

    def noted(cls, content, path):
        names.append(path.name)
        return check(cls, content, path)

    monkeypatch.setattr(Record, "checked", classmethod(noted))
    return names


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two runs of three records, and their cache."""
    monkeypatch.setattr(cache, "SETTLED", 0)
    for method in ("fgsm", "sora"):
        done(tmp_path / "runs", config(method), aa=10.0)
    collect_all(tmp_path)
    return tmp_path


def numbers(results):
    """What the page would show of each run."""
    return {
        run.config.method: run.records["train"].training.clean.accuracy
        for run in collect_all(results).runs
        if "train" in run.records
    }


def train(results, method="fgsm"):
    return results / "runs" / config(method).folder / "train.json"


def with_91(path):
    """A record's content with another number, of the same length."""
    return path.read_text().replace('"accuracy": 90.0', '"accuracy": 91.0')


def put_back(path, found):
    """Give a file the time of change that it had."""
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def in_place(path, text):
    found = path.stat()
    path.write_text(text)
    put_back(path, found)


def another(path, text):
    found, other = path.stat(), path.with_name("other")
    other.write_text(text)
    put_back(other, found)
    other.replace(path)


CHANGES = {
    "of its size": lambda path: in_place(path, f"{with_91(path)}\n"),
    "in place, with its time put back": lambda path: in_place(path, with_91(path)),
    "for another file of that time and size": lambda path: another(path, with_91(path)),
    "of its time": lambda path: path.write_text(with_91(path)),
}


def test_records_that_did_not_change_are_not_checked_again(results, checked):
    first = [run.records for run in collect_all(results).runs]
    assert checked == []
    (results / NAME).unlink()
    assert [run.records for run in collect_all(results).runs] == first
    assert len(checked) == 6


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_record_is_read_whatever_changed(results, checked, change):
    change(train(results))
    assert numbers(results) == {"fgsm": 91.0, "sora": 90.0}
    assert checked == ["train.json"]
    assert numbers(results) == {"fgsm": 91.0, "sora": 90.0}
    assert checked == ["train.json"]


@pytest.mark.parametrize("field", cache.Stamp._fields)
def test_every_part_of_a_stamp_counts(results, checked, monkeypatch, field):
    stamp = cache._stamp

    def other(path):
        found = stamp(path)
        return found._replace(**{field: getattr(found, field) + 1})

    monkeypatch.setattr(cache, "_stamp", other)
    numbers(results)
    assert len(checked) == 6


def test_a_stamp_is_what_the_file_has(results):
    path = train(results)
    found = path.stat()
    assert cache._stamp(path) == (
        len(path.read_bytes()), found.st_mtime_ns, found.st_ctime_ns, found.st_ino,
    )  # fmt: skip


def test_a_record_at_another_path_is_checked_there(results, checked):
    place = train(results).parent
    (results / "published" / config().folder).parent.mkdir(parents=True)
    place.rename(results / "published" / config().folder)
    (run,) = (run for run in collect_all(results).runs if run.published)
    assert run.config.method == "fgsm"
    assert len(checked) == 3
    assert b"runs/" + str(config().folder).encode() not in (results / NAME).read_bytes()


def test_a_damaged_record_is_damaged_with_a_cache_too(results):
    path = train(results)
    in_place(path, "x" * path.stat().st_size)
    (run,) = (run for run in collect_all(results).runs if run.config.method == "fgsm")
    assert "train" in run.broken
    assert "train" in next(iter(collect_all(results).runs)).broken


def test_a_file_that_may_yet_change_within_a_tick_is_not_kept(results, checked, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED", 3600 * 10**9)
    (results / NAME).unlink()
    collect_all(results)
    collect_all(results)
    assert len(checked) == 12


def truncated(share):
    return lambda content: content[: int(len(content) * share)]


def flipped(share):
    def flip(content):
        at = int(len(content) * share)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


DAMAGES = {
    "empty": lambda content: b"",
    "no cache": lambda content: b"[" * 10_000,
    "a line": lambda content: b"\n",
    "no text": lambda content: b"\xff \xff\n\n",
    "a number": lambda content: content.replace(b'"accuracy": 90.0', b'"accuracy": 91.0'),
    "a stamp": lambda content: content.replace(b'train.json", ', b'train.json", 1'),
    "more": lambda content: content + b" ",
    **{f"cut at {share}": truncated(share) for share in (0.001, 0.01, 0.05, 0.5, 0.9999)},
    **{f"a bit at {share}": flipped(share) for share in (0, 0.005, 0.02, 0.1, 0.5, 0.9999)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_changes_no_number_and_is_written_anew(results, checked, damage):
    sound = (results / NAME).read_bytes()
    (results / NAME).write_bytes(damage(sound))
    assert (results / NAME).read_bytes() != sound
    assert numbers(results) == {"fgsm": 90.0, "sora": 90.0}
    assert len(checked) == 6
    assert (results / NAME).read_bytes() == sound


def test_a_cache_of_other_code_is_dropped(results, checked, monkeypatch):
    monkeypatch.setattr(cache, "_code", lambda: "other")
    numbers(results)
    numbers(results)
    assert len(checked) == 6
    monkeypatch.undo()
    monkeypatch.setattr(cache, "SETTLED", 0)
    assert (results / NAME).read_bytes().startswith(b"other ")


def test_what_checks_records_is_hashed_and_of_methods_the_names(tmp_path, monkeypatch):
    rooms = (
        "bench/runs",
        "bench/models",
        "methods",
        "evaluation/attacks",
        "evaluation/diagnostics",
    )
    files = [tmp_path / room / "one.py" for room in rooms]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text("")
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)

    def code():
        cache._code.cache_clear()
        return cache._code()

    found = [code()]
    for path in files:
        path.write_text("1")
        found.append(code())
        path.rename(path.with_name("two.py"))
        found.append(code())
    monkeypatch.setattr(sys, "version", "another")
    found.append(code())
    cache._code.cache_clear()
    changed = [one != other for one, other in itertools.pairwise(found)]
    edited, renamed = changed[:-1:2], changed[1:-1:2]
    assert edited == [True, False, False, True, True]
    assert all(renamed)
    assert changed[-1]


def test_of_two_writers_at_once_one_stays_and_is_whole(results, checked, monkeypatch):
    (results / NAME).unlink()
    one, other = Cache(results), Cache(results)
    for path in (results / "runs").rglob("*.json"):
        one.read(path)
    other.read(train(results))
    begin = cache.temporary

    def interrupted(path):
        monkeypatch.setattr(cache, "temporary", begin)
        name, file = begin(path)
        other.save()  # while the first has begun to write
        assert Cache(results).read(train(results)).training.clean.accuracy == 90.0
        return name, file

    monkeypatch.setattr(cache, "temporary", interrupted)
    one.save()
    checked.clear()
    numbers(results)
    assert checked == []
    assert sorted(path.name for path in results.iterdir()) == [NAME, "runs"]


def test_without_room_for_a_cache_the_records_are_read(results, checked, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    (results / NAME).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(cache, "temporary", refused)
        assert numbers(results) == {"fgsm": 90.0, "sora": 90.0}
    assert not (results / NAME).exists()
    (results / NAME).mkdir()  # what cannot be replaced
    assert numbers(results) == {"fgsm": 90.0, "sora": 90.0}
    assert sorted(path.name for path in results.iterdir()) == [NAME, "runs"]


def test_status_and_plan_read_and_fill_the_same_cache(results, checked, capsys):
    from made_up import digits_suite, wanted

    from bench.runs.run import expand
    from workflows.plan import Plan

    suite = digits_suite(methods=["fgsm"], seeds=[0])
    own = Plan(suite, expand(suite), data_dir=".data", results=results)
    for work in own.work:
        wanted(own, work).write(own.file(work).parent)
    words = ["--suite", str(catalogue.ROOT / "workflows/config/digits.yaml"), "--results",
             str(results), "--config", "methods=[fgsm]", "seeds=[0]"]  # fmt: skip
    for command in (status, plan):
        checked.clear()
        command.main(words)
        assert len(checked) == (len(own.work) if command is status else 0)
    capsys.readouterr()
    collect_all(results)
    assert checked == []


def test_files_are_read_once_only_where_a_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    (tmp_path / "methods").mkdir()
    assert catalogue.names("methods") == []
    with catalogue.read_once():
        assert catalogue.names("methods") == []
        (tmp_path / "methods/one.py").write_text("")
        assert catalogue.names("methods") == []
        with catalogue.read_once():
            assert catalogue.names("methods") == []
        assert catalogue.names("methods") == []
    assert catalogue.names("methods") == ["one"]
    with catalogue.read_once():
        assert catalogue.names("methods") == ["one"]


def test_without_copies_the_system_hears_of_files_before_they_are_read(results, monkeypatch):
    monkeypatch.setattr(cache, "AHEAD", 1)
    heard, fetch = [], cache._fetch
    monkeypatch.setattr(cache, "_fetch", lambda path: [fetch(path), heard.append(path)])
    collect_all(results)
    assert heard == []
    (results / NAME).unlink()
    cold = Cache(results)
    paths = [*sorted(results.rglob("*.json")), results / "gone.json"]
    assert [(path, list(heard)) for path in cold.ahead(paths)] == [
        (path, paths[1 : i + 2]) for i, path in enumerate(paths)
    ]


def test_an_index_names_paths_below_the_results(results):
    _, index, _ = (results / NAME).read_bytes().split(b"\n", 2)
    assert {name for name, *_ in json.loads(index)} == {
        str(path.relative_to(results)) for path in (results / "runs").rglob("*.json")
    }
