"""What a suite is said to take follows from counted operations."""

import dataclasses

import pytest

from bench import config, estimate
from bench.record import between_marks
from workflows.grid import ROOT

PAPER = config.suite(config.load(ROOT / "workflows/config/paper.yaml"))


def run(**changes):
    cut = {"methods": ["fgsm_rs"], "datasets": ["cifar10"], "seeds": [0], "eps": [8]}
    (one,) = config.runs(PAPER.model_copy(update=cut | {"architectures": ["preact_resnet18"]}))
    return dataclasses.replace(one, **changes)


def test_a_single_step_run_is_five_forward_passes_an_image_and_epoch():
    forward = 2 * 555.42e6  # operations; multiply-adds of PreActResNet-18 at 32 pixels
    hours = 30 * 50_000 * 5 * forward / estimate.RATE / 3600
    assert estimate.train_hours(run()) == pytest.approx(hours, rel=1e-3)
    # Free-AT has 4 epochs of 8 updates, 3 passes each
    free = estimate.train_hours(run(method="free_at", settings={}))
    assert free == pytest.approx(hours * (4 * 24) / (30 * 5), rel=1e-3)
    assert estimate.train_hours(run(train_images=10_000)) == pytest.approx(hours / 5, rel=1e-3)


def test_autoattack_is_counted_for_the_images_left_standing():
    all_images = estimate.attack_hours(run(), None)
    assert estimate.attack_hours(run(), 1000) == pytest.approx(all_images / 10)
    assert estimate.attack_hours(run(dataset="tissuemnist"), None) > all_images  # 47,280 images


def test_what_will_be_refused_costs_nothing():
    cut = {"datasets": ["imagenet100"], "architectures": ["resnet18"], "seeds": [0]}
    suite = PAPER.model_copy(update=cut)
    (cell,) = estimate.cells(suite, config.runs(suite))
    assert cell.runs == 15  # all but ATAS


def test_disk_is_one_byte_a_pixel():
    assert estimate.disk(["cifar10"]) == 60_000 * 3072
    assert estimate.disk(["imagenet100"]) > 130_000 * 3 * 256**2


def test_the_readme_says_what_the_paper_suite_costs():
    """If this fails: make readme."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = estimate.readme(PAPER, estimate.cells(PAPER, config.runs(PAPER)))
    assert between_marks(text, estimate.MARK, body) == text


def test_a_document_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the lines"):
        between_marks("nothing here", "costs", "body")
