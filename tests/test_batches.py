"""Batches are the same pictures wherever they are kept, and hold nothing that was held out."""

import subprocess
import sys

import pytest
import torch

from bench.batches import Batches
from bench.data import Images, _cache, prepared
from bench.runs.catalogue import ROOT
from bench.view import Augment

CPU = torch.device("cpu")
KINDS = [
    Augment(pad=2, flip=True),
    Augment(flip=True, degrees=10),
    Augment(flip=True, resized=True),
]


def make(augment, *, n=21, **rest):
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(0, 256, (n, 3, 12, 12), generator=generator, dtype=torch.uint8)
    if augment.resized:
        # every other picture is long, whose crops are found in its middle
        shapes = torch.tensor([[30, 40], [10, 900]]).repeat(n // 2 + 1, 1)[:n]
        rest |= {"size": (8, 8), "shapes": shapes}
    rest |= {"augment": augment, "device": CPU}
    return x, Batches(x, torch.arange(n), batch=8, seed=5, classes=n, **rest)


def epoch(batches, number=0):
    return [batches.take(number, i, torch.zeros(())) for i in range(len(batches))]


@pytest.mark.parametrize("augment", KINDS)
def test_streamed_pictures_are_those_kept_on_the_device(augment):
    _, kept = make(augment, resident=True)
    _, streamed = make(augment, resident=False)
    for number in (0, 1):
        for a, b in zip(epoch(kept, number), epoch(streamed, number), strict=True):
            assert torch.equal(a.x, b.x)
            assert torch.equal(a.y, b.y)
            assert torch.equal(a.rows, b.rows)
    # out of turn, as after a checkpoint
    assert torch.equal(streamed.take(4, 2, torch.zeros(())).x, kept.take(4, 2, torch.zeros(())).x)


@pytest.mark.parametrize("augment", KINDS)
@pytest.mark.parametrize("resident", [True, False])
def test_an_epoch_shows_every_chosen_row_once_and_no_other(augment, resident):
    rows = torch.tensor([1, 4, 5, 7, 9, 12, 13, 17, 18, 20])
    _, batches = make(augment, rows=rows, resident=resident)
    seen = epoch(batches)
    assert torch.cat([batch.y for batch in seen]).sort().values.tolist() == rows.tolist()
    assert torch.cat([batch.rows for batch in seen]).sort().values.tolist() == list(range(10))
    assert [len(batch.y) for batch in seen] == [8, 2]


@pytest.mark.parametrize("augment", KINDS)
def test_images_are_float_in_the_unit_range_and_of_the_right_size(augment):
    _, batches = make(augment)
    x = epoch(batches)[0].x
    assert x.dtype == torch.float32
    assert x.shape == batches.shape == (8, 3, *batches.size)
    assert 0 <= x.min() < 0.1
    assert 0.9 < x.max() <= 1


def test_a_row_is_the_picture_with_its_label():
    x, batches = make(Augment(), rows=torch.tensor([3, 8, 11]), resident=True)
    batch = epoch(batches)[0]
    assert torch.equal(batch.x, x[batch.y].float() / 255)


def test_streamed_rows_are_those_chosen():
    rows = torch.tensor([1, 4, 5, 7, 9, 12, 13, 17, 18, 20])
    _, kept = make(KINDS[0], rows=rows, resident=True)
    _, streamed = make(KINDS[0], rows=rows, resident=False)
    for a, b in zip(epoch(kept), epoch(streamed), strict=True):
        assert torch.equal(a.x, b.x)


@pytest.mark.parametrize("resident", [True, False])
def test_boxes_are_drawn_in_the_shape_of_the_very_picture(resident):
    rows = torch.tensor([0, 2, 3, 5, 6, 9, 11, 12])
    _, batches = make(KINDS[2], rows=rows, resident=resident)
    (batch,) = epoch(batches)
    across = batch.view.grid[:, 0, :, 0]
    wide = (across.amax(1) - across.amin(1)) / 2 > 0.2  # of the picture's width
    # of a picture of 10 x 900 no crop is wider than 13 pixels
    assert not wide[batch.y % 2 == 1].any()
    assert wide[batch.y % 2 == 0].any()


def test_pictures_that_do_not_fit_are_streamed(monkeypatch):
    import bench.batches

    assert make(KINDS[0])[1].resident
    monkeypatch.setattr(bench.batches, "free_bytes", lambda device: 1000)
    assert not make(KINDS[0])[1].resident


def test_only_views_with_a_way_back_offer_a_canvas():
    assert make(KINDS[0])[1].canvas == (21, 3, 16, 16)
    assert make(KINDS[1])[1].canvas == (21, 3, 14, 14)
    assert make(KINDS[2])[1].canvas is None


GROWTH = """
import sys
from pathlib import Path
import torch
from bench.data import Images, _cache, load
from bench.runs.run import expand
from bench.runs.stage import stage
from bench.runs.suite import parse_suite, read_yaml
from bench.stages.job import Job
from bench.stages.train import make_trainer

def own_bytes():
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in s)
    return 1024 * int(line.split()[1])

folder = Path(sys.argv[1])
given = read_yaml(Path("workflows/config/cifar10.yaml"))
given |= {"methods": ["fgsm"], "architectures": ["small_cnn"], "width": 2, "train_images": None}
run = expand(parse_suite(given))[0]
loaded = load("cifar10", folder, verify=False)
job = Job(stage("train"), run, stage("train").defaults, folder, folder, torch.device("cpu"), print)
make_trainer(job, loaded, quiet=True).advance(1)  # code and buffers
before = own_bytes()
trainer = make_trainer(job, loaded, quiet=True)
trainer.advance(1)
print(own_bytes() - before)
"""


def test_a_job_maps_the_pictures_and_makes_no_copy_of_them(tmp_path):
    n = 30_000  # 92 MB of pixels
    images = Images(
        torch.zeros(n, 3, 32, 32, dtype=torch.uint8), torch.arange(n) % 10,
        torch.zeros(8, 3, 32, 32, dtype=torch.uint8), torch.arange(8),
    )  # fmt: skip
    path = prepared("cifar10", tmp_path)
    _cache.write(path, "cifar10", images._asdict(), official=False)
    grown = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path)], cwd=ROOT, check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert int(grown.stdout.splitlines()[-1]) < path.stat().st_size / 4


def test_pictures_go_to_a_device_in_parts(monkeypatch):
    import bench.batches

    monkeypatch.setattr(bench.batches, "CHUNK", 4)
    x, _ = make(KINDS[0])
    rows = torch.tensor([1, 4, 5, 7, 9, 12, 13, 17, 18, 20])
    assert torch.equal(bench.batches._sent(x, rows, CPU), x[rows])
