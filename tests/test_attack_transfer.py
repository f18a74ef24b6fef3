"""transfer: images are made on the source, and judged by the network that is attacked."""

import dataclasses
import json
import re

import pytest
import torch
from made_up import digits_suite
from measured import task
from torch import nn

from bench import data
from bench.runs.evaluations import read, source
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.stage import stage
from bench.stages import running
from evaluation.attacks.pgd import PGD
from evaluation.attacks.transfer import Transfer

SMALL = {"train_images": 64, "width": 4, "protocol": "smoke", "methods": ["fgsm"], "seeds": [0]}
(RUN,) = expand(digits_suite(**SMALL))


class Flat(nn.Module):
    """No gradient leads anywhere; the sum of an image decides, and any move that lowers it."""

    def forward(self, x):
        z = ((x.flatten(1).mean(1) - 0.45) * 40).round()
        return torch.stack([z, -z - 1], 1)


class Slope(nn.Module):
    def forward(self, x):
        z = x.flatten(1).mean(1) - 0.45
        return torch.stack([z, -z], 1)


def test_the_source_leads_and_the_network_judges(tiny):
    x = torch.full((8, 3, 8, 8), 0.5)
    given = task(tiny)._replace(net=Flat(), x=x, y=torch.zeros(8).long())
    given = given._replace(threat=dataclasses.replace(given.threat, eps=0.1))

    def accuracy(one, on):
        return one.evaluate(given._replace(source=on)).scores["tried"].accuracy

    assert accuracy(PGD(), None) == 100
    assert accuracy(Transfer(), Slope()) == 0
    assert accuracy(Transfer(), Flat()) == 100


def test_the_source_is_a_run_of_its_own_method_network_and_seed():
    same, other = (source(read(name), RUN) for name in ("transfer", "transfer_from_resnet18"))
    assert (same.architecture, same.method, same.seed) == ("small_cnn", "standard", 1000)
    assert (other.architecture, other.width) == ("resnet18", 4)
    assert same.folder != RUN.folder
    assert source(read("transfer"), RUN.with_seed(3)) == same
    whole = dataclasses.replace(RUN, width=32)
    assert source(read("transfer_pgd20_from_wrn"), whole).architecture == "wide_resnet34_10"
    assert source(read("transfer_pgd20_from_resnet"), whole).width == 64
    assert source(read("pgd20"), RUN) is None


def test_printed_names_are_read():
    assert read("transfer_pgd1000_from_wrn").settings["steps"] == 1000
    assert read("transfer_from_vgg11").name == "transfer_pgd20_from_vgg11"
    with pytest.raises(ValueError, match="unknown source 'vgg12': did you mean vgg11"):
        read("transfer_from_vgg12")
    with pytest.raises(ValueError, match="unknown method 'standart': did you mean standard"):
        read({"attack": "transfer", "method": "standart"})


def test_it_is_trained_before_and_its_weights_are_recorded(tmp_path):
    data.prepare("digits", tmp_path, lambda line: None)
    name, other = "transfer_pgd20_from_same", source(read("transfer"), RUN)
    assert [one.run_id for one, _ in stage(name).reads(RUN)] == [RUN.run_id, other.run_id]

    def do(program, run, *more):
        words = ["--config", json.dumps(run.as_dict()), "--out", str(tmp_path / run.folder)]
        words += ["--data-dir", str(tmp_path), "--device", "cpu", *more]
        running.main(program, words)

    brief = ["--test-images", "8", "--probe-images", "4"]
    attack = ["evaluate", RUN, "--evaluation", name, "--images", "20"]
    do("train", RUN, *brief)
    with pytest.raises(SystemExit, match=re.escape(f"(run {other.run_id}):")):
        do(*attack)
    do("train", other, *brief)
    do(*attack)
    record = Record.read(tmp_path / RUN.folder / f"{name}.json")
    assert record.measure.source.run == other.run_id
    assert record.measure.scores[name].n == 20
    trainings = [Record.read(tmp_path / run.folder / "train.json") for run in (RUN, other)]
    wanted = stage(name).options_of(record)
    code = record.origin.method_code
    assert stage(name).state(record, wanted, code, trainings=trainings) == "done"
    measure = dataclasses.replace(
        record.measure, source=dataclasses.replace(record.measure.source, digest="0" * 64)
    )
    stale = dataclasses.replace(record, measure=measure)
    assert stage(name).state(stale, wanted, code, trainings=trainings) == "stale weights"
