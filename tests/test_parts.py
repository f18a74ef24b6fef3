"""A network in parts gives the whole one's gradients, and takes the memory of a part."""

import pytest
import torch

from bench import meter
from bench.data import info
from bench.meter import Memory
from bench.models import build
from bench.ops import ce, grad
from bench.threat import Threat
from evaluation import parts
from evaluation.attack import Task
from evaluation.attacks.pgd import PGD
from evaluation.clean import answers, clean
from evaluation.parts import Parts, bytes_of_one, fitting
from evaluation.pgd import fgsm, pgd

CPU, META = torch.device("cpu"), torch.device("meta")
NETWORKS = ["small_cnn", "resnet18", "preact_resnet18", "wide_resnet28_10", "senet18", "vit"]


def network(name, width, size=16):
    torch.manual_seed(0)
    net = build(name, shape=(3, size, size), classes=4, width=width, mean=[0.5] * 3, std=[0.2] * 3)
    return net.eval().requires_grad_(requires_grad=False)


def pictures(n=12, size=16):
    return torch.rand(n, 3, size, size), torch.arange(n) % 4


@pytest.mark.parametrize("which", NETWORKS)
def test_gradients_in_parts_are_those_of_the_whole(which):
    net, (x, y) = network(which, 64 if which == "vit" else 4), pictures(20)
    apart = Parts(net, 8)  # the last part is short
    whole = grad(ce(net, y), at=x)
    assert torch.allclose(apart(x), net(x), atol=1e-5)
    assert (grad(ce(apart, y), at=x) - whole).abs().max() < 1e-5 * whole.abs().max()


def test_parts_take_the_memory_of_one():
    net, (x, y) = network("resnet18", 8), pictures(64)
    peaks = []
    for one in (net, Parts(net, 8)):
        with Memory([*net.parameters(), *net.buffers(), x]) as memory:
            before = memory.bytes
            grad(ce(one, y), at=x)
        peaks.append(memory.peak - before)
    assert peaks[1] < peaks[0] / 6
    assert bytes_of_one(net, x) == pytest.approx(peaks[0] / 64, rel=0.05)


def test_what_fits_is_the_network_itself_and_the_rest_is_halved_until_it_does(monkeypatch):
    net, (x, _) = network("small_cnn", 4), pictures()
    each = bytes_of_one(net, x)
    monkeypatch.setattr(parts, "USABLE", 1.0)
    for room, images in ((12, None), (11, 6), (6, 6), (5, 3), (1, 1), (0, 1)):
        monkeypatch.setattr(parts, "free_bytes", lambda device, room=room, **_: room * each)
        found = fitting(net, x, batch=64)
        assert found is net if images is None else found.images == images


def test_bytes_are_counted_once_and_the_cache_is_emptied_only_where_they_seem_not_to_fit(
    monkeypatch,
):
    net, (x, _) = network("small_cnn", 4), pictures()
    each, counted, asked, free = bytes_of_one(net, x), [], [], {False: 6, True: 20}
    monkeypatch.setattr(parts, "USABLE", 1.0)
    monkeypatch.setattr(
        parts,
        "free_bytes",
        lambda device, *, emptied=True: asked.append(emptied) or free[emptied] * each,
    )
    monkeypatch.setattr(parts, "bytes_of_one", lambda net, x: counted.append(x.shape[1:]) or each)
    assert fitting(net, x, batch=6) is fitting(net, x, batch=4) is net
    assert (len(counted), asked) == (1, [False, False])
    assert fitting(net, x, batch=12) is net
    assert asked[2:] == [False, True]
    fitting(net, x[..., :8], batch=4)
    net.requires_grad_()
    fitting(net, x, batch=4)
    assert len(counted) == 3


def test_accuracies_do_not_depend_on_the_memory(monkeypatch):
    net, (x, y) = network("resnet18", 4), pictures()
    monkeypatch.setattr(PGD, "batch", 8)

    def scores():
        given = {"threat": Threat("Linf", 0.01), "batch": 8}
        yield clean(net, x, y, batch=8)
        yield answers(net, x, batch=8)
        yield fgsm(net, x, y, **given)
        yield pgd(net, x, y, **given, steps=3, seed=0)
        task = Task(net, x, y, given["threat"], name="pgd3_2", classes=4, seed=0)
        yield PGD(steps=3, restarts=2).evaluate(task)

    whole = list(scores())
    seen = []
    each = bytes_of_one(net, x)
    monkeypatch.setattr(parts, "free_bytes", lambda device, **_: 6 * each)
    net.register_forward_hook(lambda net, args, out: seen.append(len(out)))
    assert list(scores()) == whole
    assert max(seen) == 4


@pytest.mark.parametrize("architecture", ["resnet18", "wide_resnet28_10"])
def test_bytes_are_counted_on_meta_as_on_a_device(architecture):
    known = info("cifar10")
    net = build(architecture, shape=known.shape, classes=10, width=2, mean=[0.5] * 3, std=[0.2] * 3)
    here = bytes_of_one(net.eval(), torch.zeros(1, *known.shape))
    assert bytes_of_one(net.to(META), torch.empty(1, *known.shape, device=META)) == pytest.approx(
        here, rel=0.05
    )


def test_alive_tensors_are_counted_once_and_until_they_end():
    given = torch.zeros(10)
    with Memory([given]) as memory:
        a = torch.zeros(100)
        b = a.view(10, 10)[2:]
        assert memory.bytes == 440
        del a
        assert memory.bytes == 440
        del b
        given.add_(1)
        assert memory.bytes == 40
    assert memory.peak == 440


def test_free_memory_is_no_more_than_a_control_group_leaves(monkeypatch, tmp_path):
    (tmp_path / "cgroup").write_text("4:memory:/old\n0::/slurm/job\n")
    folder = tmp_path / "sys/fs/cgroup/slurm"
    folder.mkdir(parents=True)
    for name, text in {"max": "9000", "current": "5000", "stat": "inactive_file 1000"}.items():
        (folder / f"memory.{name}").write_text(text)

    class Rooted(type(tmp_path)):
        def __new__(cls, *parts):
            kept = {"/proc/self/cgroup": "cgroup", "/sys/fs/cgroup": "sys/fs/cgroup"}
            first = tmp_path / kept[parts[0]] if parts[0] in kept else parts[0]
            return type(tmp_path)(first, *parts[1:])

    monkeypatch.setattr(meter, "Path", Rooted)
    assert meter.free_bytes(CPU) == 5000
