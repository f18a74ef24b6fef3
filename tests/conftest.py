"""One thread, no network, and a network so small that a test takes milliseconds."""

import os
import shutil
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from projects import FULL, HANGS, copy, snakemake, times, twin
from torch import nn
from xdist import is_xdist_worker

from bench.batches import Batches
from bench.method import Batch, State
from bench.models import Net
from bench.runs import catalogue
from bench.runs.locks import run_lock
from bench.runs.protocol import Protocol
from bench.tools import counts
from bench.traces import made_up_way
from bench.trainer import Trainer
from bench.view import Augment, Moved
from methods import load

torch.set_num_threads(1)  # two threads on two busy cores are many times slower

# COMPILED=1: every tiny trainer has its network compiled, so that laws are tried under that, too
COMPILED = os.environ.get("COMPILED") == "1"
FILES = {"name": "method", "attack": "attack", "diagnostic": "diagnostic"}  # by the laws' fixture
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
EPS = 8 / 255
IMAGES, BATCH = 20, 8  # so the last of three batches is short
CLASSES = 4
WAY = 90  # vectors of weights, for methods that follow another training
CPU = torch.device("cpu")
CROPPED = Augment(pad=1, flip=True)
BRIEF = Protocol(name="brief", epochs=2, batch=BATCH, lr_start=0.01, lr_peak=0.1)


def pytest_addoption(parser):
    for one in FILES.values():
        parser.addoption(f"--{one}", help=f"check this {one} alone")


def pytest_generate_tests(metafunc):
    own = str([mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")])
    for fixture, one in FILES.items():
        if fixture in metafunc.fixturenames and repr(fixture) not in own:
            chosen = metafunc.config.getoption(f"--{one}")
            all_ = catalogue.names(catalogue.EVALUATIONS.get(one, catalogue.METHODS))
            metafunc.parametrize(fixture, [chosen] if chosen else all_)


def tiny_net(channels=3, seed=0, *, norm=True):
    """About 500 weights: two convolutions, BatchNorm, pooling, four classes."""
    torch.manual_seed(seed)
    body = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    )
    return Net(body, mean=[0.5] * channels, std=[0.25] * channels)


def tiny_data(channels=3, n=IMAGES):
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (n, channels, 8, 8), generator=generator, dtype=torch.uint8)
    return x, torch.arange(n) % CLASSES


def tiny_trainer(
    method, *, channels=3, protocol=BRIEF, net=None, seed=0, images=IMAGES, device=CPU,
    augment=CROPPED, **rest
):  # fmt: skip
    """A trainer on 20 random images; ``method`` is a name or a Method."""
    if isinstance(method, str):
        method = load(method)(eps=EPS)
    net = (net or tiny_net(channels)).to(device)
    x, y = tiny_data(channels, images)
    batches = Batches(
        x,
        y,
        augment=augment,
        batch=protocol.batch,
        seed=seed,
        classes=CLASSES,
        device=device,
        shapes=torch.full((images, 2), 8) if augment.resized else None,
    )
    torch.manual_seed(7)
    if COMPILED and device == CPU and not method.twice:
        rest.setdefault("engine", "compiled")
    rest.setdefault("way", made_up_way(WAY, net))
    return Trainer(net, method, batches, protocol, **rest)


def one_step(method, net, x, y, state=None):
    """Run one step from seed 5 without an optimiser; return what it handed to descend."""
    seen = {}

    def descend(loss, at, g=None, edit=None):
        z = at.detach().requires_grad_()
        (h,) = torch.autograd.grad(loss(z), z, retain_graph=True)
        seen.update(loss=loss, at=at.detach(), d=at.detach() - x, g=g, h=h)
        return h

    corner = torch.zeros(len(x), dtype=torch.long)
    view = Moved.crop(corner, corner, corner.bool(), size=x.shape[2:], width=x.shape[3])
    torch.manual_seed(5)
    batch = Batch(x, y, torch.arange(len(x)), view, torch.zeros(()))
    method.step(net, batch, state or State(), descend)
    return seen


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()]).cpu()


class Tiny(NamedTuple):
    net: Any = tiny_net
    data: Any = tiny_data
    trainer: Any = tiny_trainer
    step: Any = one_step
    weights: Any = weights
    eps: float = EPS
    brief: Protocol = BRIEF


@pytest.fixture
def tiny():
    """The helpers above, for tests: importlib mode keeps conftest from being imported by name."""
    return Tiny()


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _counts(tmp_path_factory):
    """Counts kept in the project would be written by tests, and hide what they try."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "FILE", str(tmp_path_factory.getbasetemp() / "counts.json"))
        yield


@pytest.fixture(scope="session")
def smoke(request, tmp_path_factory):
    """The smoke suite, run from nothing by the first worker that asks: for all, to read only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if is_xdist_worker(request) else base) / "smoke"
    with run_lock(folder.parent, "smoke", patience=HANGS):
        if not folder.exists():
            made = copy(tmp_path_factory.mktemp("made"))
            (made / "said").write_text(snakemake(made, *FULL))
            made.rename(folder)  # whole, or not there
    before = times(folder)
    yield folder
    assert times(folder) == before, "a test changed what all read; it is to take project instead"


@pytest.fixture
def project(smoke, tmp_path):
    """A finished smoke suite to change at will."""
    return twin(smoke, tmp_path / "project")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    if not CHROMIUM:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def window(browser):
    """A window without network."""
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(1000 * HANGS)
    return context
