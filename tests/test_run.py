"""Runs by hand: what may be left out, and the mistakes that people make in them."""

import json
import math

import pytest
from made_up import digits_suite

from bench.runs import catalogue
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import ConfigError
from bench.runs.run import expand, parse_run

SMOOTHS = "sora", "smooths"
MINE = {"name": "mine", "epochs": 2, "batch": 8, "lr_start": 0.0, "lr_peak": 0.1}
SORA = expand(digits_suite(methods=["sora"]))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": PROTOCOLS["digits-60"].as_dict() | {"epochs": 2}},
         "protocol 'digits-60' has epochs 60, not 2; give what is changed a name of its own"),
        ({"eps": 0.031}, "eps counts in 1/255"),
        ({"eps": "1/4"}, "eps counts in 1/255, and '1/4' does not; write 8 or 8/255"),
        ({"eps": "x"}, "eps is 'x'; a radius in Linf is more than 0 and"),
        ({"norm": "L2", "eps": "51/255"}, "eps is '51/255'; a radius in L2 is more than 0 and"),
        ({"norm": "L2", "eps": "0.50"}, "eps is '0.50'"),
        ({"norm": "L2", "eps": "128"}, "eps is '128'; .* and less than 16"),
        ({"norm": "L2", "eps": 26}, "eps counts in ranges of a pixel, and 26 is too far; meant 0"),
        ({"eps": [8, 16]}, "^eps is a list, and a run has one; suites take lists$"),
        ({"method": ["fgsm", "sora"]}, "^method is a list, and a run has one"),
        ({"method": "FGSM-RS"}, r"^unknown method 'FGSM-RS': did you mean fgsm_rs\?$"),
        ({"dataset": "DIGITS"}, r"^unknown dataset 'DIGITS': did you mean digits\?$"),
        ({"protocoll": 1, "seeds": [0]},
         r"^unknown key of a run 'protocoll': did you mean protocol\?; unknown .* mean seed\?$"),
        ({"epochs": 1}, "^epochs belongs to a run's protocol; docs/commands.md has one"),
        ({"start": {"methods": "fgsm"}}, r"^unknown key of a start 'methods': did you mean method"),
        ({"protocol": {"name": "smoke", "epochs": 1}},
         "^protocol lacks batch, lr_start, lr_peak; a mapping is a whole protocol under a name of"),
        ({"protocol": MINE | {"bach": 1}}, r"^unknown key of a protocol 'bach': did you mean batc"),
        ({"train_images": 1438}, "^train_images asks for 1438, and protocol .* has 1437 of digits"),
        ({"train_images": 1400, "protocol": MINE | {"validation": 100}}, "has 1337 of digits to t"),
        ({"norm": "L2", "eps": 0}, "eps is '0'"),
        ({"norm": "L2", "eps": 1, "method": "elle", "settings": {}}, "elle cannot train in L2, on"),
        ({"norm": "L1"}, "run.norm: Input should be 'Linf' or 'L2', given 'L1'"),
        ({"width": 0}, "run.width: Input should be greater than or equal to 1, given 0"),
        ({"seed": -1, "train_images": 0}, r"run\.seed: .* given -1; run\.train_images: .* given 0"),
        ({"protocol": MINE | {"epochs": 0}}, r"protocol\.epochs: .* equal to 1, given 0"),
        ({"protocol": MINE | {"batch": -3}}, r"protocol\.batch: .* given -3"),
        ({"protocol": MINE | {"lr_peak": -0.1}}, r"lr_peak: .* equal to 0, given -0\.1"),
        ({"protocol": MINE | {"lr_peak": math.inf}}, "lr_peak: Input should be a finite number"),
        ({"protocol": MINE | {"validation": -5}}, "validation: .* given -5"),
        ({"protocol": MINE | {"momentum_start": 2.0}}, "momentum_start: .* less than 1, given 2"),
        ({"protocol": MINE | {"nesterov": True}}, "no optimiser here has it"),
        ({"protocol": MINE | {"smoothing": 0.5}}, r"smoothing: .* less than 0\.5, given 0\.5"),
        ({"protocol": MINE | {"ema": 1.5}}, r"ema: .* equal to 1, given 1\.5"),
        ({"protocol": MINE | {"ema_warmup": True}}, "ema_warmup without ema"),
        ({"protocol": MINE | {"select": "test"}}, "select: Input should be 'validation'"),
        ({"protocol": MINE | {"milestones": [0]}}, r"milestones\.0: .* equal to 1, given 0"),
        ({"train_images": 65}, "65 training images of digits in batches of 64 leave one image"),
        ({"settings": {"tau": math.nan}}, "sora.tau = nan is no float"),
        ({"architecture": "resnet", "width": None}, "unknown architecture 'resnet': did you mean"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_run_by_hand_is_told_with_its_remedy(change, message):
    run = SORA.as_dict() | change
    with pytest.raises(ConfigError, match=message):
        parse_run(json.dumps(run))


def test_a_method_that_smooths_labels_is_refused_where_the_protocol_does(monkeypatch):
    monkeypatch.setattr(catalogue, "declares", lambda method, word: (method, word) == SMOOTHS)
    smoothing = SORA.as_dict() | {"protocol": MINE | {"smoothing": 0.4}}
    with pytest.raises(ConfigError, match="sora smooths labels itself, and protocol mine spreads"):
        parse_run(json.dumps(smoothing))
    with pytest.raises(ConfigError, match="sora smooths labels itself, and protocol fastat-100"):
        expand(digits_suite(methods=["sora"], protocol="fastat-100"))
    assert parse_run(json.dumps(smoothing | {"method": "fgsm", "settings": {}}))
    assert expand(digits_suite(methods=["sora"]))


def test_a_protocol_by_hand_is_completed_with_its_defaults():
    run = SORA.as_dict() | {"protocol": MINE}
    assert parse_run(json.dumps(run)).protocol["momentum_start"] == 0.9


def test_a_configuration_by_hand_is_completed_and_checked():
    short = SORA.as_dict() | {"settings": {}}
    assert parse_run(json.dumps(short)) == SORA
    with pytest.raises(ConfigError, match="unknown setting of sora 'taw': did you mean tau"):
        parse_run(json.dumps(short | {"settings": {"taw": 1}}))
    with pytest.raises(ConfigError, match="unknown method 'sorra': did you mean sora"):
        parse_run(json.dumps(short | {"method": "sorra"}))
    with pytest.raises(ConfigError, match=r"run\.dataset is missing"):
        parse_run(json.dumps({key: value for key, value in short.items() if key != "dataset"}))
    for usual in ({}, {"eps": None}):
        given = {key: value for key, value in short.items() if key != "eps"} | usual
        assert parse_run(json.dumps(given)).eps == "51/255"
    with pytest.raises(ConfigError, match=r"there is no file nowhere\.yaml"):
        parse_run("nowhere.yaml")


def test_a_run_by_hand_has_its_norm_and_a_radius_in_it():
    for eps in (0.5, "0.5"):
        run = parse_run(json.dumps(SORA.as_dict() | {"norm": "L2", "eps": eps}))
        assert (run.norm, run.eps) == ("L2", "0.5")
    assert parse_run(json.dumps(run.as_dict())) == run


def test_a_suite_whose_last_batch_has_one_image_is_refused():
    with pytest.raises(ConfigError, match="129 training images of digits in batches of 64 leave"):
        expand(digits_suite(methods=["fgsm"], train_images=129))
    assert expand(digits_suite(methods=["fgsm"], train_images=130))
