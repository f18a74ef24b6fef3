"""Running a stage: what becomes a record, what ends the program, and when it is done again."""

import dataclasses
import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import made_up
import pytest
import torch

from bench import data
from bench.runs import catalogue
from bench.runs.files import CannotWriteError
from bench.runs.git import commit
from bench.runs.record import Record
from bench.runs.run import expand
from bench.runs.stage import stage
from bench.runs.suite import parse_suite, read_yaml
from bench.stages import machine, running, setup, train
from bench.stages.faults import MethodError
from bench.stages.job import Job, Refused, Skipped
from bench.steplog import Diverged

PGD = "--evaluation pgd50_10"
SWEEP = "--evaluation eps_sweep"
AS_MADE_UP = ("--test-images", "50", "--probe-images", "10")  # images of made_up.training
RUN = expand(made_up.digits_suite(methods=["fgsm"]))[0]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a stage whose work is a function of the test's; returns its record."""

    def run(work, *words, prepare=lambda job: None):
        monkeypatch.setattr(train, "prepare", prepare)
        monkeypatch.setattr(train, "work", lambda job, ready: (made_up.DATA, work()))
        given = ["--config", json.dumps(RUN.as_dict()), "--out", str(tmp_path / "run"), *words]
        running.main("train", [*given, "--device", "cpu", "--log", str(tmp_path / "log")])
        return Record.read(tmp_path / "run/train.json")

    return run


def test_a_damaged_record_is_moved_aside_and_made_again(execute, tmp_path):
    record = execute(made_up.training, *AS_MADE_UP)
    path = tmp_path / "run/train.json"
    for damage in ("", path.read_text().replace('"accuracy": 90.0', '"accuracy": 150')):
        path.write_text(damage)
        assert execute(made_up.training, *AS_MADE_UP).training == record.training
        assert (tmp_path / "run/train.unreadable").read_text() == damage
        assert "train.json is now train.unreadable, and" in (tmp_path / "log").read_text()


def test_a_record_of_a_newer_version_is_left_alone(execute, tmp_path):
    execute(made_up.training, *AS_MADE_UP)
    path = tmp_path / "run/train.json"
    newer = path.read_text().replace('"schema": 1', '"schema": 2')
    path.write_text(newer)
    with pytest.raises(SystemExit, match="a newer onestep made it"):
        execute(made_up.training, *AS_MADE_UP)
    assert path.read_text() == newer


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Diverged("loss is nan in epoch 3 of 9"), "diverged", "loss is nan in epoch 3 of 9"),
        (torch.OutOfMemoryError("CUDA out of memory.\nmore"), "oom", "CUDA out of memory."),
        (MemoryError(), "oom", "the machine's memory is full"),
        (
            RuntimeError("can't allocate memory: 8 bytes\nmore"),
            "oom",
            "can't allocate memory: 8 bytes",
        ),
        (Refused("ATAS keeps no canvas of these"), "refused", "ATAS keeps no canvas of these"),
        (KeyError("d"), "failed", "KeyError: 'd'"),
        (ValueError("a method's own"), "failed", "ValueError: a method's own"),
        (AssertionError("reach"), "failed", "AssertionError: reach"),
        (SystemExit(0), "failed", "SystemExit: 0"),
        (GeneratorExit(), "failed", "GeneratorExit"),
        (
            FileNotFoundError(2, "No such file"),
            "failed",
            "FileNotFoundError: [Errno 2] No such file",
        ),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt, which no signal had asked for"),
        (RuntimeError("lone \ud800"), "failed", "RuntimeError: lone \\ud800"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_goes_wrong_while_working_is_a_record(execute, tmp_path, error, status, reason):
    record = execute(raising(error))
    assert (record.status, record.reason) == (status, reason)
    assert record.origin.device.startswith("CPU")
    assert reason in (tmp_path / "log").read_text()


def test_strict_fails_after_the_record_is_written(execute, tmp_path):
    with pytest.raises(SystemExit) as caught:
        execute(raising(KeyError("d")), "--strict")
    assert caught.value.code == 1
    assert Record.read(tmp_path / "run/train.json").status == "failed"


@pytest.mark.parametrize("error", [ValueError("no data: get some"), OSError("disk full")])
def test_what_the_user_can_put_right_ends_the_program_without_a_record(execute, tmp_path, error):
    def prepare(job):
        raise error

    with pytest.raises(SystemExit, match=str(error)):
        execute(made_up.training, prepare=prepare)
    assert not (tmp_path / "run/train.json").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.runs import files
files.os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
files.write_bytes(Path(sys.argv[1]), b"half")
"""


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("train.json", True),
        ("model.safetensors", True),
        ("state/update-000000001-0.safetensors", True),
        ("cost.json", False),  # of a stage that may be writing it
    ],
)
def test_what_a_killed_job_left_half_written_is_removed_by_the_next(execute, tmp_path, name, goes):
    path = tmp_path / "run" / name
    subprocess.run([sys.executable, "-c", KILLED, path], cwd=catalogue.ROOT)
    (left,) = path.parent.glob(f".{path.name}.*")
    execute(made_up.training, *AS_MADE_UP)
    assert left.exists() != goes


def test_an_interrupt_is_no_failure(execute, tmp_path):
    def work():
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be off, behind a &
    try:
        with pytest.raises(KeyboardInterrupt):
            execute(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "run/train.json").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; this is the"),
        (CannotWriteError("cannot write to state"), "cannot write to state; this is the machine's"),
        (
            RuntimeError("write failed (os error 5)"),
            "write failed .* this is the machine's failure",
        ),
    ],
    ids=repr,
)
def test_a_failure_of_the_machine_ends_the_program_without_a_record(execute, tmp_path, error, said):
    with pytest.raises(SystemExit, match=said):
        execute(raising(error))
    assert not (tmp_path / "run/train.json").exists()
    record = execute(lambda: made_up.training())  # the same command goes on
    assert record.status == "done"


def test_a_gpu_that_does_not_answer_after_a_failure_is_the_machines(execute, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "answers", lambda device: False)
    with pytest.raises(
        SystemExit, match=r"does not answer any more after RuntimeError: CUDA error"
    ):
        execute(raising(RuntimeError("CUDA error")))
    assert not (tmp_path / "run/train.json").exists()


def test_a_method_that_fails_before_its_first_step_is_a_record(execute):
    def prepare(job):
        raise MethodError from RuntimeError("no room for my state")

    record = execute(made_up.training, prepare=prepare)
    assert (record.status, record.reason) == ("failed", "RuntimeError: no room for my state")


def test_a_stage_that_is_done_is_done_again_with_the_flag_alone(execute):
    ran = []
    execute(lambda: ran.append(1) or made_up.training(), *AS_MADE_UP)
    execute(lambda: ran.append(2) or made_up.training(), *AS_MADE_UP)
    execute(lambda: ran.append(3) or made_up.training(), *AS_MADE_UP, "--again")
    assert ran == [1, 3]


def test_a_failure_a_new_attempt_and_a_forgotten_record_are_done_again(execute, tmp_path):
    ran = []
    execute(raising(KeyError()))
    execute(lambda: ran.append(1) or made_up.training(), *AS_MADE_UP)
    again = execute(lambda: ran.append(2) or made_up.training(), *AS_MADE_UP, "--attempt", "2")
    assert again.attempt == 2
    (tmp_path / "run/train.json").unlink()
    execute(lambda: ran.append(3) or made_up.training(), *AS_MADE_UP, "--attempt", "2")
    assert ran == [1, 2, 3]


def test_a_record_holds_the_options_of_its_stage(execute):
    options = execute(raising(KeyError()), "--probe-images", "4").options
    assert options == {"test_images": None, "probe_images": 4, "engine": "auto",
                       "checkpoint_seconds": 30.0}  # fmt: skip


def test_a_stage_can_say_why_it_was_skipped(execute):
    record = execute(raising(Skipped("training diverged")))
    assert (record.status, record.reason) == ("skipped", "training diverged")


def test_asking_for_a_gpu_where_there_is_none_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    given = ["--config", json.dumps(RUN.as_dict()), "--out", str(tmp_path), "--device", "cuda"]
    with pytest.raises(SystemExit, match="torch finds no GPU; use --device auto or cpu"):
        running.main("train", given)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--probe-images 0", "0 is not 1 or more"),
        ("--probe-images x", "invalid int value: 'x'"),
        ("--checkpoint-seconds -1", "-1 is not 0 or more"),
        ("--checkpoint-seconds nan", "nan is not 0 or more"),
        ("--engine fast", "choose from"),
        ("--gpus 2", "unrecognized arguments: --gpus 2"),
    ],
)
def test_a_wrong_flag_is_told_with_what_is_allowed(tmp_path, capsys, words, said):
    given = ["--config", json.dumps(RUN.as_dict()), "--out", str(tmp_path), *words.split()]
    with pytest.raises(SystemExit):
        running.main("train", given)
    assert said in capsys.readouterr().err


def job_of(run, *, device="cpu"):
    """A job with a configuration and a device, and nothing in its folders."""
    training = stage("train")
    return Job(training, run, training.defaults, Path(), Path(), torch.device(device), print)


def loaded_as(name, checksum="c"):
    """A data set without images."""
    return data.Loaded(None, data.info(name), checksum, official=True)


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True)])
def test_tf32_is_used_only_where_it_is_asked_for(precision, allowed):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not allowed
    device = "cpu" if precision == "fp32" else "meta"  # no GPU, and no CPU
    job = job_of(dataclasses.replace(RUN, precision=precision), device=device)
    setup.network(job, loaded_as("digits"))
    found = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    assert found == (allowed, allowed)


def test_tf32_on_a_cpu_is_refused():
    with pytest.raises(ValueError, match="tf32 is a format of GPUs"):
        setup.network(job_of(dataclasses.replace(RUN, precision="tf32")), loaded_as("digits"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run a stage of a tiny run as its program would; return whether its record changed."""
    folder = tmp_path_factory.mktemp("trained")
    data.prepare("digits", folder, say=lambda line: None)
    cut = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml") | {"train_images": 64}
    run = expand(parse_suite(cut))[0]

    def do(program, record, *words):
        path = folder / "run" / f"{record}.json"
        before = path.read_text() if path.is_file() else None
        given = ["--config", json.dumps(run.as_dict()), "--out", str(folder / "run"), *words]
        running.main(program, [*given, "--data-dir", str(folder), "--device", "cpu"])
        assert Record.read(path).status == "done"
        return path.read_text() != before

    assert do("train", "train", "--test-images", "8", "--probe-images", "4")
    return do


@pytest.mark.parametrize(
    ("program", "record", "words", "other"),
    [
        ("train", "train", "--test-images 8 --probe-images 4", "--test-images 9 --probe-images 4"),
        ("train", "train", "--test-images 9 --probe-images 4", "--test-images 9 --probe-images 5"),
        ("attack", "autoattack", "--images 2", "--images 3"),
        ("attack", "autoattack", "--images 3", "--images 3 --batch 2"),
        ("attack", "autoattack", "--images 3 --batch 2", "--images 3 --batch 2 --seed 1"),
        ("attack", "autoattack", "--images 3 --batch 2 --seed 1", "--images 3 --mode fast"),
        ("cost", "cost", "--repetitions 2", "--repetitions 3"),
        ("evaluate", "pgd50_10", f"{PGD} --images 2", f"{PGD} --images 3"),
        ("evaluate", "eps_sweep", SWEEP, f"{SWEEP} --seed 1"),
        ("evaluate", "eps_sweep", f"{SWEEP} --radii 0,8", f"{SWEEP} --radii 0,9"),
    ],
)  # fmt: skip
def test_a_stage_is_done_again_when_asked_with_other_options(
    trained, program, record, words, other
):
    trained(program, record, *words.split())
    assert not trained(program, record, *words.split())
    assert trained(program, record, *other.split())
    assert not trained(program, record, *other.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (f"{SWEEP} --radii 8,255", "'8,255' is no list of whole numbers from 0 to 254"),
        (f"{SWEEP} --radii 8/255", "'8/255' is no list of whole numbers from 0 to 254"),
        (f"{PGD} --radii 8", "pgd50_10 takes no radii, only eps_sweep does"),
    ],
)
def test_radii_that_are_none_or_mean_nothing_are_refused(trained, words, said):
    with pytest.raises(SystemExit, match=re.escape(said)):
        trained("evaluate", words.split()[1], *words.split())


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_what_is_claimed_of_a_network_holds_in_fp32(precision, monkeypatch):
    import bench.models

    said = []
    monkeypatch.setattr(bench.models, "allow", said.append)
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    net = bench.models.Net(body, mean=[0.5] * 3, std=[0.25] * 3, precision=precision).train()
    x = torch.rand(2, 3, 8, 8)
    exact = body(((x - 0.5) / 0.25).contiguous(memory_format=torch.channels_last))
    judged = setup.exact(net)
    assert torch.equal(judged(x), exact)
    assert not judged.training
    assert said == ["fp32"]


@pytest.mark.parametrize("units", [True, False])
def test_a_bf16_run_is_evaluated_and_attacked_in_fp32(tmp_path, monkeypatch, capfd, units):
    seen, exact = [], setup.exact
    monkeypatch.setattr(machine, "has_bf16_units", lambda: units)
    monkeypatch.setattr(setup, "exact", lambda net: seen.append(net) or exact(net))
    data.prepare("digits", tmp_path, say=lambda line: None)
    cut = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml") | {"train_images": 64}
    run = expand(parse_suite(cut | {"precision": "bf16"}))[0]
    words = ["--config", json.dumps(run.as_dict()), "--out", str(tmp_path / "run")]
    words += ["--data-dir", str(tmp_path), "--device", "cpu"]
    running.main("train", [*words, "--test-images", "8", "--probe-images", "4"])
    running.main("attack", [*words, "--images", "2"])
    assert [net.precision for net in seen] == ["fp32", "fp32"]
    # a CPU may emulate bf16, which takes long
    assert capfd.readouterr().err.count(machine.SLOW_BF16) == (not units)
    origins = [
        Record.read(tmp_path / f"run/{name}.json").origin for name in ("train", "autoattack")
    ]
    assert [origin.bf16_units for origin in origins] == [units, None]


def test_the_best_epoch_is_attacked_where_one_was_chosen(tmp_path):
    from safetensors.torch import load_file, save_file

    data.prepare("digits", tmp_path, say=lambda line: None)
    cut = read_yaml(catalogue.ROOT / "workflows/config/smoke.yaml") | {"train_images": 64}
    run = expand(parse_suite(cut))[0].as_dict()

    def do(program, name, protocol, *more):
        words = ["--config", json.dumps(run | {"protocol": run["protocol"] | protocol})]
        words += ["--out", str(tmp_path / str(len(protocol))), "--data-dir", str(tmp_path)]
        running.main(program, [*words, "--device", "cpu", *more])
        return Record.read(tmp_path / str(len(protocol)) / f"{name}.json")

    held_out = {"name": "held out", "validation": 16}
    attacked = ["autoattack_best", held_out, "--evaluation", "autoattack_best", "--images", "30"]
    assert do("train", "train", held_out).training.best is not None
    best = tmp_path / "2/best.safetensors"
    # a network that always says class 0, which no attack changes
    save_file({k: v if k in ("mean", "std") else 0 * v for k, v in load_file(best).items()}, best)
    untied = Record.read(tmp_path / "2/train.json")
    training = dataclasses.replace(untied.training, weights={})
    dataclasses.replace(untied, training=training).write(tmp_path / "2")
    found = do("evaluate", *attacked, "--batch", "16", "--mode", "fast").measure
    assert found.settings == {"seed": 0, "batch": 16, "mode": "fast"}
    score = found.scores["autoattack_best"]
    y = data.load("digits", tmp_path).images.test_y[:30]
    assert (score.accuracy, score.n) == (pytest.approx(100 * (y == 0).double().mean().item()), 30)
    do("train", "train", {})
    attacked[1] = {}
    refused = do("evaluate", *attacked)
    assert refused.status == "refused"
    assert "protocol smoke holds no validation images out" in refused.reason


def test_a_checkpoint_belongs_to_a_configuration_code_and_data(monkeypatch):
    def identity(checksum="c", **changes):
        job = job_of(dataclasses.replace(RUN, **changes))
        return train._identity(job, loaded_as("digits", checksum))

    one = identity()
    assert one == identity()
    others = [identity("d"), identity(seed=7)]
    with monkeypatch.context() as edited:
        edited.setattr(train, "checkpoint_fingerprint", lambda *_: "edited")
        others.append(identity())
    assert one not in others
    assert len(set(others)) == 3


def test_the_seed_alone_decides_the_weights():
    def weights(seed):
        torch.rand(seed + 3)  # whatever was drawn before
        net = setup.network(job_of(dataclasses.replace(RUN, seed=seed)), loaded_as("digits"))
        return torch.cat([w.flatten() for w in net.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_the_commit_is_of_the_projects_own_repository(tmp_path, monkeypatch):
    """An archive that lies inside another repository has none."""
    inside = tmp_path / "onestep"
    inside.mkdir()
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        given = ["-c", "user.name=n", "-c", "user.email=e@example.org", *words]
        subprocess.run(["git", *given], cwd=tmp_path, check=True)
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    assert commit()
    monkeypatch.setattr(catalogue, "ROOT", inside)
    assert commit() is None
    assert machine.dirty() is None


def test_libraries_warn_into_the_log_with_the_runs_name(execute, tmp_path, capsys):
    def work():
        warnings.warn("an old word", DeprecationWarning, stacklevel=1)
        logging.getLogger("torch.something").warning("slow %s", "path")
        return made_up.training()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        shown = warnings.showwarning
        execute(work)
        assert warnings.showwarning is shown
    log = (tmp_path / "log").read_text()
    assert "DeprecationWarning: an old word" in log
    assert "torch.something: slow path" in log
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fgsm seed 0, digits, train: done, ")


def test_a_failure_by_hand_says_where_its_log_is_and_how_to_go_on(execute, tmp_path, capsys):
    def work():
        raise Diverged("loss is nan")

    execute(work)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "diverged: loss is nan; see " in line
    assert str(tmp_path / "log") in line
    assert line.endswith("; the same command tries again")
    execute(work, "--code", running.method_fingerprint("fgsm"))  # by Snakemake, which says it once
    assert "tries again" not in capsys.readouterr().err
