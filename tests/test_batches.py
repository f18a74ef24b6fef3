"""Batches are the same pictures wherever they are kept, and hold nothing that was held out."""

import pytest
import torch

from bench.batches import Batches
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
    return x, Batches(x, torch.arange(n), augment=augment, batch=8, seed=5, device=CPU, **rest)


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
    monkeypatch.setattr(bench.batches, "_free", lambda device: 1000)
    assert not make(KINDS[0])[1].resident


def test_only_views_with_a_way_back_offer_a_canvas():
    assert make(KINDS[0])[1].canvas == (21, 3, 16, 16)
    assert make(KINDS[1])[1].canvas == (21, 3, 14, 14)
    assert make(KINDS[2])[1].canvas is None
