"""Views are the augmentations that torchvision makes picture by picture, and know the way back."""

import math

import pytest
import torch

from bench.view import Augment, Moved, Resized, boxes, margin


def crops(n=16, size=8, pad=2):
    generator = torch.Generator().manual_seed(0)
    dy, dx = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    flip = torch.rand(n, generator=generator) < 0.5
    return dy, dx, flip, Moved.crop(dy, dx, flip, (size, size), size + 2 * pad)


def test_a_crop_is_slicing_and_mirroring_image_by_image():
    canvas = torch.rand(16, 3, 12, 12)
    dy, dx, flip, view = crops()
    for i, patch in enumerate(view(canvas)):
        plain = canvas[i, :, dy[i] : dy[i] + 8, dx[i] : dx[i] + 8]
        assert torch.equal(patch, plain.flip(2) if flip[i] else plain)


def test_a_crop_and_its_inverse_are_mutually_inverse_on_the_window():
    canvas, patch = torch.rand(16, 3, 12, 12), torch.rand(16, 3, 8, 8)
    *_, view = crops()
    assert torch.equal(view.inverse(view(canvas), canvas), canvas)
    put = view.inverse(patch, canvas)
    assert torch.equal(view(put), patch)
    outside = view.inverse(torch.zeros_like(patch), torch.ones_like(canvas)).bool()
    assert torch.equal(put[outside], canvas[outside])


# Rotation by up to 10 degrees, as the MedMNIST sets have it.

DEGREES = torch.tensor([-10.0, -7.3, -0.4, 0.0, 2.9, 5.0, 9.1, 10.0])
FLIP = torch.tensor([False, True] * 4)


def rotated(size=28):
    pad = margin(Augment(degrees=10), size)
    return pad, Moved.rotation(DEGREES, FLIP, (size, size), size + 2 * pad)


@pytest.mark.parametrize("size", [7, 28, 64])
def test_a_rotation_is_torchvisions_after_its_flip(size):
    from torchvision.transforms import functional

    images = torch.randint(1, 256, (8, 3, size, size), dtype=torch.uint8)
    pad, view = rotated(size)
    ours = view(torch.nn.functional.pad(images, (pad,) * 4))
    for image, patch, angle, flip in zip(images, ours, DEGREES, FLIP, strict=True):
        plain = functional.rotate(image.flip(2) if flip else image, float(angle))
        # positions that fall between two pixels may be rounded either way
        assert (patch != plain).any(0).float().mean() < 0.01


def test_the_margin_is_as_wide_as_a_rotation_needs_and_no_wider():
    assert margin(Augment(degrees=10), 28) == 3
    *_, view = rotated()
    assert view.place.min() >= 0
    assert margin(Augment(pad=4, flip=True), 32) == 4
    assert margin(Augment(), 32) == 0


def test_the_inverse_of_a_rotation_is_nearly_one():
    pad, view = rotated()
    smooth = torch.linspace(0, 1, 28).expand(8, 1, 28, 28)  # neighbours differ by 0.037
    canvas = torch.full((8, 1, 34, 34), 5.0)
    put = view.inverse(smooth, canvas)
    assert (view(put) - smooth).abs().mean() < 0.01
    assert torch.equal(put[:, :, :1], canvas[:, :, :1])  # what no image showed stays
    still = put[3, :, pad:-pad, pad:-pad]
    assert torch.equal(still, smooth[3].flip(2))  # 0 degrees, mirrored: exact


# Random resized crop.


def test_a_resized_crop_is_torchvisions():
    from torchvision.transforms import functional

    canvas = torch.rand(3, 3, 40, 40)
    whole = torch.tensor([[4, 6, 20, 30], [0, 0, 40, 40], [10, 3, 12, 8]])
    flip = torch.tensor([False, True, False])
    ours = Resized.crop(whole / 40, flip, (24, 24))(canvas)
    for i, (top, left, height, width) in enumerate(whole.tolist()):
        args = (top, left, height, width, [24, 24])
        plain = functional.resized_crop(canvas[i], *args, antialias=False)
        plain = plain.flip(2) if flip[i] else plain
        # at the rim of the box torchvision repeats the last pixel, a view blends in the next one
        assert torch.allclose(ours[i, :, 2:-2, 2:-2], plain[:, 2:-2, 2:-2], atol=1e-5)


def test_boxes_are_drawn_as_torchvision_draws_them():
    from torchvision.transforms import RandomResizedCrop

    n, height, width = 4000, 375, 500
    ours = boxes(torch.tensor([[height, width]]).expand(n, 2), torch.Generator().manual_seed(0))
    ours = ours * torch.tensor([height, width, height, width])
    picture = torch.empty(1, height, width)
    draw = RandomResizedCrop.get_params
    theirs = torch.tensor([draw(picture, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(n)]).float()
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height + 1e-3).all()
    assert (ours[:, 1] + ours[:, 3] <= width + 1e-3).all()
    for of in (lambda b: b[:, 2] * b[:, 3], lambda b: (b[:, 3] / b[:, 2]).log(), lambda b: b[:, 0]):
        mine, others = of(ours), of(theirs)
        error = math.sqrt(2 / n) * float(others.std())
        assert abs(float(mine.mean() - others.mean())) < 4 * error
        assert float(mine.std()) == pytest.approx(float(others.std()), rel=0.06)


def test_a_box_can_touch_every_side():
    box = boxes(torch.full((2000, 2), 4), torch.Generator().manual_seed(0)) * 4
    three = box[box[:, 2] == 3]
    assert set(three[:, 0].tolist()) == {0.0, 1.0}
    assert set(box[box[:, 3] == 3][:, 1].tolist()) == {0.0, 1.0}


def test_a_picture_too_long_for_any_box_gives_its_middle():
    box = boxes(torch.tensor([[20, 2000]]), torch.Generator().manual_seed(0))
    height, width = box[0, 2] * 20, box[0, 3] * 2000
    assert (height, width) == (20, 27)  # 4/3 of the height
    assert box[0, 1] * 2000 == pytest.approx((2000 - 27) // 2)


def test_a_resized_crop_has_no_inverse_and_says_so():
    view = Resized.crop(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([False]), (4, 4))
    with pytest.raises(TypeError, match="no inverse"):
        view.inverse(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))
