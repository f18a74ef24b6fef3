"""Runs that start from another's weights: planned, trained and told with their source."""

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import signal

import made_up
import pytest
import torch
from held import SLOW, started, steps, until
from made_up import digits_suite, expense, training, write
from projects import SMOKE, bench, planned, record, snakemake
from safetensors.torch import load, load_file, save_file
from tables import collected, rows_of, tables

from bench import data
from bench.runs.record import ConfigError, Record, Source
from bench.runs.run import expand, kept_for, parse_run, sources
from bench.runs.stage import stage
from bench.runs.suite import parse_suite, read_yaml
from bench.signals import Stopped
from bench.stages import running, setup, train
from bench.stages.job import Job
from bench.tools import campaign, estimate, reproduce
from bench.tools.plan import summary
from report.page import command, details, view
from report.render import ending
from workflows.plan import Plan, mem_mb

FROM_STANDARD = {"fgsm": {"method": "standard", "protocol": "smoke"}}
SMALL = {"train_images": 64, "width": 4, "protocol": "smoke", "methods": ["fgsm"]}
RUN = expand(digits_suite(**SMALL, start_for=FROM_STANDARD))[0]
WORDS = ("--test-images", "8", "--probe-images", "4")
TRANSFER, SOURCE_SEED = "transfer_pgd20_from_same", 1000


def suite(**changes):
    given = {"methods": ["fgsm", "sora"], "seeds": [0, 1], "start_for": FROM_STANDARD}
    return parse_suite(read_yaml(made_up.ROOT / SMOKE[1]) | given | changes)


@pytest.fixture
def plan(tmp_path):
    chosen = suite()
    return Plan(chosen, expand(chosen), data_dir="x", results=tmp_path)


def leave(plan, work, **changes):
    return made_up.wanted(plan, work, **changes).write(plan.file(work).parent)


# What a run is.


def test_the_source_is_the_run_that_a_suite_would_make_of_it():
    (alone,) = expand(digits_suite(**SMALL | {"methods": ["standard"]}))
    assert RUN.source == alone
    assert sources([RUN, RUN]) == [alone]
    assert RUN.source.source is None


def test_a_start_counts_in_the_id_and_leaves_no_trace_where_there_is_none():
    (plain,) = expand(digits_suite(**SMALL))
    assert "start" not in plain.as_dict()
    assert dataclasses.replace(RUN, start=None) == plain
    assert RUN.run_id != plain.run_id
    moved = dataclasses.replace(RUN, start=dataclasses.replace(RUN.start, seed=1))
    assert moved.run_id != RUN.run_id


def test_a_source_has_the_seed_of_its_run():
    runs = expand(suite(seeds=[3, 4]))
    assert [run.source.seed for run in runs if run.source] == [3, 4]
    assert runs[0].with_seed(4) == runs[1]


def test_a_run_by_hand_is_completed_with_its_start():
    short = {"method": "standard", "protocol": "smoke"}
    assert parse_run(json.dumps(RUN.as_dict())) == RUN
    assert parse_run(json.dumps(RUN.as_dict() | {"start": short})) == RUN
    with pytest.raises(ConfigError, match="unknown method 'standart': did you mean standard"):
        parse_run(json.dumps(RUN.as_dict() | {"start": short | {"method": "standart"}}))
    with pytest.raises(ConfigError, match="unknown setting of standard 'k'"):
        parse_run(json.dumps(RUN.as_dict() | {"start": short | {"settings": {"k": 1}}}))
    with pytest.raises(ConfigError, match=r"start\.protocol is missing"):
        parse_run(json.dumps(RUN.as_dict() | {"start": {"method": "standard"}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "zerogrd"}, "unknown method 'zerogrd': did you mean zerograd"),
        ({"protocol": "smok"}, "unknown protocol 'smok': did you mean smoke"),
        ({"settings": {"k": 1}}, "unknown setting of standard 'k'"),
        ({"epochs": 3}, "fgsm.epochs"),
    ],
)
def test_a_mistake_in_a_suites_start_is_told(change, message):
    start = {"fgsm": FROM_STANDARD["fgsm"] | change}
    with pytest.raises(ConfigError) as caught:
        digits_suite(start_for=start)
    assert message in str(caught.value)


def test_a_source_whose_last_batch_has_one_image_is_refused():
    given = {"methods": ["fgsm"], "train_images": 193, "protocol": "sora-15"}
    assert expand(digits_suite(**given))
    with pytest.raises(ConfigError, match="193 training images of digits in batches of 64 leave"):
        expand(digits_suite(**given, start_for=FROM_STANDARD))


def test_a_methods_protocol_comes_before_its_networks_and_its_data_sets():
    others = {"sora": "smoke", "small_cnn": "mnist-10", "digits": "sora-15"}
    runs = expand(digits_suite(methods=["fgsm", "sora"], protocol_for=others))
    assert [run.protocol["name"] for run in runs] == ["mnist-10", "smoke"]


# What is to do.


def test_sources_are_trained_and_measured_but_not_attacked(plan):
    names = [(work.stage.name, work.config.method, work.config.seed) for work in plan.work]
    assert [name for name in names if name[1] == "standard"] == [
        ("train", "standard", 0), ("train", "standard", 1), ("cost", "standard", 0),
    ]  # fmt: skip
    assert names.index(("train", "standard", 1)) < names.index(("train", "fgsm", 1))
    plan.write()
    assert len(json.loads((plan.results / "plan.json").read_text())["runs"]) == 4
    assert "left: 6 of 6 runs, 2 of them only sources of others (6 train" in summary(plan, "x")


def test_a_suite_that_lists_the_source_attacks_it_once(tmp_path):
    chosen = suite(methods=["fgsm", "standard"], seeds=[0])
    whole = Plan(chosen, expand(chosen), data_dir="x", results=tmp_path)
    names = [(work.stage.name, work.config.method) for work in whole.work]
    assert sorted(names) == sorted(
        (name, method) for name in ("train", "autoattack", "cost") for method in chosen.methods
    )


def test_a_campaign_trains_the_source_first(plan):
    pieces = campaign.order([plan])
    assert len(pieces) == len(plan.work)
    done = [(piece.stage, piece.work.config.method, piece.work.config.seed) for piece in pieces]
    for seed in (0, 1):
        assert done.index(("train", "standard", seed)) < done.index(("train", "fgsm", seed))


def test_hours_count_a_source_once(plan):
    runs = list(plan.listed.values())
    (pair,) = estimate.estimates(plan.suite, runs)
    assert pair.train_hours == pytest.approx(sum(map(estimate.train_hours, plan.runs.values())))


def of(plan, name, method, seed=0):
    found = {(work.stage.name, work.config.method, work.config.seed): work for work in plan.work}
    return found[name, method, seed]


def digests(letter):
    return {"last": {"full": letter * 64}}


def finish(plan):
    """Write all records, with weights that are told from each other by a letter."""
    for work in plan.work:
        letter = {"standard": "a", "fgsm": "b", "sora": "c"}[work.config.method]
        letter = "s" if work.config.seed == SOURCE_SEED else letter
        given = {
            "train": {"weights": digests(letter)}, "autoattack": {"digest": letter * 64},
            TRANSFER: {"digest": letter * 64, "source": Source(
                run="s", digest="s" * 64, epochs=1, updates=1, train_seconds=1.0
            )},
        }  # fmt: skip
        leave(plan, work, **given.get(work.stage.name, {}))


def test_a_source_that_is_trained_again_makes_what_starts_from_it_stale(plan):
    finish(plan)
    assert plan.left == []
    leave(plan, of(plan, "train", "standard"), weights=digests("x"))
    assert [(work.stage.name, work.config.method, plan.why(work)) for work in plan.left] == [
        ("train", "fgsm", "stale weights"), ("autoattack", "fgsm", "reads what is left"),
    ]  # fmt: skip
    # and if the command is killed between the two
    again = of(plan, "train", "fgsm")
    source = dataclasses.replace(plan.record(again).training.source, digest="x" * 64)
    leave(plan, again, weights=digests("y"), source=source)
    assert [(work.stage.name, plan.why(work)) for work in plan.left] == [
        ("autoattack", "stale weights")
    ]


def test_a_started_run_attacked_from_another_network_is_not_judged_by_its_own_start(tmp_path):
    chosen = suite(seeds=[0], evaluations=[TRANSFER])
    plan = Plan(chosen, expand(chosen), data_dir="x", results=tmp_path)
    seeds = [work.config.seed for work in plan.work if work.config.method == "standard"]
    assert sorted(seeds) == [0, 0, SOURCE_SEED], "one for all, trained as the start was"
    finish(plan)
    assert plan.left == []
    source = next(work for work in plan.work if work.config.seed == SOURCE_SEED)
    leave(plan, source, weights=digests("x"))
    assert [plan.why(work) for work in plan.left] == ["stale weights"] * 2


def test_a_source_that_is_left_leaves_what_reads_it(plan):
    finish(plan)
    plan.file(of(plan, "train", "standard", 1)).unlink()
    assert [(work.stage.name, work.config.method) for work in plan.left] == [
        ("train", "standard"), ("train", "fgsm"), ("autoattack", "fgsm"),
    ]  # fmt: skip
    assert {work.config.seed for work in plan.left} == {1}


# Training.


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, lambda line: None)
    return folder


def do(run, folder, prepared, *words, program="train"):
    given = ["--config", json.dumps(run.as_dict()), "--out", str(folder), "--device", "cpu"]
    running.main(program, [*given, "--data-dir", str(prepared), *(words or WORDS)])
    return Record.read(folder / f"{'autoattack' if program == 'attack' else program}.json")


@pytest.fixture(scope="module")
def once(tmp_path_factory, prepared):
    """A tree of runs with the source alone."""
    root = tmp_path_factory.mktemp("source") / "runs"
    assert do(RUN.source, root / RUN.source.folder, prepared).status == "done"
    return root


@pytest.fixture
def tree(once, tmp_path):
    return shutil.copytree(once, tmp_path / "runs")


def job(tree, prepared):
    options = dataclasses.replace(stage("train").defaults, test_images=8, probe_images=4)
    return Job(
        stage("train"), RUN, options, tree / RUN.folder, prepared, torch.device("cpu"),
        lambda line: None,
    )  # fmt: skip


def test_the_first_step_has_the_sources_weights_and_statistics(tree, prepared):
    net = train.prepare(job(tree, prepared)).trainer.net
    wanted = load_file(tree / RUN.source.folder / "model.safetensors")
    found = net.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert any("running_mean" in name for name in wanted)


def test_a_checkpoint_is_of_these_weights_alone_and_the_source_is_locked(tree, prepared):
    one = job(tree, prepared)
    digest = setup.source_weights(one, RUN.source).digest
    assert digest in train.prepare(one).trainer.identity
    task = running.Task(one.stage, RUN, one.options, one.folder)
    assert task.reads == [tree / RUN.source.folder / "train.json"]


def test_a_started_run_goes_on_from_its_checkpoint(tree, prepared):
    whole = do(RUN, tree / RUN.folder, prepared).training
    (tree / RUN.folder / "train.json").unlink()
    with pytest.raises(Stopped):
        train.prepare(job(tree, prepared)).trainer.fit(lambda: "SIGTERM")
    after = do(RUN, tree / RUN.folder, prepared).training
    assert (whole.resumed, after.resumed) == (0, 1)
    assert (after.curves, after.weights) == (whole.curves, whole.weights)


def test_the_record_names_the_source_and_what_it_cost(tree, prepared):
    found = do(RUN, tree / RUN.folder, prepared).training
    source = Record.read(tree / RUN.source.folder / "train.json").training
    weights = (tree / RUN.source.folder / "model.safetensors").read_bytes()
    assert found.source == Source(
        run=RUN.source.run_id, digest=hashlib.sha256(weights).hexdigest(), epochs=source.epochs,
        updates=source.updates, train_seconds=source.train_seconds,
    )  # fmt: skip
    path = tree / RUN.folder / "train.json"
    text = path.read_text()
    path.write_text(text.replace(RUN.source.run_id, "0123456789ab"))
    with pytest.raises(ValueError, match="began with weights of 0123456789ab"):
        Record.read(path)


def test_a_source_that_is_trained_again_has_the_same_command_train_again(tree, prepared):
    first = do(RUN, tree / RUN.folder, prepared).training
    other = RUN.source.with_seed(1)  # stands for the same run on another machine
    do(other, tree / "other", prepared)
    shutil.copy(tree / "other/model.safetensors", tree / RUN.source.folder)
    path = tree / RUN.source.folder / "train.json"
    source = Record.read(path)
    of_other = Record.read(tree / "other/train.json").training
    dataclasses.replace(source, training=of_other).write(path.parent)
    second = do(RUN, tree / RUN.folder, prepared).training
    assert second.source.digest == of_other.weights["last"]["full"] != first.source.digest
    assert second.curves != first.curves


def told(tree, prepared):
    with pytest.raises(SystemExit) as caught:
        do(RUN, tree / RUN.folder, prepared)
    assert not (tree / RUN.folder / "train.json").exists()
    return str(caught.value)


def test_weights_with_a_flipped_bit_are_refused(tree, prepared):
    path = tree / RUN.source.folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    assert "holds other weights than train.json names" in told(tree, prepared)


def test_weights_of_another_run_are_refused(tree, prepared):
    path = tree / RUN.source.folder / "model.safetensors"
    save_file({name: value + 1 for name, value in load(path.read_bytes()).items()}, path)
    assert "holds other weights than train.json names" in told(tree, prepared)
    do(RUN.source.with_seed(1), tree / "other", prepared)
    shutil.copytree(tree / "other", path.parent, dirs_exist_ok=True)
    assert f"holds run {RUN.source.with_seed(1).run_id}, not" in told(tree, prepared)


def test_a_file_that_is_gone_is_named(tree, prepared):
    (tree / RUN.source.folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in told(tree, prepared)


def test_a_source_that_failed_makes_what_starts_from_it_skipped(tree, prepared):
    path = tree / RUN.source.folder / "train.json"
    failed = dataclasses.replace(
        Record.read(path), status="diverged", reason="loss is nan", training=None
    )
    failed.write(path.parent)
    found = do(RUN, tree / RUN.folder, prepared)
    assert found.status == "skipped"
    assert found.reason == (
        f"of standard seed 0 (run {RUN.source.run_id}), which this run reads: training diverged: "
        "loss is nan"
    )
    attacked = do(RUN, tree / RUN.folder, prepared, "--images", "4", program="attack")
    assert (attacked.status, attacked.reason) == ("skipped", f"training skipped: {found.reason}")


def test_by_hand_a_missing_source_is_told_with_the_command_that_trains_it(tmp_path, prepared):
    alone = tmp_path / "again"
    with pytest.raises(SystemExit) as caught:
        do(RUN, alone, prepared)
    words = shlex.split(str(caught.value).partition("python -m bench train ")[2])
    running.main("train", [*words, *WORDS, "--data-dir", str(prepared), "--device", "cpu"])
    assert do(RUN, alone, prepared).training.source.run == RUN.source.run_id


def test_another_runs_network_is_loaded_as_ones_own_is(tree, prepared):
    """For attacks that transfer from another network."""
    own = job(tree, prepared)
    net = setup.trained_source(own, RUN.source).net
    assert not net.training
    assert not any(weight.requires_grad for weight in net.parameters())
    (tree / RUN.source.folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="cannot be read as this run's weights"):
        setup.trained_source(own, RUN.source)


def test_a_started_run_is_made_again_with_its_source(tree, prepared, tmp_path, capsys):
    do(RUN, tree / RUN.folder, prepared)
    environment = reproduce.Environment(prepared, "cpu", 1, None)
    assert reproduce.reproduce(tree / RUN.folder, environment, tmp_path / "again")
    assert "train: equal to the last bit" in capsys.readouterr().out
    assert (tmp_path / "again" / RUN.source.run_id / "train.json").is_file()


# Following a source's weights.

ALONG = {"sub_at": {"method": "fgsm_rs", "protocol": "smoke", "kept": 3}}
FOLLOWING = {
    "train_images": 192, "width": 4, "protocol": "smoke", "methods": ["sub_at"],
    "method_args": {"sub_at": {"components": 4}}, "start_for": ALONG,
}  # fmt: skip
FOLLOWER = expand(digits_suite(**FOLLOWING))[0]
KEPT = "0,1,2,3,4,5,6"


MODEL = "model.safetensors"


def flat(tensors, names):
    return torch.cat([tensors[name].flatten() for name in names]).double()


def follower(folder, prepared):
    return do(FOLLOWER, folder, prepared).training


@pytest.fixture(scope="module")
def kept(tmp_path_factory, prepared):
    """A tree of runs with the source alone, and the weights on its way."""
    root = tmp_path_factory.mktemp("kept") / "runs"
    source = FOLLOWER.source
    do(source, root / source.folder, prepared, *WORDS, "--keep-at", KEPT)
    return root


@pytest.fixture
def along(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "runs")


def test_kept_weights_lie_evenly_in_every_epoch():
    assert kept_for(FOLLOWER) == [0, 1, 2, 3, 4, 5, 6]
    seat = parse_suite(read_yaml(made_up.ROOT / "workflows/config/seat.yaml"))
    (whole,) = (run for run in expand(seat) if run.method == "sub_at" and run.seed == 0)
    found = kept_for(whole)
    assert (len(found), found[:3], found[-1]) == (131, [0, 176, 352], 65 * 352)
    assert kept_for(RUN) == []


def test_kept_counts_in_the_id_and_leaves_no_trace_where_there_is_none():
    assert "kept" not in RUN.as_dict()["start"]
    assert parse_run(json.dumps(FOLLOWER.as_dict())) == FOLLOWER
    other = dataclasses.replace(FOLLOWER, start=dataclasses.replace(FOLLOWER.start, kept=2))
    assert other.run_id != FOLLOWER.run_id
    assert other.source == FOLLOWER.source


@pytest.mark.parametrize(
    ("methods", "start", "said"),
    [
        (["sub_at"], {}, "sub_at reads the weights along another run's training; name that run"),
        (["sub_at"], {"sub_at": FROM_STANDARD["fgsm"]}, r"sub_at .*kept: 2}}$"),
        (["fgsm"], {"fgsm": ALONG["sub_at"]}, "fgsm begins .* reads no others; leave kept out"),
    ],
)
def test_a_method_that_follows_needs_kept_weights_and_no_other_takes_them(methods, start, said):
    with pytest.raises(ConfigError, match=said):
        expand(digits_suite(**FOLLOWING | {"methods": methods, "start_for": start}))
    alone = FOLLOWER.as_dict()
    del alone["start"]["kept"]
    with pytest.raises(ConfigError, match="sub_at reads the weights"):
        parse_run(json.dumps(alone))


def test_a_source_is_planned_with_the_weights_that_others_read(tmp_path):
    chosen = digits_suite(**FOLLOWING | {"methods": ["fgsm_rs", "sub_at"]}, keep_at=[2])
    plan = Plan(chosen, expand(chosen), data_dir="x", results=tmp_path)
    asked = {work.config.method: plan.options(work).keep_at
             for work in plan.work if work.stage.name == "train"}  # fmt: skip
    assert asked == {"fgsm_rs": KEPT, "sub_at": "2"}
    finish_training = of(plan, "train", "fgsm_rs")
    leave(plan, finish_training, kept={"2": {"full": "a" * 64}})
    assert plan.why(finish_training) == "stale options"
    more = {update: {"full": "a" * 64} for update in (*KEPT.split(","), "9")}
    leave(plan, finish_training, kept=more)
    assert plan.why(finish_training) is None


def test_a_follower_begins_with_the_first_weights_and_moves_along_the_others(along, prepared):
    start = setup.start_weights(job(along, prepared)._replace(
        config=FOLLOWER, folder=along / FOLLOWER.folder))  # fmt: skip
    first = load_file(along / FOLLOWER.source.folder / "weights-0.safetensors")
    assert all(torch.equal(start.tensors[name], first[name]) for name in first)
    found = follower(along / FOLLOWER.folder, prepared)
    assert 0.5 < found.curves[-1].state["explained"] <= 1
    one = job(along, prepared)
    names = [name for name, _ in setup.network(one, setup.data(one)[0]).named_parameters()]
    paths = [along / FOLLOWER.source.folder / f"weights-{k}.safetensors" for k in range(7)]
    way, last = [load_file(path) for path in paths], load_file(along / FOLLOWER.folder / MODEL)
    vectors = torch.stack([flat(one, names) for one in way])
    plane = torch.linalg.svd(vectors - vectors.mean(0), full_matrices=False)[2][:4]
    moved = flat(last, names) - vectors[0]
    outside = moved - plane.t() @ (plane @ moved)
    # weight decay acts outside the plane; the gradients' part is all inside it
    assert outside.norm() < 0.05 * moved.norm()


def test_kept_weights_that_are_changed_or_gone_are_refused(along, prepared):
    path = along / FOLLOWER.source.folder / "weights-3.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(SystemExit) as caught:
            follower(along / FOLLOWER.folder, prepared)
        said = str(caught.value)
        assert f"this run reads {path}, which is not as train.json beside it says" in said
        assert f"--keep-at {KEPT} --again" in said
        path.unlink(missing_ok=True)


def test_by_hand_the_command_of_a_missing_source_keeps_what_is_read(tmp_path, prepared):
    with pytest.raises(SystemExit) as caught:
        follower(tmp_path, prepared)
    words = shlex.split(str(caught.value).partition("python -m bench train ")[2])
    running.main("train", [*words, *WORDS, "--data-dir", str(prepared), "--device", "cpu"])
    assert follower(tmp_path, prepared).source.run == FOLLOWER.source.run_id


def test_a_follower_is_made_again_with_its_source(along, prepared, tmp_path, capsys):
    follower(along / FOLLOWER.folder, prepared)
    environment = reproduce.Environment(prepared, "cpu", 1, None)
    assert reproduce.reproduce(along / FOLLOWER.folder, environment, tmp_path / "again")
    assert "train: equal to the last bit" in capsys.readouterr().out


def test_a_followers_cost_is_measured_without_its_source(tmp_path, prepared):
    found = do(FOLLOWER, tmp_path, prepared, "--repetitions", "2", program="cost").expense
    assert (found.forward, found.backward) == (2, 2)


def test_a_follower_asks_a_cluster_for_the_memory_of_what_it_reads():
    seat = parse_suite(read_yaml(made_up.ROOT / "workflows/config/seat.yaml"))
    (whole,) = (run for run in expand(seat) if run.method == "sub_at" and run.seed == 0)
    assert mem_mb(whole, 1) * 10**6 > 2 * 80 * 4 * 11_172_170


# Snakemake.

STARTED = (
    "--until", "train", *SMOKE, "--config", "methods=[slow]",
    "start_for={slow: {method: standard, protocol: smoke}}",
)  # fmt: skip


def killed(snakemake):
    """Kill Snakemake and the jobs that it has started."""
    os.killpg(snakemake.pid, signal.SIGKILL)
    snakemake.wait()


def test_a_chain_that_is_killed_between_its_runs_and_in_the_middle_ends_alike(project):
    (project / "methods/slow.py").write_text(SLOW)
    (project / "hold").touch()
    first = started(project, *STARTED)
    until(lambda: list((project / "results/runs").rglob("standard/*/train.json")))
    killed(first)
    (between,) = (project / "results/runs").rglob("standard/*/train.json")
    kept = between.read_bytes()
    second = started(project, *STARTED)
    until(lambda: steps(project) == 2)
    killed(second)
    (project / "hold").unlink()
    snakemake(project, *STARTED)
    assert planned(project, *STARTED) == {}
    assert between.read_bytes() == kept, "the source was trained twice"
    found, source = record(project, "slow"), record(project, "standard")
    assert found.training.source.digest == source.training.weights["last"]["full"]
    assert not list((project / "results/runs").rglob("standard/*/autoattack.json"))
    run = f"results/runs/{found.config.folder}"
    assert bench(project, "reproduce", run).splitlines()[-1] == "reproduced"


def test_a_failed_source_is_recorded_and_stops_nobody(project):
    words = (*STARTED[:-1], "start_for={fgsm: {method: slow, protocol: smoke}}", "methods=[fgsm]")
    broken = SLOW.replace("eta = uniform", "raise RuntimeError('it broke')\n        eta = uniform")
    (project / "methods/slow.py").write_text(broken)
    snakemake(project, *words)
    assert record(project, "slow").status == "failed"
    (found,) = (
        one for path in (project / "results/runs").rglob("fgsm/*/train.json")
        if (one := Record.read(path)).config.start
    )  # fmt: skip
    assert found.status == "skipped"
    assert found.reason.endswith("training failed: RuntimeError: it broke")
    assert planned(project, *words) == {}


# The page.


@pytest.fixture
def results(tmp_path):
    """One method with its start and without, and the run that it starts from."""
    runs = tmp_path / "runs"
    cfg = made_up.config(settings=RUN.settings, start=RUN.start)
    source = Source(run=cfg.source.run_id, digest="a" * 64, epochs=2, updates=6, train_seconds=3.0)
    write(runs, cfg, "train", training=dataclasses.replace(training(), source=source))
    write(runs, cfg, "autoattack", attack=made_up.attack(10.0))
    write(runs, cfg, "cost", expense=expense(1.0))
    made_up.done(runs, dataclasses.replace(cfg, start=None), aa=20.0)
    write(runs, cfg.source, "train", training=dataclasses.replace(training(), updates=6))
    write(runs, cfg.source, "cost", expense=dataclasses.replace(expense(1.0), forward=1))
    return tmp_path, cfg


def test_a_row_says_what_it_starts_from(results):
    root, cfg = results
    rows = rows_of(root)
    assert rows.keys() == {"fgsm", "fgsm (from=standard smoke)"}
    assert not ending(collected(root), root).left
    (note,) = (note for note in rows["fgsm (from=standard smoke)"].notes if note.id == "start")
    assert note.text == f"starts from standard, 2 epochs (run {cfg.source.run_id})"
    assert all(note.id != "start" for note in rows["fgsm"].notes)


def test_a_source_is_a_row_only_where_it_is_attacked(results):
    root, cfg = results
    made_up.write(root / "runs", cfg.source, "autoattack", attack=made_up.attack(0.0))
    assert "standard" in rows_of(root)
    for group in view(tables(root), [])["groups"]:
        starts = {row["id"]: row["source"] for row in group["rows"]}
        assert starts == {"fgsm": None, "standard": None,
                          "fgsm (from=standard smoke)": cfg.source.run_id}  # fmt: skip


def test_what_a_run_took_is_told_with_what_its_source_took(results):
    root, cfg = results
    found = details(collected(root), root / "logs")["runs"]
    run = found[cfg.run_id]
    assert run["training"]["source"] == {
        "run": cfg.source.run_id, "digest": "a" * 64, "epochs": 2, "updates": 6,
        "train_seconds": 3.0, "method": "standard",
    }  # fmt: skip
    # 100 images are 2 batches; the run has 2 updates of 2 + 2 passes, its source 6 of 1 + 2
    assert run["passes"] == {"forward": 2.0 + 3.0, "backward": 2.0 + 6.0}
    (root / "runs" / cfg.source.folder / "cost.json").unlink()
    assert "passes" not in details(collected(root), root / "logs")["runs"][cfg.run_id]


def test_the_commands_of_a_run_train_its_source_first(results):
    root, cfg = results
    run = next(run for run in collected(root) if run.config == cfg)
    _, first, second, *_ = map(shlex.split, command(run).splitlines())
    assert parse_run(first[first.index("--config") + 1]) == cfg.source
    assert first[first.index("--out") + 1] == f"again/{cfg.source.run_id}"
    assert parse_run(second[second.index("--config") + 1]) == cfg


def test_the_commands_of_a_follower_keep_what_it_reads(tmp_path):
    source = Source(run=FOLLOWER.source.run_id, digest="a" * 64, epochs=2, updates=6,
                    train_seconds=3.0)  # fmt: skip
    write(tmp_path / "runs", FOLLOWER, "train",
          training=dataclasses.replace(training(), source=source))  # fmt: skip
    (run,) = collected(tmp_path)
    _, first, second = map(shlex.split, command(run).splitlines())
    assert first[first.index("--keep-at") + 1] == KEPT
    assert "--keep-at" not in second
