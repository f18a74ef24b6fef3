"""Filters where they are known: a convolution of one pixel, one filter of which bends the loss."""

import pytest
import torch
from measured import task
from torch import nn

from bench.threat import Threat
from evaluation.attack import Task
from evaluation.diagnostics.filters import MAPS, Filters, layers, without

# Logits z and 0 of an image of two pixels: filter 0 is linear around it, filter 1 is off where a
# pixel grows by more than 0.05, a quarter of the ball.
STRAIGHT, BENT = 2.0, 30.0


def network():
    conv, linear = nn.Conv2d(1, 2, 1), nn.Linear(4, 2)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([3.0, -4.0]).view(2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([1.0, 4 * 0.55]))
        linear.weight.zero_()
        linear.bias.zero_()
        linear.weight[0] = torch.tensor([STRAIGHT, -STRAIGHT, BENT, BENT])
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), linear).eval()


def measured(net, **settings):
    x, y = torch.full((64, 1, 1, 2), 0.5), torch.zeros(64, dtype=torch.int64)
    given = Task(net=net, x=x, y=y, threat=Threat("Linf", 0.1), name="filters", classes=2, seed=0)
    return Filters(**settings).evaluate(given)


def test_norms_are_of_filters_and_of_what_reads_their_maps():
    values = {name: value.value for name, value in measured(network()).values.items()}
    assert values["norm.0"] == pytest.approx(3)
    assert values["norm.1"] == pytest.approx(4)
    assert values["outgoing.0"] == pytest.approx((2 * STRAIGHT**2) ** 0.5)
    assert values["outgoing.1"] == pytest.approx((2 * BENT**2) ** 0.5)


def test_without_the_filter_that_bends_the_loss_gradients_are_parallel():
    found = measured(network())
    assert found.values["without.1"].value == pytest.approx(1)
    assert found.values["alignment_without_largest"] == found.values["without.1"]
    assert found.values["alignment"].value < 0.9
    assert found.values["without.0"].value < 0.95
    assert {value.n for value in found.values.values()} == {64}
    assert found.arrays["filter"].flatten().tolist() == [3, -4]


def test_maps_are_of_the_first_images_clean_and_under_fgsm():
    found = measured(network()).arrays
    assert found["image"].shape == (64, 2, 1, 1, 2)
    assert found["map"].shape == (64, 2, 2, 1, 2)
    # FGSM lowers the logit of the label: filter 1's maps fall as pixels grow
    assert found["image"][0].flatten().tolist() == [128, 128, 153, 153]
    expected = [[2.5, 2.5, 0.2, 0.2], [2.8, 2.8, -0.2, -0.2]]
    for maps, known in zip(found["map"][0].flatten(1).tolist(), expected, strict=True):
        assert maps == pytest.approx(known, abs=2e-3)


@pytest.mark.parametrize(("filters", "images"), [(4, 2), (64, 0)])
def test_maps_take_no_more_than_a_record_may_have(filters, images):
    conv = nn.Conv2d(3, filters, 3, padding=1)
    net = nn.Sequential(conv, nn.Flatten(), nn.Linear(filters * 32 * 32, 2)).eval()
    x, y = torch.rand(3, 3, 32, 32), torch.zeros(3, dtype=torch.int64)
    given = Task(net=net, x=x, y=y, threat=Threat("Linf", 0.1), name="filters", classes=2, seed=0)
    found = Filters().evaluate(given).arrays
    kept = found["image"], found["map"]
    assert [len(array) for array in kept] == [images, images]
    assert sum(array.numel() * array.element_size() for array in kept) <= MAPS
    assert (found["image"].dtype, found["map"].dtype) == (torch.uint8, torch.float16)


def test_so_many_images_are_taken():
    assert measured(network(), images=5).values["alignment"].n == 5


def test_filters_come_back_with_their_bias_even_from_a_failure():
    net = network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def fail():
        assert (net[0].weight[1], net[0].bias[1]) == (0, 0)
        assert net[0].weight[0] == 3
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"), without(net[0], 1):
        fail()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_next_layer_may_be_a_convolution_of_any_layout(tiny):
    given = task(tiny)
    first, after = layers(given.net)
    found = Filters().evaluate(given).values
    for i in range(len(first.weight)):
        assert found[f"outgoing.{i}"].value == pytest.approx(after.weight[:, i].norm().item())


def test_a_network_without_filters_is_refused():
    with pytest.raises(ValueError, match="no convolution"):
        layers(nn.Linear(2, 2))
