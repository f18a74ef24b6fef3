"""A recorded run is made again, and each difference from its record is named."""

import dataclasses
import json
import shutil
import tempfile

import pytest
import torch

import evaluation.autoattack
from bench import data
from bench.runs import catalogue
from bench.runs.record import Attack, Record, Score
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import running
from bench.tools import reproduce
from evaluation.autoattack import ATTACKS
from evaluation.binomial import wilson
from evaluation.clean import correct
from evaluation.progress import pack, unpack

IMAGES = 48  # to test on, and attacked
CUT = {"methods": ["fgsm"], "seeds": [0, 1], "eps": [16], "width": 8, "train_images": 1024}


def quick(net, x, y, *, seed, batch, **rest):
    """Stand in for AutoAttack, which takes 20 s on any number of images: brighten them."""
    stands, masks = torch.ones(len(y), dtype=torch.bool), {}
    for i, name in enumerate(("clean", *ATTACKS)):
        stands &= correct(net, (x + 0.1 * i).clamp(0, 1), y)
        masks[name] = pack(stands)
    after = {key: 100 * unpack(mask, len(y)).double().mean().item() for key, mask in masks.items()}
    return Attack(
        version="standard", library="quick", seed=seed, batch=batch, n=len(y),
        accuracy=after["square"], after=after, robust=masks, attack_seconds=torch.rand(()).item(),
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation.autoattack, "autoattack", quick)
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


def recorded(run, folder, data_dir):
    """Train a run and attack it; returns the folder."""
    words = ["--config", json.dumps(run.as_dict()), "--out", str(folder)]
    words += ["--data-dir", str(data_dir), "--device", "cpu", "--strict"]
    running.main("train", [*words, "--test-images", str(IMAGES), "--probe-images", "8"])
    running.main("attack", [*words, "--images", str(IMAGES), "--batch", "7", "--seed", "3"])
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, data_dir):
    """Two runs of the smoke suite that differ in their seed; by seed."""
    suite = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml")
    folders = {}
    for run in expand(parse_suite(suite | CUT)):
        held_out = run.protocol | {"name": "held-out", "validation": 64}
        run = dataclasses.replace(run, protocol=held_out)
        folders[run.seed] = recorded(run, tmp_path_factory.mktemp("run"), data_dir)
    return folders


@pytest.fixture
def published(made, tmp_path):
    """A run's records without weights, to change."""
    for stage in reproduce.STAGES:
        (tmp_path / "published").mkdir(exist_ok=True)
        shutil.copy(made[0] / f"{stage}.json", tmp_path / "published")
    return tmp_path / "published"


def test_what_lies_in_a_records_place_and_is_none_cannot_be_judged(published, again):
    path = published / "autoattack.json"
    path.unlink()
    path.mkdir()
    code, said = again()
    assert code == 2
    assert "Is a directory" in said
    path.rmdir()
    path.symlink_to("nowhere")
    code, said = again()
    assert code == 2
    assert "No such file" in said


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def again(published, temporary, data_dir, capsys):
    """Run the program; returns its exit code, and its errors or output."""

    def program(*words, run=published):
        with pytest.raises(SystemExit) as caught:
            reproduce.main([str(run), "--data-dir", str(data_dir), *words])
        output = capsys.readouterr()
        return caught.value.code, output.err if caught.value.code == 2 else output.out

    return program


def rewrite(run, stage, change):
    """Change a record and write it back."""
    change(Record.read(run / f"{stage}.json")).write(run)


def forge(run, stage, **changes):
    """Change what a stage found."""
    body = {"train": "training", "autoattack": "attack"}[stage]
    rewrite(run, stage, lambda record: dataclasses.replace(
        record, **{body: dataclasses.replace(getattr(record, body), **changes)}
    ))  # fmt: skip


def forge_masks(run, masks):
    """Change an attack's verdicts, {name: (n,) bool}, and the accuracies with them."""
    after = {name: 100 * mask.double().mean().item() for name, mask in masks.items()}
    robust = {name: pack(mask) for name, mask in masks.items()}
    forge(run, "autoattack", robust=robust, after=after, accuracy=after["square"])


def forge_config(run, stages=reproduce.STAGES, **changes):
    """Change the configuration of records, and the run's id with it."""

    def changed(record):
        config = dataclasses.replace(record.config, **changes)
        return dataclasses.replace(record, config=config, run=config.run_id)

    for stage in stages:
        rewrite(run, stage, changed)


def forge_origin(run, stage, **changes):
    rewrite(run, stage, lambda record: dataclasses.replace(
        record, origin=dataclasses.replace(record.origin, **changes)
    ))  # fmt: skip


def moved(accuracy, points):
    """Move an accuracy towards the middle."""
    return accuracy + points if accuracy < 50 else accuracy - points


def test_an_honest_run_is_equal_to_the_last_bit_and_leaves_nothing(again, temporary):
    code, output = again()
    assert code == 0
    train_line, attack_line, verdict = output.splitlines()
    assert train_line.startswith("train: equal to the last bit (2 epochs, clean ")
    assert f"of {IMAGES}, PGD-10 " in train_line
    assert attack_line.startswith("autoattack: equal to the last bit (AutoAttack ")
    assert verdict == "reproduced"
    assert list(temporary.iterdir()) == []


def test_training_alone_can_be_made_again(again, published):
    (published / "autoattack.json").unlink()
    code, output = again()
    assert (code, output.count("equal to the last bit")) == (0, 1)


@pytest.mark.parametrize(
    ("title", "field"), [("clean", "clean"), ("FGSM", "fgsm"), ("PGD-10", "pgd10")]
)
@pytest.mark.parametrize(("points", "code", "place"), [(40, 1, "outside"), (4, 0, "within")])
def test_a_moved_accuracy_is_judged_by_its_interval_and_named(
    again, published, temporary, title, field, points, code, place
):
    score = getattr(Record.read(published / "train.json").training, field)
    forged = moved(score.accuracy, points)
    forge(published, "train", **{field: Score(accuracy=forged, n=IMAGES)})
    found, output = again()
    assert found == code
    assert f"; {title} {forged:.2f} recorded, {score.accuracy:.2f} now: {place}" in output
    assert output.count(" in both") == 3
    assert output.splitlines()[-1] == ("not reproduced" if code else "reproduced")
    (kept,) = temporary.iterdir()
    assert f"what was made is in {kept}" in output
    assert (kept / "train.json").is_file()


def test_the_best_epoch_is_judged_by_pgd10(again, published):
    best = Record.read(published / "train.json").training.best
    forged = Score(accuracy=moved(best.pgd10.accuracy, 40), n=IMAGES)
    forge(published, "train", best=dataclasses.replace(best, pgd10=forged))
    code, output = again()
    assert code == 1
    assert (
        f"best PGD-10 {forged.accuracy:.2f} recorded, {best.pgd10.accuracy:.2f} now: out" in output
    )


def test_a_best_epoch_that_is_missing_is_no_reproduction(again, published):
    forge(published, "train", best=None)
    code, output = again()
    assert (code, "best PGD-10 is only in the new run" in output) == (1, True)


@pytest.mark.parametrize(("points", "code", "place"), [(40, 1, "outside"), (4, 0, "within")])
def test_a_moved_headline_is_judged_by_its_interval(again, published, points, code, place):
    accuracy = Record.read(published / "autoattack.json").attack.accuracy
    standing = round(moved(accuracy, points) * IMAGES / 100)
    forge_masks(published, dict.fromkeys(("clean", *ATTACKS), torch.arange(IMAGES) < standing))
    found, output = again()
    assert found == code
    forged = 100 * standing / IMAGES
    assert f"AutoAttack {forged:.2f} recorded, {accuracy:.2f} now: {place}" in output
    assert "train: equal to the last bit" in output


def test_curves_of_another_seed_differ_from_the_first_epoch(again, published, made):
    curves, mine = (Record.read(made[seed] / "train.json").training.curves for seed in (1, 0))
    forge(published, "train", curves=curves, clean=Score(accuracy=50.0, n=IMAGES))
    output = again()[1]
    values = f"(loss {curves[0].loss:.9g} recorded, {mine[0].loss:.9g} now)"
    assert output.startswith(f"train: first differs in epoch 1 {values}; clean ")


def test_the_smallest_difference_in_a_later_epoch_is_found_and_seen(again, published):
    first, last = Record.read(published / "train.json").training.curves
    forged = dataclasses.replace(last, loss=last.loss * (1 + 2e-7))  # a float32's last digits
    forge(published, "train", curves=[first, forged])
    output = again()[1]
    assert output.startswith("train: first differs in epoch 2 (loss ")
    old, _, new = output.partition("(loss ")[2].split()[:3]
    assert old != new


def test_verdicts_that_differ_are_counted(again, published):
    robust = Record.read(published / "autoattack.json").attack.robust
    masks = {name: unpack(mask, IMAGES) for name, mask in robust.items()}
    fallen = masks["apgd-t"].nonzero()[:2]
    for name in ATTACKS[1:]:
        masks[name][fallen] = False
    forge_masks(published, masks)
    code, output = again()
    assert code == 0
    assert "autoattack: first differs after apgd-t (on 2 images); AutoAttack " in output


def test_another_judgement_of_collapse_is_no_reproduction(again, published):
    verdict = Record.read(published / "train.json").training.verdict
    onset = None if verdict.collapsed else 1
    other = dataclasses.replace(verdict, collapsed=not verdict.collapsed, onset_epoch=onset)
    forge(published, "train", verdict=other)
    code, output = again()
    assert code == 1
    assert "; collapse is judged otherwise; clean " in output


def test_only_differing_provenance_is_reported(again, published):
    forge_origin(published, "train", torch="1.0", bench_code="abc")
    now = Record.read(published / "autoattack.json").origin.torch
    line = again()[1].splitlines()[1]
    assert line.startswith(f"  made otherwise: torch 1.0 recorded, {now} now; bench code abc ")
    assert line.count(" recorded, ") == 2


def test_time_and_memory_are_no_results(again, published):
    forge(published, "train", train_seconds=1e6, peak_bytes=1, state_bytes=9)
    forge(published, "train", resumed=3, segments=[])
    assert "train: equal to the last bit" in again()[1]


@pytest.fixture
def asked(monkeypatch):
    """Tasks and places that stages are called with; no stage runs."""
    calls = []

    def execute(task, place):
        calls.append((task, place))
        raise ValueError("called")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(reproduce, "execute", execute)
    return calls


def test_a_run_is_made_again_with_its_recorded_options_unless_flags_say_otherwise(
    again, published, asked
):
    forge_origin(published, "train", threads=3)
    assert again()[1].endswith(": called\n")
    forge_origin(published, "train", device="NVIDIA H200")
    forge(published, "train", engine="captured")
    again()
    again("--device", "cpu", "--engine", "eager", "--threads", "2")
    assert [(place.device, place.threads, task.options.engine) for task, place in asked] == [
        ("cpu", 3, "eager"), ("cuda", 3, "captured"), ("cpu", 2, "eager"),
    ]  # fmt: skip
    options = [(task.options.test_images, task.options.probe_images) for task, _ in asked]
    assert options == [(IMAGES, 8)] * 3


def test_an_attack_is_made_again_with_its_recorded_options(again, published, monkeypatch):
    asked, execute = [], reproduce.execute
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(
        reproduce, "execute", lambda task, place: asked.append(task) or execute(task, place)
    )
    forge(published, "autoattack", mode="fast")
    again()
    options = asked[-1].options
    assert (options.images, options.batch, options.seed, options.mode) == (IMAGES, 7, 3, "fast")


def test_a_named_folder_is_kept_and_never_reused(again, published, tmp_path):
    code, output = again("--into", str(tmp_path / "mine"))
    assert code == 0
    assert f"what was made is in {tmp_path / 'mine'}" in output
    assert (tmp_path / "mine/model.safetensors").is_file()
    for folder in (tmp_path / "mine", published):
        code, output = again("--into", str(folder))
        assert (code, "has records already; name a new folder" in output) == (2, True)


def no_record(run):
    (run / "train.json").unlink()


def failed(run):
    rewrite(run, "train", lambda r: dataclasses.replace(
        r, status="failed", reason="KeyError: 'd'", training=None
    ))  # fmt: skip


def failed_attack(run):
    rewrite(run, "autoattack", lambda r: dataclasses.replace(
        r, status="oom", reason="memory is full", attack=None
    ))  # fmt: skip


def other_data(run):
    rewrite(run, "train", lambda r: dataclasses.replace(
        r, data=dataclasses.replace(r.data, checksum="0123456789abcdef" * 4, official=False)
    ))  # fmt: skip


def other_data_attacked(run):
    rewrite(run, "autoattack", lambda r: dataclasses.replace(
        r, data=dataclasses.replace(r.data, checksum="f" * 64)
    ))  # fmt: skip


def gone_method(run):
    forge_config(run, method="vanished")
    forge_origin(run, "train", commit="c0ffee")


def two_configurations(run):
    forge_config(run, ["autoattack"], seed=1)


def no_json(run):
    (run / "train.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_record, "there is no trained run "),
        (no_json, "train.json is no valid record: record: Invalid JSON"),
        (failed, "train is failed in the record: KeyError: 'd'; only a run that is done has"),
        (failed_attack, "autoattack is oom in the record: memory is full; only a run that is done"),
        (other_data, "train saw digits with checksum 0123456789ab (not official), in "),
        (other_data, "it is 74d6251a2a78 (official); name a folder"),
        (other_data_attacked, "autoattack saw digits with checksum ffffffffffff (official), in "),
        (gone_method, "unknown method 'vanished': choose from aaer, "),
        (gone_method, "; the record is of commit c0ffee, check that out"),
        (two_configurations, "its records are of two configurations"),
    ],
)
def test_a_run_that_cannot_be_judged_is_refused_before_any_work(
    again, published, temporary, change, reason
):
    change(published)
    code, output = again()
    assert code == 2
    assert output.startswith(f"cannot judge {published}: ")
    assert reason in output
    assert list(temporary.iterdir()) == []


def test_missing_data_cannot_be_judged_and_the_command_for_them_is_named(again, tmp_path):
    code, output = again("--data-dir", str(tmp_path))
    assert (code, "run: python -m bench data digits" in output) == (2, True)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("diverged", 1, "train: done in the record, diverged now: loss is nan\n"),
        ("oom", 2, "train is oom here: loss is nan; see "),
    ],
)
def test_a_diverged_training_is_judged_and_one_out_of_memory_is_not(
    again, published, temporary, monkeypatch, status, code, message
):
    def execute(task, place):
        record = Record.read(published / "train.json")
        return dataclasses.replace(record, status=status, reason="loss is nan", training=None)

    monkeypatch.setattr(reproduce, "execute", execute)
    found, output = again()
    assert found == code
    assert message in output
    assert len(list(temporary.iterdir())) == 1


@pytest.mark.parametrize(("share", "n"), [(0.5, 100), (0.0, 10), (1.0, 48), (0.4889, 360)])
def test_the_confidence_interval_is_the_pages(share, n):
    found = reproduce.confidence_interval(Score(accuracy=100 * share, n=n))
    assert found == pytest.approx(wilson(share, n))


def test_a_run_in_l2_is_made_again_in_l2(data_dir, tmp_path, again):
    suite = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml")
    given = {"methods": ["sora"], "seeds": [0], "norms": ["L2"], "eps_l2": [0.5]}
    (run,) = expand(parse_suite(suite | CUT | given))
    code, said = again(run=recorded(run, tmp_path / "l2", data_dir))
    assert (code, said.splitlines()[-1]) == (0, "reproduced")
    assert said.count("equal to the last bit") == 2
