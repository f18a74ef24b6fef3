"""Networks of runs, loaded for attacks of other libraries."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

import bench
from bench import checkpoint, data
from bench.runs.catalogue import ROOT
from bench.runs.protocol import Protocol
from bench.runs.record import Record, radius
from bench.stages import running
from bench.threat import Threat
from bench.weights import halve
from evaluation.pgd import pgd

BRIEF = Protocol(name="brief", epochs=8, batch=64, lr_start=0.01, lr_peak=0.3, validation=100,
                 ema=0.9)  # fmt: skip
EPS = "26/255"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results with one run, which has last, best and averaged weights, and its data."""
    results = tmp_path_factory.mktemp("results")
    data.prepare("digits", results, lambda line: None)
    given = {
        "dataset": "digits", "architecture": "small_cnn", "width": 8, "method": "fgsm_rs",
        "eps": EPS, "protocol": BRIEF.as_dict(),
    }  # fmt: skip
    words = ["--config", json.dumps(given), "--data-dir", str(results), "--device", "cpu"]
    running.main("train", [*words, "--out", str(results / "made"), "--probe-images", "8"])
    record = Record.read(results / "made/train.json")
    folder = results / "runs" / record.config.folder
    folder.parent.mkdir(parents=True)
    (results / "made").rename(folder)
    return results


@pytest.fixture
def run(results, tmp_path):
    """A copy of the run to change."""
    (folder,) = results.glob("runs/*/*/*/*")
    return shutil.copytree(folder, tmp_path / folder.relative_to(results))


def images(results):
    found = data.load("digits", results).images
    return found.test_x.float() / 255, found.test_y


def right(net, x, y):
    return 100 * (net(x).argmax(1) == y).double().mean().item()


@pytest.mark.parametrize("weights", ["last", "best", "average"])
def test_a_network_has_the_accuracy_of_its_record(run, results, weights):
    training = Record.read(run / "train.json").training
    recorded = training if weights == "last" else getattr(training, weights)
    net, (x, y) = bench.load(run, weights), images(results)
    assert right(net, x, y) == recorded.clean.accuracy
    threat = Threat("Linf", radius(EPS))
    found = pgd(net, x, y, threat=threat, batch=512, steps=10, seed=0)
    assert found == recorded.pgd10
    assert not net.training
    assert not any(weight.requires_grad for weight in net.parameters())


def test_the_kinds_of_weights_are_told_apart(run, results):
    x, _ = images(results)
    (run / "best.safetensors").unlink()
    last, average = (bench.load(run, weights)(x) for weights in ("last", "average"))
    assert not torch.equal(last, average)
    with pytest.raises(ValueError, match=r"best\.safetensors is missing"):
        bench.load(run, "best")


def test_autoattack_takes_it(run, results):
    from pyautoattack import AutoAttack

    net, (x, y) = bench.load(run), (part[:16] for part in images(results))
    attack = AutoAttack(net, norm="Linf", eps=radius(EPS), version="standard", device="cpu", seed=0)
    attack.attacks_to_run = ["apgd-ce"]
    found, _ = attack.run_standard_evaluation(x, y, batch_size=16)
    assert (found - x).abs().max() <= radius(EPS) + 1e-6
    assert right(net, found, y) < right(net, x, y)


def test_an_id_is_looked_for_among_this_machines_runs_and_then_the_published(run, tmp_path):
    assert isinstance(bench.load(run.name, results=tmp_path), torch.nn.Module)
    set_ = tmp_path / "published/submitted/ada" / run.relative_to(tmp_path / "runs")
    shutil.copytree(run, set_)
    shutil.rmtree(tmp_path / "runs")
    assert isinstance(bench.load(run.name, results=tmp_path), torch.nn.Module)
    (set_ / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"published records come without weights.*: python -m bench rep"
    ):
        bench.load(run.name, results=tmp_path)


def damaged(run):
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def flipped(run):
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def failed(run):
    record = Record.read(run / "train.json")
    dataclasses.replace(record, status="diverged", reason="loss", training=None).write(run)


def rewrite(run, **changes):
    record = Record.read(run / "train.json")
    config = dataclasses.replace(record.config, **changes)
    dataclasses.replace(record, config=config, run=config.run_id).write(run)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda run: (run / "train.json").unlink(),
            r"no trained run .*; give its folder, which holds train\.json",
        ),
        (
            lambda run: (run / "model.safetensors").unlink(),
            r"model\.safetensors is missing \(published",
        ),
        (lambda run: (run / "train.json").write_text("{"), r"train\.json is no valid record"),
        (damaged, "cannot be read as this run's weights"),
        (flipped, r"holds other weights than train\.json names"),
        (failed, "training diverged: loss"),
        (lambda run: rewrite(run, architecture="../x"), "unknown bench/models"),
        (lambda run: rewrite(run, dataset="digit"), "unknown bench/data 'digit': did you mean dig"),
        (lambda run: rewrite(run, width=12), "cannot be read as this run's weights"),
    ],
)
def test_what_is_wrong_with_a_run_is_a_sentence(run, spoil, said):
    spoil(run)
    with pytest.raises(ValueError, match=said):
        bench.load(run)


def test_weights_that_the_protocol_does_not_make_are_told(run):
    record = Record.read(run / "train.json")
    training = dataclasses.replace(record.training, best=None)
    dataclasses.replace(record, training=training).write(run)
    with pytest.raises(ValueError, match="protocol brief holds no validation images out"):
        bench.load(run, "best")
    with pytest.raises(ValueError, match="unknown weights 'first'"):
        bench.load(run, "first")


def test_a_run_of_other_code_is_warned_of(run):
    record = Record.read(run / "train.json")
    origin = dataclasses.replace(record.origin, bench_code="another", commit="0123abc")
    dataclasses.replace(record, origin=origin).write(run)
    with pytest.warns(UserWarning, match=r"trained by other code than is here \(commit 0123abc\)"):
        bench.load(run)


def test_weights_beyond_half_precision_stay_in_full(run):
    training, said = Record.read(run / "train.json").training, []
    path = run / "model.safetensors"
    net = bench.load(run)
    net.get_buffer("std").fill_(1e6)
    checkpoint.keep_weights(path, net)
    whole = path.read_bytes()
    halve(run, training, said.append)
    assert path.read_bytes() == whole
    assert said == ["model.safetensors stays in full precision: half cannot hold its numbers"]
    assert (run / "best.safetensors").stat().st_size < 0.7 * len(whole)


def five_lines(run, results):
    """The README's lines, for this run and its data."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "bench.load(" in block)
    code = re.sub(r'bench\.load\("\w+"\)', f"bench.load({str(run)!r})", code)
    code = code.replace('".data"', repr(str(results))).replace("51 / 255", EPS)
    return (
        code
        + "import json\nright = lambda x: int((net(x).argmax(1) == y).sum())\n"
        + ("print(json.dumps([right(x), right(one), right(other), len(y)]))\n")
    )


@pytest.mark.slow
def test_the_readmes_lines_run_with_torchattacks_and_foolbox(run, results, tmp_path):
    """In an environment of their own, which sees what the project has: they pin old packages."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    (here,) = {Path(torch.__file__).parents[1]}
    (site,) = tmp_path.glob("env/lib/python*/site-packages")
    (site / "project.pth").write_text(f"{here}\n{ROOT}\n")

    def pip(*words):
        return subprocess.run(
            [python, "-m", "pip", *words, "--disable-pip-version-check"], capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip

    reached = pip("download", "--no-deps", "--dest", str(tmp_path / "one"), "torchattacks")
    if reached.returncode:
        pytest.skip(f"no package registry: {reached.stderr.strip().splitlines()[-1]}")
    done = pip("install", "--quiet", "torchattacks", "foolbox")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [python, "-W", "ignore", "-c", five_lines(run, results)], cwd=tmp_path,
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    clean, *theirs, n = json.loads(done.stdout.splitlines()[-1])
    training = Record.read(run / "train.json").training
    ours = round(training.pgd10.accuracy * n / 100)
    print(f"of {n}: clean {clean}, PGD-10 {ours}, torchattacks {theirs[0]}, foolbox {theirs[1]}")
    assert clean == round(training.clean.accuracy * n / 100)
    assert ours < clean - 20, "the attack must have something to find"
    for right in theirs:
        assert abs(right - ours) <= 6, "random starts turn a few images"


def test_no_library_of_others_is_in_the_lock():
    lock = (ROOT / "requirements/lock.txt").read_text()
    assert not re.search(r"^(torchattacks|foolbox)", lock, re.MULTILINE)
    assert sys.modules.keys().isdisjoint({"torchattacks", "foolbox"})
