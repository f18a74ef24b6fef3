"""Damaged records and plans: whoever reads them goes on, and says which file is unreadable."""

import json
import math
import random

import made_up
import pytest

from bench.runs.catalogue import ROOT
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.tools import campaign, reproduce, verify
from report import render
from report.collect import collect
from workflows.plan import Plan

ROUNDS, SEEDS = 25, 8  # 25 x 8 runs x 3 records = 600 mutations
VALUES = (
    None, True, False, "", "x", "8/0", "1e9", "\ud800", "=1+1", "<b>|", "../../up", "NaN", -1, 0, 1,
    2, 3.5, 1e308, -1e308, math.nan, math.inf, 10**18, 10**400, [], [[]], {}, {"": {}}, [None] * 50,
)  # fmt: skip


def places(value, path=()):
    """Every place in nested dicts and lists."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(draw, value):
    """Change, remove or add something at a drawn place."""
    *way, last = draw.choice(list(places(value))[1:])
    parent = value
    for key in way:
        parent = parent[key]
    what = draw.choice(("set", "set", "set", "remove", "add", "swap"))
    if what == "remove":
        del parent[last]
    elif what == "add" and isinstance(parent, dict):
        parent[draw.choice(("new", "schema", "stage", "n", ""))] = draw.choice(VALUES)
    elif what == "swap" and isinstance(parent, dict):
        other = draw.choice(list(parent))
        parent[last], parent[other] = parent[other], parent[last]
    else:
        parent[last] = draw.choice(VALUES)
    return value


def damage(draw, path):
    """Damage a file in its values, in its bytes, or as a whole."""
    kind = draw.random()
    content = path.read_bytes()
    if kind < 0.7:
        path.write_text(json.dumps(changed(draw, json.loads(content))))
    elif kind < 0.8:
        path.write_bytes(content[: draw.randrange(len(content))])
    elif kind < 0.9:
        at = draw.randrange(len(content))
        path.write_bytes(content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :])
    elif kind < 0.95:
        path.write_bytes(draw.choice((b"", b"[" * 100_000, b"null", b"[]", b'"\\ud800"', b"\xff")))
    else:
        path.unlink()
        path.mkdir()


def is_sound(path):
    try:
        Record.read(path)
    except (ValueError, OSError):
        return False
    return True


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_reader_goes_on_and_the_page_says_what_is_unreadable(tmp_path, seed):
    draw = random.Random(seed)
    over = {"methods": ["fgsm", "sora"], "seeds": list(range(SEEDS))}
    suite = parse_suite(read_yaml(ROOT / "workflows/config/smoke.yaml") | over)
    plan = Plan(suite, expand(suite), data_dir=str(tmp_path / "none"), results=tmp_path)
    plan.write()
    for config in plan.runs.values():
        made_up.done(tmp_path / "runs", config, aa=50.0)
        if not (tmp_path / "runs" / config.folder / "cost.json").exists():
            made_up.write(tmp_path / "runs", config, "cost", expense=made_up.expense(1.5))
    sound = collect(published=tmp_path / "none", runs=tmp_path / "runs").runs
    files = sorted((tmp_path / "runs/digits/small_cnn/sora").rglob("*.json"))
    assert len(files) == 3 * SEEDS
    for path in files:
        damage(draw, path)
    if seed % 5 == 0:
        damage(draw, tmp_path / "plan.json")

    bad = {str(path) for path in files if not is_sound(path)}
    found = collect(
        published=tmp_path / "none", runs=tmp_path / "runs", plan=tmp_path / "plan.json"
    )
    told = [text for run in found.runs for text in run.broken.values()] + found.faults
    for path in bad:
        assert any(path in text for text in told), path
    controls = [run.records for run in found.runs if run.config.method == "fgsm"]
    assert controls == [run.records for run in sound if run.config.method == "fgsm"]
    render.render(tmp_path)
    page = (tmp_path / "leaderboard.html").read_text()
    assert "unreadable" in page or "Left out" in page

    again = Plan(suite, plan.runs.values(), data_dir=plan.data_dir, results=tmp_path)
    asked = {str(again.file(work)) for work in again.work}
    assert bad & asked <= {str(again.file(work)) for work in again.left}
    pieces = campaign.left(campaign.order([again]))
    assert bad & asked <= {str(again.file(piece.work)) for piece in pieces}
    for folder in {path.parent for path in files}:
        (folder / "model.safetensors").write_bytes(b"none")
        with pytest.raises((ValueError, OSError)):  # one sentence of the program, no traceback
            reproduce.check_data(reproduce.read_records(folder), tmp_path / "none")
        try:
            checks = verify.verify(folder, data_dir=tmp_path / "none", device="cpu")
        except (ValueError, OSError):
            continue
        assert not all(check.holds for check in checks)
