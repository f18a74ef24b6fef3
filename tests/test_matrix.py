"""Every data set with every architecture: two updates and the evaluations, by the real program."""

import itertools
import json
import sys

import pytest
import torch

from bench import batches, checkpoint, data
from bench.data import _cache
from bench.runs import catalogue
from bench.runs.record import WEIGHTS, Record
from bench.runs.run import parse_run
from bench.stages import running

NARROW = {"vit": 64, "wide_resnet28_10": 2, "wide_resnet34_10": 1}  # others 4
# of parts of the others, so that they are tried on one data set
KIN = {"preact_resnet18_gradalign", "preact_resnet18_seat", "resnet34", "wide_resnet34_10"}
PAIRS = list(itertools.product(catalogue.names("bench/data"), catalogue.names("bench/models")))
# at 224 pixels the widest takes 20 s even so; the other list of ImageNet classes has the same shape
CHEAP = [
    (dataset, architecture)
    for dataset, architecture in PAIRS
    if (not dataset.startswith("imagenet") or architecture != "wide_resnet28_10")
    and (dataset != "imagenet100_cmc" or architecture == "small_cnn")
    and (dataset == "cifar10" or architecture not in KIN)
]


def made_up(name, folder):
    """Four training and two test images of a data set's shape, where prepared data are."""
    known = data.info(name)
    generator = torch.Generator().manual_seed(0)
    channels, height, _ = known.shape
    side = 256 if known.augment.resized else height
    y = torch.arange(4) % known.classes
    tensors = {
        "train_x": torch.randint(0, 256, (4, channels, side, side), generator=generator),
        "train_y": y,
        "test_x": torch.randint(0, 256, (2, *known.shape), generator=generator),
        "test_y": y[:2],
    }
    tensors = {k: v.to(torch.uint8) if k.endswith("x") else v for k, v in tensors.items()}
    if known.augment.resized:
        tensors["train_size"] = torch.tensor([[375, 500], [500, 333], [256, 256], [100, 900]])
    _cache.write(data.prepared(name, folder), name, tensors, official=False)


def trained(
    name, architecture, width, folder, monkeypatch, *,
    method="fgsm_rs", train_images=None, **protocol,
):  # fmt: skip
    made_up(name, folder)
    config = {
        "dataset": name, "architecture": architecture, "width": width, "method": method,
        "eps": 8, "protocol": "sora-vit" if architecture == "vit" else "smoke",
        "train_images": train_images,
    }  # fmt: skip
    config = parse_run(json.dumps(config)).as_dict()
    config["protocol"] |= {"epochs": 2, "name": "two epochs"} | protocol
    argv = ["train", "--config", json.dumps(config), "--out", str(folder / "run")]
    argv += ["--data-dir", str(folder), "--probe-images", "1", "--test-images", "1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--device", "cpu"])
    running.main("train")
    return Record.read(folder / "run/train.json")


def holds(record):
    assert record.status == "done", record.reason
    assert record.training.updates == 2
    assert record.training.pgd10.n == 1
    assert not record.data.official
    assert (record.config.run_id) == record.run


@pytest.mark.parametrize(("dataset", "architecture"), CHEAP)
def test_a_pair_trains_and_evaluates(dataset, architecture, tmp_path, monkeypatch):
    width = NARROW.get(architecture, 4)
    holds(trained(dataset, architecture, width, tmp_path, monkeypatch))


def test_fewer_images_than_a_run_asks_for_are_refused(tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        trained("cifar10", "small_cnn", 4, tmp_path, monkeypatch, train_images=5)
    said = f"train_images asks for 5, and cifar10 in {tmp_path}, which is not the published copy"
    assert f"{said}, has 4" in str(ended.value)
    assert not (tmp_path / "run/train.json").exists()
    holds(trained("cifar10", "small_cnn", 4, tmp_path, monkeypatch, train_images=4))


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "architecture"), PAIRS)
def test_a_pair_at_its_published_width(dataset, architecture, tmp_path, monkeypatch):
    width = catalogue.published_width(architecture)
    holds(trained(dataset, architecture, width, tmp_path, monkeypatch))


def test_a_method_that_differentiates_twice_trains_a_vit(tmp_path, monkeypatch):
    holds(trained("cifar10", "vit", 64, tmp_path, monkeypatch, method="grad_align"))


def test_atas_is_refused_where_crops_are_resized(tmp_path, monkeypatch):
    record = trained("imagenet100", "small_cnn", 4, tmp_path, monkeypatch, method="atas")
    assert record.status == "refused"
    assert "augmentation of this data set has none" in record.reason


def test_held_out_images_choose_the_epoch_and_are_not_trained_on(tmp_path, monkeypatch):
    seen = []

    class Spy(batches.Batches):
        def __init__(self, x, y, *, rows, **rest):
            seen.append(rows.tolist())
            super().__init__(x, y, rows=rows, **rest)

    monkeypatch.setattr(batches, "Batches", Spy)
    record = trained("digits", "small_cnn", 4, tmp_path, monkeypatch, validation=2)
    holds(record)
    rest, held_out = data.split(4, 2)
    assert seen == [rest.tolist()]
    assert not set(rest.tolist()) & set(held_out.tolist())
    best = record.training.best
    validation = [epoch.validation for epoch in record.training.curves]
    assert best.validation == max(validation)
    assert best.epoch == validation.index(max(validation))
    assert best.pgd10.n == 1
    assert (tmp_path / "run/best.safetensors").is_file()


def test_weights_are_chosen_by_a_rule_and_averaged_as_the_protocol_says(tmp_path, monkeypatch):
    changes = {"select": "train_pgd", "ema": 0.5, "smoothing": 0.4, "smoothing_form": "noisy"}
    record = trained("digits", "small_cnn", 4, tmp_path, monkeypatch, **changes)
    holds(record)
    found = record.training
    assert (found.best.rule, found.best.update) == ("train_pgd", 2)
    assert found.average.pgd10.n == 1
    assert found.best_on_test is found.curves[0].validation is None
    for name in ("last", "best", "average"):
        assert found.weights[name] == checkpoint.digests(tmp_path / "run" / WEIGHTS[name])


def test_a_choice_on_test_images_has_a_name_of_its_own(tmp_path, monkeypatch):
    record = trained("digits", "small_cnn", 4, tmp_path, monkeypatch, select="best_on_test")
    holds(record)
    found = record.training
    assert found.best_on_test.rule == "best_on_test"
    assert found.best is None
    assert set(found.weights) == {"last", "best_on_test"}
    assert not (tmp_path / "run/best.safetensors").exists()


def test_without_held_out_images_there_is_no_best_epoch(tmp_path, monkeypatch):
    record = trained("digits", "small_cnn", 4, tmp_path, monkeypatch)
    assert record.training.best is None
    assert record.training.curves[0].validation is None
    assert not (tmp_path / "run/best.safetensors").exists()


def test_an_attack_asked_for_otherwise_is_made_again(tmp_path, monkeypatch):
    record = trained("digits", "small_cnn", 4, tmp_path, monkeypatch)
    config = json.dumps(record.config.as_dict())

    def attacked(*words):
        argv = ["attack", "--config", config, "--out", str(tmp_path / "run"), *words]
        argv += ["--data-dir", str(tmp_path), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", argv)
        running.main("attack")
        found = Record.read(tmp_path / "run/autoattack.json")
        return (found.attack.n, found.attack.batch, found.attack.mode), found.origin.started, found

    first, *_, before = attacked("--images", "1", "--batch", "4")
    assert first == (1, 4, "exact")
    *_, same = attacked("--images", "1", "--batch", "4")
    assert same == before
    assert attacked("--batch", "4")[0] == (2, 4, "exact")
    assert attacked("--batch", "4", "--mode", "fast")[0] == (2, 4, "fast")
    with pytest.raises(SystemExit):
        attacked("--images", "0")
