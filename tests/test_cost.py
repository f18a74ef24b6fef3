"""What a run's updates cost, as their stage measures it."""

import json

from bench import data
from bench.runs import catalogue
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running


def cost(folder, **changes):
    """Measure the cost of a run of the smoke suite, changed."""
    data.prepare("digits", folder, say=lambda line: None)
    smoke = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml")
    (run,) = expand(parse_suite(smoke | changes))
    words = ["--config", json.dumps(run.as_dict()), "--out", str(folder), "--repetitions", "2"]
    running.main("cost", [*words, "--data-dir", str(folder), "--device", "cpu"])
    return Record.read(folder / "cost.json").expense


def test_with_fewer_images_than_a_batch_an_image_costs_as_many_passes(tmp_path):
    expense = cost(tmp_path, methods=["fgsm"], train_images=10)
    assert (expense.forward, expense.backward) == (2, 2)


def test_an_update_of_free_at_costs_one_pass_each_way(tmp_path):
    expense = cost(tmp_path, methods=["free_at"])
    assert (expense.forward, expense.backward) == (1, 1)
    assert (expense.declared_forward, expense.declared_backward) == (1, 1)
