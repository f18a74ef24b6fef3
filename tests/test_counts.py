"""Counts kept on disk are those that would be made, and are made anew where anything changed."""

import pytest

from bench.tools import counts, estimate, memory

SMALL = ("digits", "small_cnn", 4)


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "counts.json"
    monkeypatch.setattr(counts, "FILE", str(path))
    return path


@pytest.fixture
def count(file):
    """A count that notes its calls; each of its forms stands for a process."""

    class Product:
        def __init__(self):
            self.calls = []

        def process(self):
            def product(a, b):
                self.calls.append((a, b))
                return a * len(b)

            return counts.kept(product)

    return Product()


def test_a_count_is_made_once_for_all_processes(count):
    first, second = count.process(), count.process()
    assert [first(2, "xx"), first(2, "xx"), second(2, "xx"), second(3, "xx")] == [4, 4, 4, 6]
    assert first(3, "xx") == 6
    assert count.calls == [(2, "xx"), (3, "xx")]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"code": "x", "counts": {}}', b"[" * 100_000, b"\xff"]
)
def test_a_damaged_file_is_made_anew(count, file, damage):
    count.process()(2, "xx")
    file.write_bytes(damage)
    assert [count.process()(2, "xx"), count.process()(2, "xx")] == [4, 4]
    assert len(count.calls) == 2


def test_counts_of_other_code_are_made_anew(count, monkeypatch):
    count.process()(2, "xx")
    monkeypatch.setattr(counts, "code", lambda: "of another day")
    assert count.process()(2, "xx") == 4
    assert len(count.calls) == 2


def test_a_line_of_code_or_a_library_is_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(counts.catalogue, "ROOT", tmp_path)
    (tmp_path / "bench/models").mkdir(parents=True)
    (tmp_path / "bench/models/net.py").write_text("WIDTH = 1")
    now = counts.code.__wrapped__
    before = now()
    (tmp_path / "bench/models/net.py").write_text("WIDTH = 2")
    edited = now()
    monkeypatch.setattr(counts, "version", lambda name: "0.0")
    assert len({before, edited, now()}) == 3


def test_where_nothing_can_be_written_everything_is_counted(count, file):
    file.mkdir()
    assert [count.process()(2, "xx"), count.process()(2, "xx")] == [4, 4]
    assert len(count.calls) == 2


@pytest.mark.parametrize(
    "kept",
    [
        (estimate._operations, SMALL),
        (memory._state_bytes, SMALL),
        (memory._bytes_of_one, SMALL),
        (memory._passes, ("trades", "{}", "code of trades")),
    ],
    ids=lambda kept: kept[0].__name__,
)
def test_kept_counts_are_the_counts(file, kept):
    function, words = kept
    function.cache_clear()
    count = function.__wrapped__.__wrapped__
    plain = count(*words)
    found = [function(*words)]
    function.cache_clear()  # as another process would find it
    found.append(function(*words))
    assert plain > 0
    assert found == [plain, plain]
    assert counts._read()
