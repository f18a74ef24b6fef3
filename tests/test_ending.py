"""The last line: one, short, and true of every mix of stages."""

from pathlib import Path

import pytest

from bench.runs.ending import Ending, Named, plural, shortened, together

NOWHERE = Path("nowhere.log")
WORDS = {"page": "PAGE", "retry": "RETRY", "go_on": "GO ON"}


def ending(**counts):
    made = Ending("suite x", done=counts.pop("done", 0))
    for status, count in counts.items():
        for i in range(count):
            if status == "left":
                made.left.append(Named(f"left {i}", NOWHERE))
            else:
                made.add(status, "why\nnot", f"{status} {i}", NOWHERE)
    return made


def test_one_thing_is_no_plural():
    assert [plural(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"done": 1}, "done: 1 of 1 stage of suite x; PAGE"),
        ({}, "no stage of suite x yet; PAGE"),
        ({"done": 2}, "done: 2 of 2 stages of suite x; PAGE"),
        ({"done": 2, "refused": 1}, "done: 2 done, 1 refused of 3 stages of suite x; PAGE"),
        ({"left": 2}, "left: 2 of 2 stages of suite x; left 0; left 1; GO ON"),
        ({"done": 1, "failed": 1, "skipped": 1}, ("failed: 1 done, 1 failed, 1 skipped of 3 stages "
         "of suite x; failed 0: why not; to try again what failed: RETRY")),
        ({"oom": 5, "left": 1}, ("failed: 5 failed, 1 left of 6 stages of suite x; oom 0: oom: why "
         "not; oom 1: oom: why not; oom 2: oom: why not; and 2 more; to try again what failed: "
         "RETRY; GO ON")),
    ],
)  # fmt: skip
def test_it_begins_with_the_worst_and_ends_with_what_to_do(counts, line):
    assert ending(**counts).line(**WORDS) == line


def test_a_log_is_named_where_it_exists(tmp_path):
    log = tmp_path / "train.log"
    assert str(Named("a", log, "b")) == "a: b"
    log.touch()
    assert str(Named("a", log, "b")) == f"a: b (log {log})"


def test_suites_add_up():
    both = together([ending(done=1, failed=1), ending(done=2, left=1, skipped=1, refused=1)])
    head = "failed: 3 done, 1 failed, 1 refused, 1 skipped, 1 left of 7 stages of suite x, suite x"
    assert both.line(**WORDS).startswith(head)


def test_a_reason_is_one_short_line():
    assert shortened("a\n  b") == "a b"
    assert len(shortened("x" * 5000)) < 200
