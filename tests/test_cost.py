"""What a run's updates cost, as their stage measures it."""

import json

from bench import data
from bench.runs import catalogue
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running


def test_an_update_of_free_at_costs_one_pass_each_way(tmp_path):
    data.prepare("digits", tmp_path, say=lambda line: None)
    smoke = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml")
    (run,) = expand(parse_suite(smoke | {"methods": ["free_at"]}))
    words = ["--config", json.dumps(run.as_dict()), "--out", str(tmp_path)]
    running.main("cost", [*words, "--data-dir", str(tmp_path), "--device", "cpu"])
    expense = Record.read(tmp_path / "cost.json").expense
    assert (expense.forward, expense.backward) == (1, 1)
    assert (expense.declared_forward, expense.declared_backward) == (1, 1)
    assert expense.time_ratio < 1
