"""Rows of RobustBench are read, networks are exported, and its own package evaluates them."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys

import pytest
import torch
from projects import HANGS

from bench import data
from bench.runs import catalogue
from bench.runs.protocol import Protocol
from bench.runs.record import Attack, Record
from bench.stages import running
from bench.tools.robustbench import adapt, export
from report import outside
from report.outside import Outside, copy, read

WONG = {
    "link": "https://arxiv.org/abs/2001.03994", "name": "Fast is better than free",
    "authors": "Eric Wong, Leslie Rice, J. Zico Kolter", "additional_data": False,
    "number_forward_passes": 1, "dataset": "cifar10", "venue": "ICLR 2020",
    "architecture": "ResNet-18", "eps": "8/255", "clean_acc": "83.34", "reported": "46.06",
    "autoattack_acc": "43.21",
}  # fmt: skip


def put(folder, name="Wong2020Fast", norm="Linf", dataset="cifar10", text=None, **changes):
    path = folder / dataset / norm / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(WONG | changes) if text is None else text)
    return path


# in


def test_a_row_of_robustbench_is_read_with_its_numbers(tmp_path):
    put(tmp_path)
    assert read(tmp_path) == [Outside(
        name="Wong2020Fast", dataset="cifar10", architecture="ResNet-18", norm="Linf", eps="8/255",
        clean=83.34, autoattack=43.21, venue="ICLR 2020", footnote="",
        source="Fast is better than free https://arxiv.org/abs/2001.03994",
    )]  # fmt: skip


def test_optional_keys_may_be_missing_or_extra(tmp_path):
    put(tmp_path, autoattack_acc=None, eps="0.031", link="", footnote="A note.", unreliable=True,
        additional_data=True, external="44.0")  # fmt: skip
    (row,) = read(tmp_path)
    assert (row.autoattack, row.eps, row.source) == (None, "0.031", WONG["name"])
    assert row.footnote == (
        "A note. RobustBench marks this evaluation as potentially unreliable. "
        "Trained on additional data."
    )
    put(tmp_path, autoattack_acc=43.21)
    assert read(tmp_path)[0].autoattack == 43.21


def test_other_threat_models_and_their_tables_are_passed_over(tmp_path):
    put(tmp_path)
    put(tmp_path, norm="L2", eps="0.5")
    put(tmp_path, norm="corruptions", text="{}")
    assert [row.norm for row in read(tmp_path)] == ["L2", "Linf"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "{"}, "no JSON ("),
        ({"text": "[]"}, "no JSON object"),
        ({"text": '"\\ud800'}, "no JSON ("),
        ({"architecture": None}, "lacks architecture"),
        ({"dataset": "cifar10", "eps": ""}, "lacks eps"),
        ({"clean_acc": "high"}, "clean_acc is 'high', not a percentage"),
        ({"autoattack_acc": "104"}, "autoattack_acc is '104', not a percentage"),
        ({"autoattack_acc": "nan"}, "autoattack_acc is 'nan', not a percentage"),
        ({"eps": "8/0"}, "eps is '8/0', not a radius"),
        ({"eps": "eight"}, "eps is 'eight', not a radius"),
        ({"venue": ["ICLR"]}, "venue is ['ICLR'], not text"),
    ],
    ids=str,
)
def test_a_bad_file_is_named_with_its_fault(tmp_path, changes, message):
    path = put(tmp_path, **changes)
    with pytest.raises(ValueError, match="no model_info") as caught:
        read(tmp_path)
    assert f"{path}: {message}" in str(caught.value)


def test_a_file_in_the_wrong_folder_is_named(tmp_path):
    path = put(tmp_path)
    path.parent.parent.rename(tmp_path / "cifar100")
    with pytest.raises(ValueError, match="its data set is 'cifar10', its folder's 'cifar100'"):
        read(tmp_path)


def test_all_bad_files_are_named_at_once_and_nothing_is_copied(tmp_path):
    put(tmp_path / "in")
    put(tmp_path / "in", "A", text="{")
    put(tmp_path / "in", "B", eps="0")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # both names are looked for
        copy(tmp_path / "in", tmp_path / "out")
    assert "A.json" in str(caught.value)
    assert "B.json" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_program_copies_valid_rows(tmp_path, monkeypatch, capsys):
    put(tmp_path / "in")
    words = ["outside", str(tmp_path / "in"), "--into", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    outside.main()
    assert read(tmp_path / "out") == read(tmp_path / "in")
    assert "1 outside row in" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["outside", str(tmp_path / "empty")])
    with pytest.raises(SystemExit, match="holds no <data set>"):
        outside.main()


# out


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small network trained on digits, with a record of an attack on 16 images."""
    folder = tmp_path_factory.mktemp("run")
    data.prepare("digits", folder, lambda line: None)
    protocol = Protocol(name="brief", epochs=8, batch=64, lr_start=0.01, lr_peak=0.3)
    given = {
        "dataset": "digits", "architecture": "small_cnn", "width": 8, "method": "fgsm_rs",
        "eps": "26/255", "protocol": protocol.as_dict(),
    }  # fmt: skip
    words = ["--config", json.dumps(given), "--out", str(folder), "--data-dir", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *words, "--device", "cpu", "--probe-images", "8"])
        running.main("train")
    trained = Record.read(folder / "train.json")
    attack = Attack(
        version="standard", library="x", seed=0, batch=16, n=16, accuracy=43.75,
        after={"clean": 93.75, "square": 43.75}, robust={"clean": "fffe", "square": "fe00"},
        attack_seconds=1.0,
    )  # fmt: skip
    dataclasses.replace(trained, stage="autoattack", training=None, attack=attack).write(folder)
    return folder


@pytest.fixture
def exported(run, tmp_path):
    return tmp_path, export(run, tmp_path, name="Ours")


def imported(folder, name):
    """Import the exported Python file."""
    spec = importlib.util.spec_from_file_location(name, folder / f"models/digits/Linf/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_row_is_in_their_format_and_reads_back(exported):
    folder, name = exported
    raw = json.loads((folder / f"model_info/digits/Linf/{name}.json").read_text())
    assert raw.keys() == {*WONG, "footnote"}
    assert (raw["clean_acc"], raw["autoattack_acc"], raw["eps"]) == ("93.75", "43.75", "26/255")
    assert raw["link"] == "https://arxiv.org/abs/2001.03994"
    assert "first 16 of 360 test images" in raw["footnote"]
    (row,) = read(folder / "model_info")
    assert (row.name, row.dataset, row.clean, row.autoattack) == ("Ours", "digits", 93.75, 43.75)


def test_an_l2_run_is_exported_as_one(run, tmp_path):
    for stage in ("train", "autoattack"):
        record = Record.read(run / f"{stage}.json")
        config = dataclasses.replace(record.config, norm="L2", eps="0.5")
        dataclasses.replace(record, config=config, run=config.run_id).write(tmp_path / "run")
    shutil.copy(run / "model.safetensors", tmp_path / "run")
    name = export(tmp_path / "run", tmp_path / "out")
    (row,) = read(tmp_path / "out/model_info")
    assert (row.norm, row.eps, row.autoattack) == ("L2", "0.5", 43.75)
    assert "[ThreatModel.L2]" in (tmp_path / f"out/models/digits/L2/{name}.py").read_text()


def test_the_exported_network_is_the_trained_one_with_normalisation_inside(exported, run):
    folder, name = exported
    loaded = data.load("digits", run)
    x, y = loaded.images.test_x.float() / 255, loaded.images.test_y
    net = imported(folder, name).load()
    assert not net.training
    right = 100 * (net(x).argmax(1) == y).double().mean().item()
    assert right == Record.read(run / "train.json").training.clean.accuracy
    assert type(net).__module__ == name, "it must not need this project"


def test_a_run_that_is_not_done_is_not_exported(run, tmp_path):
    for path in run.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    record = Record.read(run / "autoattack.json")
    dataclasses.replace(record, status="oom", reason="full", attack=None).write(tmp_path)
    with pytest.raises(
        ValueError, match="autoattack is oom in the record: full; only a run that is"
    ):
        export(tmp_path, tmp_path / "out")
    record.write(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="cannot be read as this run's weights"):
        export(tmp_path, tmp_path / "out")
    (tmp_path / "autoattack.json").unlink()
    with pytest.raises(ValueError, match=r"autoattack\.json; only a run that AutoAttack has"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_runs_export_is_not_replaced(exported, run, tmp_path_factory):
    folder, name = exported
    export(run, folder, name=name)  # the same run again
    weights = folder / f"models/digits/Linf/{name}.pt"
    weights.write_bytes(b"of another")
    info = folder / f"model_info/digits/Linf/{name}.json"
    info.write_text(info.read_text().replace("seed 0", "seed 1"))
    with pytest.raises(ValueError, match=r"Ours\.json is of another run; give another --name, or"):
        export(run, folder, name=name)
    assert weights.read_bytes() == b"of another"


def test_a_name_cannot_leave_the_folder(run, tmp_path):
    with pytest.raises(ValueError, match="no name for files"):
        export(run, tmp_path, name="../up")


def test_text_of_a_record_does_not_become_code(run, tmp_path):
    for path in run.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for stage in ("train", "autoattack"):
        record = Record.read(run / f"{stage}.json")
        config = dataclasses.replace(record.config, method='"""\nraise SystemExit\n"""')
        dataclasses.replace(record, config=config, run=config.run_id).write(tmp_path)
    export(tmp_path, tmp_path / "out", name="Evil")
    imported(tmp_path / "out", "Evil").load()
    for stage in ("train", "autoattack"):
        record = Record.read(run / f"{stage}.json")
        config = dataclasses.replace(record.config, architecture="../x")
        dataclasses.replace(record, config=config, run=config.run_id).write(tmp_path)
    with pytest.raises(ValueError, match="unknown bench/models"):
        export(tmp_path, tmp_path / "out")


# Their package judges the exported network, and ours judges it too. Square asks 5,000 times an
# image and FAB restarts against nine classes; both packages run the same code, here shortened.
JUDGE = """
import json, sys
from pathlib import Path
import torch
import pyautoattack
from bench import data
from bench.threat import Threat
from bench.tools import robustbench as ours
from evaluation.autoattack import autoattack

class Short(pyautoattack.AutoAttack):
    def __init__(self, *args, **rest):
        super().__init__(*args, **rest)
        self.square.n_queries, self.fab.n_iter = 50, 10
pyautoattack.AutoAttack = Short

folder, run = Path(sys.argv[1]), Path(sys.argv[2])
ours.adapt(seed=0)
import robustbench
from robustbench import eval as theirs
from robustbench.model_zoo import model_dicts
from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel

sys.path.insert(0, str(folder / "models/digits/Linf"))
import Ours
(folder / "models/cifar10").symlink_to(folder / "models/digits")
model_dicts[BenchmarkDataset.cifar_10][ThreatModel.Linf]["Ours"] = Ours.ENTRY
net = robustbench.load_model("Ours", model_dir=folder / "models")
images = data.load("digits", run).images
x, y = images.test_x[:16].float() / 255, images.test_y[:16]
theirs.load_clean_dataset = lambda dataset, n, folder, prepare: (x[:n], y[:n])
found = robustbench.benchmark(net, n_examples=16, eps=26 / 255, batch_size=16)
attack = autoattack(
    net.requires_grad_(False), x, y, threat=Threat("Linf", 26 / 255), classes=10, seed=0, batch=16
)
print(json.dumps([[100 * share for share in found], [attack.after["clean"], attack.accuracy]]))
"""


def test_robustbench_loads_and_evaluates_it_as_we_do(exported, run):
    """In a process of its own: it fills sys.modules, and imports half of torchvision and timm."""
    folder, _ = exported
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JUDGE, str(folder), str(run)],
        cwd=catalogue.ROOT, capture_output=True, text=True, check=False, timeout=HANGS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout.splitlines()[-1])
    assert theirs == pytest.approx(ours)
    assert 0 < theirs[1] < theirs[0], "the toy must have something to lose, and something left"


def test_the_adapter_stands_in_for_the_package_that_is_missing(monkeypatch):
    for name in ("autoattack", "autoattack.state"):
        monkeypatch.setitem(sys.modules, name, None)  # so that both are gone afterwards
    adapt()
    from autoattack import AutoAttack
    from autoattack.state import EvaluationState

    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 10))
    made = AutoAttack(net, norm="Linf", eps=0.1, version="standard", device="cpu", log_path="x")
    assert made.inside.attacks_to_run == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert EvaluationState.from_disk
