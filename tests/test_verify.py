"""A submitted run is attacked again: an honest one is accepted, a forged one rejected."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
from made_up import expense

import evaluation.autoattack
from bench import data
from bench.ops import ce, pgd
from bench.runs import catalogue
from bench.runs.protocol import Protocol
from bench.runs.record import Attack, Averaged, Record, Score
from bench.runs.stage import stage
from bench.stages import running, setup
from bench.stages.job import Job
from bench.stages.train import scores
from bench.tools import verify
from evaluation.autoattack import ATTACKS
from evaluation.clean import correct
from evaluation.progress import pack, unpack

IMAGES, SLICE = 64, 24  # attacked, and attacked again
REAL = evaluation.autoattack.autoattack
BRIEF = Protocol(name="brief", epochs=8, batch=64, lr_start=0.01, lr_peak=0.3)


def quick(net, x, y, *, threat, seed, batch, **rest):
    """Stand in for AutoAttack, whose 5,000 queries take 20 s on any number of images: PGD."""
    clean = correct(net, x, y)
    d, _ = pgd(ce(net, y), x, torch.zeros_like(x), threat=threat, alpha=0.25, steps=20)
    stands = clean & correct(net, x + d, y)
    masks = {"clean": pack(clean)} | dict.fromkeys(ATTACKS, pack(stands))
    after = {key: 100 * unpack(mask, len(y)).double().mean().item() for key, mask in masks.items()}
    return Attack(
        version="standard", library="quick", seed=seed, batch=batch, n=len(y),
        accuracy=after["square"], after=after, robust=masks, attack_seconds=0.0,
    )  # fmt: skip


def do(program, folder, data_dir, method, *words, **changes):
    """Do a stage of a run, a small network on digits, through its program."""
    given = {
        "dataset": "digits", "architecture": "small_cnn", "width": 8, "method": method,
        "eps": "26/255", "protocol": BRIEF.as_dict(), **changes,
    }  # fmt: skip
    words = ("--config", json.dumps(given), "--out", str(folder), "--data-dir", str(data_dir),
             "--device", "cpu", "--strict", *words)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["program", *words])
        running.main(program)


def make(folder, data_dir, method, **changes):
    """Train and attack."""
    do("train", folder, data_dir, method, "--probe-images", "8", **changes)
    do("attack", folder, data_dir, method, "--images", str(IMAGES), **changes)
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation.autoattack, "autoattack", quick)
        patch.setattr(verify, "autoattack", quick)
        yield


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, data_dir):
    return make(tmp_path_factory.mktemp("run") / "fgsm", data_dir, "fgsm")


@pytest.fixture(scope="module")
def other(tmp_path_factory, data_dir):
    return make(tmp_path_factory.mktemp("run") / "standard", data_dir, "standard")


@pytest.fixture
def run(submitted, tmp_path):
    """A copy to forge."""
    return shutil.copytree(submitted, tmp_path / "run")


def failed(run, data_dir):
    checks = verify.verify(run, data_dir=data_dir, images=SLICE, device="cpu")
    return [check.claim for check in checks if not check.holds]


def rewrite(run, stage, change):
    """Change a record and write it back."""
    record = Record.read(run / f"{stage}.json")
    change(record).write(run)


def forge_attack(run, **changes):
    rewrite(run, "autoattack", lambda record: dataclasses.replace(
        record, attack=dataclasses.replace(record.attack, **changes)
    ))  # fmt: skip


def forge_training(run, **changes):
    rewrite(run, "train", lambda record: dataclasses.replace(
        record, training=dataclasses.replace(record.training, **changes)
    ))  # fmt: skip


def masks_of(n, verdicts):
    """An attack's numbers for the same verdicts after every attack; all of them agree."""
    mask, share = pack(verdicts), 100 * verdicts.double().mean().item()
    stages = ("clean", *ATTACKS)
    return {
        "n": n, "accuracy": share,
        "after": dict.fromkeys(stages, share), "robust": dict.fromkeys(stages, mask),
    }  # fmt: skip


def forge_config(run, **changes):
    """Change the configuration of both records, and the run id with it."""
    for name in ("train", "autoattack"):

        def change(record):
            changed = dataclasses.replace(record.config, **changes)
            return dataclasses.replace(record, config=changed, run=changed.run_id)

        rewrite(run, name, change)


def test_an_honest_run_is_accepted(submitted, data_dir):
    found = Record.read(submitted / "autoattack.json").attack.accuracy
    assert 10 < found < 90, "the toy must have something to lose"
    checks = verify.verify(submitted, data_dir=data_dir, images=SLICE, device="cpu")
    assert [check.claim for check in checks if not check.holds] == []
    assert len(checks) == 13


def test_all_ones_are_rejected(run, data_dir):
    clean = unpack(Record.read(run / "autoattack.json").attack.robust["clean"], IMAGES)
    forge_attack(run, **masks_of(IMAGES, clean))
    assert failed(run, data_dir) == [
        "images recorded as robust stand", "the accuracy is the recorded one",
    ]  # fmt: skip


def test_weights_of_another_run_are_rejected(run, other, data_dir):
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    assert failed(run, data_dir) == ["the weights are the recorded ones"]
    forge_training(run, weights={})  # as records were before
    assert failed(run, data_dir) == ["the weights give the recorded clean verdicts"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("model.safetensors", "holds other weights than"), ("train.json", "is no valid record")],
)
def test_who_judges_is_not_told_to_remove_what_was_submitted(run, other, data_dir, name, said):
    if name == "train.json":
        (run / name).write_text("x")
    else:
        shutil.copy(other / name, run)
    checks = verify.verify(run, data_dir=data_dir, images=SLICE, device="cpu")
    (found,) = [check.found for check in checks if said in check.found]
    assert "remove" not in found


def test_an_attack_on_other_weights_is_rejected(run, data_dir):
    forge_attack(run, digest="0" * 64)
    assert failed(run, data_dir) == ["the attack was of the trained weights"]


def test_weights_that_agree_on_clean_images_alone_are_rejected(run, other, data_dir):
    """The record is forged to match the clean verdicts of the other weights."""
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    mine, theirs = (Record.read(path / "autoattack.json").attack for path in (run, other))
    right = {key: unpack(mask, IMAGES) for key, mask in mine.robust.items()}
    right["clean"] = unpack(theirs.robust["clean"], IMAGES)
    for key in ATTACKS:
        right[key] &= right["clean"]
    after = {key: 100 * mask.double().mean().item() for key, mask in right.items()}
    forge_attack(
        run, robust={key: pack(mask) for key, mask in right.items()}, after=after,
        accuracy=after["square"], digest=None,
    )  # fmt: skip
    shutil.copy(other / "train.json", run / "train.json")
    rewrite(run, "train", lambda r: dataclasses.replace(
        r, config=Record.read(run / "autoattack.json").config,
        run=Record.read(run / "autoattack.json").run,
    ))  # fmt: skip
    assert "images recorded as robust stand" in failed(run, data_dir)


def test_a_larger_radius_than_the_attack_had_is_rejected(run, data_dir):
    forge_config(run, eps="77/255")
    assert failed(run, data_dir) == ["the weights give the recorded accuracies"]
    job = Job(stage("autoattack"), Record.read(run / "train.json").config,
              stage("autoattack").defaults, run, data_dir, torch.device("cpu"), print)  # fmt: skip
    net, (x, y) = setup.trained(job).net, setup.test_images(job, setup.data(job)[0], None)
    forge_training(run, **scores(net, x, y, threat=job.threat))
    assert "images recorded as robust stand" in failed(run, data_dir)


@pytest.mark.parametrize("kind", ["clean", "fgsm", "pgd10"])
@pytest.mark.parametrize("more", [-1, 1])
def test_an_edited_accuracy_of_training_is_rejected(run, data_dir, kind, more):
    """3 of 360 images may differ by device."""
    (right,) = (round(getattr(Record.read(run / "train.json").training, kind).accuracy * 3.6),)
    for images, claims in ((3, []), (4, ["the weights give the recorded accuracies"])):
        forge_training(run, **{kind: Score(accuracy=(right + more * images) / 3.6, n=360)})
        assert failed(run, data_dir) == claims


def test_accuracies_of_more_images_than_there_are_are_rejected(run, data_dir):
    training = Record.read(run / "train.json").training
    forge_training(run, **{kind: Score(accuracy=getattr(training, kind).accuracy, n=361)
                           for kind in ("clean", "fgsm", "pgd10")})  # fmt: skip
    assert failed(run, data_dir) == ["n is a number of test images"]


def test_the_averaged_weights_are_judged_where_they_are_there(run, data_dir):
    """Here they are the last ones, under another name."""
    training = Record.read(run / "train.json").training
    own = {kind: getattr(training, kind) for kind in ("clean", "fgsm", "pgd10")}
    weights = training.weights | {"average": training.weights["last"]}
    forge_training(run, weights=weights, average=Averaged(**own))
    (told, *_) = verify.unchecked(run, verify.read_records(run))
    assert told.endswith("memory, accuracies of average.safetensors")
    shutil.copy(run / "model.safetensors", run / "average.safetensors")
    assert failed(run, data_dir) == []
    (told, *_) = verify.unchecked(run, verify.read_records(run))
    assert told.endswith("memory")
    forge_training(run, average=Averaged(**own | {"pgd10": Score(accuracy=99.0, n=360)}))
    assert failed(run, data_dir) == ["the weights give the recorded accuracies"]
    (run / "average.safetensors").write_bytes(b"no weights")
    assert failed(run, data_dir) == ["the weights give the recorded accuracies"]


def test_a_cost_is_read_and_said_to_be_unchecked(run, data_dir):
    mine = Record.read(run / "train.json")
    cost = dataclasses.replace(mine, stage="cost", training=None, expense=expense(1.5))
    cost.write(run)
    assert failed(run, data_dir) == []
    assert "cost.json: all its numbers" in verify.unchecked(run, verify.read_records(run))
    config = dataclasses.replace(mine.config, seed=1)
    dataclasses.replace(cost, config=config, run=config.run_id).write(run)
    assert failed(run, data_dir) == ["all records are of one run"]
    (run / "cost.json").write_text("{")
    assert failed(run, data_dir) == ["all records can be read"]


def test_a_training_on_other_pictures_than_were_attacked_is_rejected(run, data_dir):
    rewrite(run, "train", lambda record: dataclasses.replace(
        record, data=dataclasses.replace(record.data, checksum="0" * 64)
    ))  # fmt: skip
    assert failed(run, data_dir) == ["the pictures are ours"]


def test_a_radius_changed_in_one_record_is_rejected(run, data_dir):
    rewrite(run, "autoattack", lambda record: dataclasses.replace(
        record, config=dataclasses.replace(record.config, eps="77/255")
    ))  # fmt: skip
    assert failed(run, data_dir) == ["all records can be read"]


@pytest.mark.parametrize("n", [IMAGES - 1, IMAGES + 1, 0, -4, 10**9])
def test_a_number_of_images_that_the_masks_do_not_have_is_rejected(run, data_dir, n):
    forge_attack(run, n=n)
    assert failed(run, data_dir)


def test_more_images_than_there_are_are_rejected(run, data_dir):
    forge_attack(run, **masks_of(361, torch.ones(361, dtype=torch.bool)))
    assert failed(run, data_dir) == ["n is a number of test images"]


def test_verdicts_behind_the_last_image_are_rejected(run, data_dir):
    forge_attack(run, **(masks_of(64, torch.ones(64, dtype=torch.bool)) | {"n": 63}))
    assert failed(run, data_dir) == ["all records can be read"]


def test_a_clean_accuracy_that_its_mask_cannot_have_is_rejected(run, data_dir):
    forge_training(run, clean=Score(accuracy=5.0, n=360))
    assert failed(run, data_dir) == ["clean accuracy fits its mask"]


def test_images_that_were_never_attacked_are_found(run, data_dir):
    mine = unpack(Record.read(run / "autoattack.json").attack.robust["square"], IMAGES)
    more = torch.cat([mine, torch.ones(200, dtype=torch.bool)])
    forge_attack(run, **masks_of(len(more), more))
    assert failed(run, data_dir)


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"accuracy": 99.0}, "all records can be read"),
        ({"after": {}}, "all records can be read"),
        ({"robust": {"clean": "f"}}, "all records can be read"),
        ({"version": "custom"}, "the attack is AutoAttack standard"),
    ],
)
def test_a_record_that_contradicts_itself_is_rejected(run, data_dir, changes, claim):
    forge_attack(run, **changes)
    assert failed(run, data_dir) == [claim]


def test_other_pictures_are_rejected(run, data_dir):
    rewrite(run, "autoattack", lambda record: dataclasses.replace(
        record, data=dataclasses.replace(record.data, checksum="0" * 64)
    ))  # fmt: skip
    assert failed(run, data_dir) == ["the pictures are ours"]


def test_an_unknown_network_is_rejected_before_it_is_imported(run, data_dir):
    forge_config(run, architecture="..evil")
    assert failed(run, data_dir) == ["network and data set are known here"]


def test_a_broken_image_that_stands_again_is_rejected(run, data_dir):
    mine = Record.read(run / "autoattack.json").attack
    forge_attack(run, robust=mine.robust | {"apgd-ce": "0" * (IMAGES // 4)})
    assert failed(run, data_dir) == ["all records can be read"]


def test_broken_files_are_rejected(run, data_dir):
    (run / "model.safetensors").write_bytes(b"no weights")
    assert failed(run, data_dir) == ["the weights are the recorded ones"]
    (run / "train.json").write_text("{")
    assert failed(run, data_dir) == ["all records can be read"]


def test_a_few_images_that_fall_to_other_draws_are_no_forgery(run, data_dir):
    """Two of the slice are recorded as robust that fall now; with eight it is another matter."""
    mine = Record.read(run / "autoattack.json").attack
    clean, stands = (unpack(mine.robust[key], IMAGES) for key in ("clean", "square"))
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(0))[:SLICE]
    broken = [row for row in order.tolist() if clean[row] and not stands[row]]
    for more, accepted in ((2, True), (8, False)):
        forged = stands.clone()
        forged[broken[:more]] = True
        masks = {"clean": mine.robust["clean"]} | dict.fromkeys(ATTACKS, pack(forged))
        after = {k: 100 * unpack(m, IMAGES).double().mean().item() for k, m in masks.items()}
        forge_attack(run, robust=masks, after=after, accuracy=after["square"])
        assert ("images recorded as robust stand" not in failed(run, data_dir)) is accepted


@pytest.mark.parametrize(
    ("k", "n", "p", "expected"),
    [(0, 2, 0.5, 0.25), (1, 2, 0.5, 0.75), (2, 2, 0.5, 1.0), (3, 4, 1.0, 0.0), (0, 4, 0.0, 1.0)],
)
def test_the_binomial_cdf_is_exact(k, n, p, expected):
    assert verify.binomial_cdf(k, n, p) == pytest.approx(expected)


def test_the_program_attacks_again_gives_reasons_and_exits_accordingly(
    run, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation.autoattack, "autoattack", REAL)
    (run / "autoattack.json").unlink()
    do("attack", run, data_dir, "fgsm", "--images", "8")

    def program(where):
        return subprocess.run(
            [sys.executable, "-m", "bench", "verify", str(run), "--data-dir", str(where),
             "--device", "cpu"],
            cwd=catalogue.ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = program(data_dir)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "accepted"), done.stdout
    nowhere = program(tmp_path)
    assert nowhere.returncode == 2
    assert "python -m bench data digits" in nowhere.stderr
    forge_attack(run, accuracy=99.0)
    done = program(data_dir)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "rejected")
    assert "FAIL  all records can be read" in done.stdout
    assert "beside it stands 99.0" in done.stdout


def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(submitted, data_dir, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--device cuda, but torch finds no GPU"):
        verify.verify(submitted, data_dir=data_dir, device="cuda")


@pytest.mark.parametrize("lost", ["train.json", "autoattack.json", "model.safetensors"])
def test_a_run_without_a_file_cannot_be_judged(tmp_path, lost):
    for other in {"train.json", "autoattack.json", "model.safetensors"} - {lost}:
        (tmp_path / other).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"there is no .*{lost}; ask who submitted"):
        verify.verify(tmp_path, data_dir=tmp_path)


def test_a_run_in_l2_is_attacked_again_in_l2(data_dir, tmp_path):
    run = make(tmp_path / "l2", data_dir, "fgsm", norm="L2", eps="0.5")
    assert 0 < Record.read(run / "autoattack.json").attack.accuracy < 100
    assert failed(run, data_dir) == []
    forge_config(run, norm="Linf", eps="127.5/255")
    assert failed(run, data_dir)
