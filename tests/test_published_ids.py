"""Ids of published runs, which neither code nor a new field of a configuration may change."""

import json
from pathlib import Path

from bench.runs.catalogue import ROOT
from bench.runs.record import Record
from bench.runs.run import parse_run

PUBLISHED = ROOT / "results/published"
KNOWN = Path(__file__).with_name("published_runs.txt").read_text().split()


def test_published_runs_keep_their_ids():
    """If it names new ones: add them to published_runs.txt."""
    found = {}
    for path in PUBLISHED.rglob("train.json"):
        config = Record.read(path).config
        found[str(path.parent.relative_to(PUBLISHED))] = config
        assert str(path.parent).endswith(config.folder)
        assert parse_run(json.dumps(config.as_dict())) == config, path
        assert config.as_dict() == json.loads(path.read_text())["config"], path
    assert sorted(found) == KNOWN
