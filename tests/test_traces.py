"""Numbers of every update, diagnostics and weights on the way: kept to the bit, and read back."""

import dataclasses
import json

import made_up
import numpy as np
import pytest
import torch
from killed import kill
from made_up_methods import Learns
from safetensors.torch import load_file

from bench import data, meter
from bench.runs import evaluations
from bench.runs.catalogue import ROOT
from bench.runs.record import TRACES, ConfigError, Evaluation, Record
from bench.runs.run import expand, parse_run
from bench.runs.stage import TrainOptions, as_flags, as_stored, stage
from bench.stages import running, setup, train
from bench.stages.job import Job
from bench.traces import Interval, Traces, Watch, kept_weights
from report.early_warning import DETECTORS
from report.traces import read

MEGABYTES = 5  # of all traces in git


def reading(net, update):
    """A diagnostic that draws and takes gradients, and has another value for other weights."""
    assert not any(module.training for module in net.modules())
    x = torch.rand(4, 3, 8, 8).requires_grad_()
    loss = net(x).square().mean()
    loss.backward()
    torch.randperm(update + 3)
    return {"loss": loss.item(), "slope": x.grad.abs().sum().item()}


def traced(tiny, name, into, *, every=2, keep_at=(), **rest):
    method = name if isinstance(name, str) else name(eps=tiny.eps)
    intervals = [Interval(every)] if isinstance(every, int) else every
    traces = Traces([Watch(intervals, reading)] if every else [], keep_at, into)
    return tiny.trainer(method, traces=traces, **rest)


def test_every_update_has_a_number_of_what_the_log_has(tiny):
    trainer = tiny.trainer("sora")
    curves = trainer.fit().curves
    columns = trainer.traces.tensors
    assert set(columns) == {"loss", "pert_align", "reach", "g_norm", "state.c"}
    assert all((c.shape, c.dtype) == ((6,), torch.float32) for c in columns.values())
    for epoch, curve in enumerate(curves):
        part = slice(3 * epoch, 3 * epoch + 3)
        assert columns["loss"][part].mean().item() == curve.loss
        assert columns["state.c"][part].mean().item() == curve.state["c"]
        assert columns["reach"][part].max().item() == curve.reach


def test_the_norm_of_g_is_a_mean_over_images(tiny):
    trainer = tiny.trainer("fgsm")
    given, descend = [], trainer.descend
    trainer.descend = lambda loss, at, g, edit: given.append(g) or descend(loss, at, g, edit)
    trainer.fit()
    by_hand = [sum(one.norm() for one in g) / len(g) for g in given]
    assert trainer.traces.tensors["g_norm"].tolist() == pytest.approx([n.item() for n in by_hand])
    without = tiny.trainer("standard")
    without.fit()
    assert without.traces.tensors["g_norm"].isnan().all()


@pytest.mark.parametrize("which", ["sora", "free_at", Learns])
def test_diagnostics_and_kept_weights_change_no_bit(tiny, which, tmp_path):
    plain = traced(tiny, which, None, every=0)
    curves = plain.fit().curves
    watched = traced(tiny, which, tmp_path, keep_at=(0, 3))
    assert watched.fit().curves == curves
    assert torch.equal(tiny.weights(plain.net), tiny.weights(watched.net))
    assert all(torch.equal(plain.state[k], v) for k, v in watched.state.items())
    rows = watched.traces.tensors
    assert all(
        torch.equal(rows[k].nan_to_num(9), v.nan_to_num(9)) for k, v in plain.traces.tensors.items()
    )


def test_diagnostics_are_read_at_set_intervals_and_at_the_end(tiny):
    trainer = traced(tiny, "fgsm", None, every=4)
    trainer.fit()
    rows = trainer.traces.tensors
    assert rows["watch.loss.update"].tolist() == [0, 4, 6]
    assert len(rows["watch.loss"]) == len(rows["watch.slope"]) == 3


@pytest.mark.parametrize("name", ["fgsm", "free_at"])
def test_a_window_is_read_beside_the_rest_once_where_both_are_due_and_changes_no_bit(tiny, name):
    plain, runs = traced(tiny, name, None, every=0), []
    plain.fit()
    for intervals in ([Interval(4)], [Interval(4), Interval(1, 3, 5)], [Interval(2, 2, 3)]):
        runs.append(traced(tiny, name, None, every=intervals))
        runs[-1].fit()
        assert torch.equal(tiny.weights(plain.net), tiny.weights(runs[-1].net))
    if name == "fgsm":  # a batch of free_at is eight updates, of which none but the last is seen
        seen = [run.traces.tensors["watch.loss.update"].tolist() for run in runs]
        assert seen == [[0, 4, 6], [0, 3, 4, 5, 6], [2, 6]]
        first, second = (run.traces.tensors["watch.loss"].tolist() for run in runs[:2])
        assert first == [second[i] for i in (0, 2, 4)]


def test_seconds_of_diagnostics_are_not_training_seconds(tiny, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])

    def slow(net, update):
        now[0] += 10.0
        return {}

    outcome = tiny.trainer("fgsm", traces=Traces([Watch([Interval(2)], slow)])).fit()
    assert (outcome.probe_seconds, outcome.train_seconds) == (40.0, 0.0)  # at 0, 2, 4, 6


@pytest.mark.parametrize("at", range(1, 6))
def test_the_files_of_a_killed_run_are_those_of_a_whole_one(tiny, tmp_path, at):
    keep_at = (0, 2, 3, 6)
    whole = traced(tiny, "sora", tmp_path / "whole", keep_at=keep_at)
    whole.fit()
    kept = {"folder": tmp_path / "state", "interval": 0}
    first = traced(tiny, "sora", tmp_path / "cut", keep_at=keep_at, **kept)
    kill(first, at)
    second = traced(tiny, "sora", tmp_path / "cut", keep_at=keep_at, **kept)
    second.resume()
    second.fit()
    digests = [one.traces.write(tmp_path / TRACES) for one in (whole, second)]
    assert digests[0] == digests[1]
    for update in keep_at:
        one, two = (kept_weights(tmp_path / of, update) for of in ("whole", "cut"))
        assert one.read_bytes() == two.read_bytes()


def test_kept_weights_are_those_after_their_update(tiny, tmp_path):
    seen, trainer = {}, traced(tiny, "fgsm", tmp_path, keep_at=(0, 2, 6))
    step = trainer._step
    seen[0] = tiny.weights(trainer.net).clone()

    def watched(*args):
        step(*args)
        seen[trainer.update] = tiny.weights(trainer.net).clone()

    trainer._step = watched
    trainer.fit()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"weights-{k}.safetensors" for k in (0, 2, 6)
    ]
    for update in (0, 2, 6):
        other = tiny.net(seed=9)
        other.load_state_dict(load_file(kept_weights(tmp_path, update)))
        assert torch.equal(tiny.weights(other), seen[update])


def test_an_update_within_a_batch_of_replays_is_kept_at_its_end(tiny, tmp_path):
    trainer = traced(tiny, "free_at", tmp_path, keep_at=(9, 16, 17))
    trainer.fit()
    nine, sixteen, seventeen = (kept_weights(tmp_path, k).read_bytes() for k in (9, 16, 17))
    assert nine == sixteen != seventeen


# Suites, options and records


def test_weights_after_the_last_update_are_refused_when_the_runs_are_planned():
    suite = made_up.digits_suite(methods=["fgsm"])
    (run,) = expand(suite)
    last = run.protocol["epochs"] * -(-1437 // run.protocol["batch"])
    expand(made_up.digits_suite(methods=["fgsm"], keep_at=[0, last]))
    said = rf"keep_at asks .* after update {last + 1}, .* ends on digits after {last}; leave"
    with pytest.raises(ConfigError, match=said):
        expand(made_up.digits_suite(methods=["fgsm"], keep_at=[5, last + 1]))


def test_an_option_left_out_is_no_flag_and_more_weights_than_asked_for_will_do():
    assert "--keep-at" not in as_flags(TrainOptions())
    assert "keep_at" not in as_stored(TrainOptions())
    asked = stage("train").options_for(made_up.digits_suite(keep_at=[3, 7]))
    assert as_flags(asked)["--keep-at"] == "3,7"
    training = dataclasses.replace(made_up.training(), kept={"3": {}, "5": {}, "7": {}})
    record = Record(
        stage="train", run="r", config=made_up.config(), status="done", origin=made_up.ORIGIN,
        data=made_up.DATA, training=training,
    )  # fmt: skip
    for keep_at, state in ((None, "done"), ("7,3", "done"), ("3,4", "stale options")):
        wanted = dataclasses.replace(TrainOptions(test_images=50, probe_images=10), keep_at=keep_at)
        assert stage("train").state(record, wanted, "m") == state


def test_a_run_writes_its_traces_and_names_their_sum(tmp_path):
    data.prepare("digits", tmp_path, say=lambda line: None)
    config = {
        "dataset": "digits", "architecture": "small_cnn", "method": "sora", "width": 2,
        "train_images": 200, "protocol": "smoke",
    }  # fmt: skip
    words = ["--config", json.dumps(config), "--out", str(tmp_path), "--data-dir", str(tmp_path),
             "--device", "cpu", "--test-images", "8", "--probe-images", "8"]  # fmt: skip
    with pytest.raises(SystemExit, match="keep_at asks for the weights after update 999"):
        running.main("train", [*words, "--keep-at", "999"])
    with pytest.raises(SystemExit, match="'x' is no list of whole numbers; write them as 0,3775"):
        running.main("train", [*words, "--keep-at", "x"])
    assert not (tmp_path / "train.json").exists()
    running.main("train", [*words, "--keep-at", "0,2"])
    training = Record.read(tmp_path / "train.json").training
    assert list(training.kept) == ["0", "2"]
    assert Record.read(tmp_path / "train.json").options["keep_at"] == "0,2"
    found = read(tmp_path, training)
    assert found.columns.keys() == {"loss", "pert_align", "reach", "g_norm", "state.c"}
    assert {len(column) for column in found.columns.values()} == {training.updates}
    assert found.watched == {}
    run = parse_run(json.dumps(config))
    job = Job(stage("train"), run, TrainOptions(), tmp_path, tmp_path, torch.device("cpu"), print)
    loaded, _ = setup.data(job)
    asked = [job._replace(options=TrainOptions(keep_at=updates)) for updates in (None, "0,2")]
    assert len({train._identity(one, loaded) for one in asked}) == 2, "goes on without the first"


WATCH = "gradient_alignment-every_2,gradient_alignment-0.05-every_3"
RUN = {
    "dataset": "digits", "architecture": "small_cnn", "method": "sora", "width": 2,
    "train_images": 320, "protocol": "smoke",
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data.prepare("digits", folder, say=lambda line: None)
    return folder


def do(prepared, folder, *words):
    given = ["--config", json.dumps(RUN), "--out", str(folder), "--data-dir", str(prepared)]
    running.main("train", [*given, "--device", "cpu", "--test-images", "8", "--probe-images", "8",
                           *words])  # fmt: skip
    return Record.read(folder / "train.json")


def test_what_a_suite_watches_is_measured_on_the_way_and_outlives_a_kill(prepared, tmp_path):
    whole = do(prepared, tmp_path / "whole", "--watch", WATCH).training
    assert whole.watched == WATCH.split(",")
    found, updates = read(tmp_path / "whole", whole), whole.updates
    near = "gradient_alignment-0.05.gradient_alignment"
    assert found.watched.keys() == {"gradient_alignment", near}
    for name, every in (("gradient_alignment", 2), (near, 3)):
        seen = found.watched[name]
        assert seen.updates.tolist() == [*range(0, updates, every), updates]
        assert all(-1 <= value <= 1 for value in seen.values)
    assert found.watched[near].values[0] > found.watched["gradient_alignment"].values[0]

    options = TrainOptions(test_images=8, probe_images=8, checkpoint_seconds=0, watch=WATCH)
    job = Job(
        stage("train"), parse_run(json.dumps(RUN)), options, tmp_path / "cut", prepared,
        torch.device("cpu"), lambda line: None,
    )  # fmt: skip
    kill(train.prepare(job).trainer, updates - 2)
    cut = do(prepared, tmp_path / "cut", "--watch", WATCH).training
    assert (whole.resumed, cut.resumed) == (0, 1)
    assert cut.traces == whole.traces
    files = [tmp_path / name / TRACES for name in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_probing_with_all_detectors_changes_no_bit(prepared, tmp_path):
    names = [evaluations.read(one.entry).name for one in DETECTORS if one.entry]
    probed = ",".join(f"{name}-every_1-since_2-until_4" for name in names)
    plain, dense = (
        do(prepared, tmp_path / name, *words).training
        for name, words in (("plain", ()), ("dense", ("--watch", probed)))
    )
    assert plain.weights == dense.weights
    assert plain.curves == dense.curves
    one, two = read(tmp_path / "plain", plain), read(tmp_path / "dense", dense)
    assert one.watched == {}
    assert {len(seen.updates) for seen in two.watched.values()} == {4}
    assert two.watched.keys() == {one.column for one in DETECTORS if one.entry}
    assert all(np.array_equal(one.columns[k], v, equal_nan=True) for k, v in two.columns.items())


def test_a_run_by_hand_says_what_is_wrong_with_what_it_is_to_watch(prepared, tmp_path):
    for text, said in (
        ("gradient_alignment", "does not say when; write gradient_alignment-every_50"),
        ("gradient_alignmen-every_5", "did you mean gradient_alignment"),
        ("pgd20-every_x", "every is 'x' of attack pgd; it is a number of updates"),
        ("pgd20-every_5-since_9999", "to be measured since update 9999, .* ends on digits after"),
    ):
        with pytest.raises(SystemExit, match=said):
            do(prepared, tmp_path, "--watch", text)
    assert not (tmp_path / "train.json").exists()


def test_what_is_watched_is_of_the_options_and_of_a_checkpoints_identity(prepared, tmp_path):
    assert "watch" not in as_stored(TrainOptions())
    suite = made_up.digits_suite(evaluations=["pgd20", *WATCH.split(",")])
    assert as_flags(stage("train").options_for(suite))["--watch"] == WATCH
    training = dataclasses.replace(made_up.training(), watched=WATCH.split(","))
    record = Record(
        stage="train", run="r", config=made_up.config(), status="done", origin=made_up.ORIGIN,
        data=made_up.DATA, training=training,
    )  # fmt: skip
    one, other = WATCH.split(",")
    for watch, state in (
        (None, "done"), (f"{other},{one}", "done"), (f"{one}0", "stale options"),
    ):  # fmt: skip
        wanted = dataclasses.replace(TrainOptions(test_images=50, probe_images=10), watch=watch)
        assert stage("train").state(record, wanted, "m") == state
    run = parse_run(json.dumps(RUN))
    job = Job(stage("train"), run, TrainOptions(), tmp_path, prepared, torch.device("cpu"), print)
    loaded, _ = setup.data(job)
    asked = [job._replace(options=TrainOptions(watch=watch)) for watch in (None, one, WATCH)]
    assert len({train._identity(one, loaded) for one in asked}) == 3, "goes on without the first"


# Weights that were kept, measured afterwards


def measure(prepared, folder, name):
    words = ["--config", json.dumps(RUN), "--out", str(folder), "--data-dir", str(prepared)]
    running.main("evaluate", [*words, "--device", "cpu", "--evaluation", name])
    return Record.read(folder / f"{name}.json").measure


def test_an_evaluation_may_be_of_kept_weights(prepared, tmp_path):
    training = do(prepared, tmp_path, "--keep-at", "0,3").training
    for update in (0, 3):
        name = f"filters-at_{update}"
        found = measure(prepared, tmp_path, name)
        (file,) = found.arrays
        kept = load_file(kept_weights(tmp_path, update))
        assert torch.equal(load_file(tmp_path / file)["filter"], kept["body.0.weight"])
        assert found.digest in training.kept[str(update)].values()
    with pytest.raises(
        SystemExit, match=r"kept no weights of update 1, only of 0, 3; train it .* 1"
    ):
        measure(prepared, tmp_path, "filters-at_1")
    path = kept_weights(tmp_path, 0)
    path.write_bytes(kept_weights(tmp_path, 3).read_bytes())
    (tmp_path / "filters-at_0.json").unlink()
    with pytest.raises(SystemExit, match=r"weights-0.safetensors holds other weights than"):
        measure(prepared, tmp_path, "filters-at_0")


def test_weights_that_an_evaluation_names_are_kept_without_more_words():
    suite = made_up.digits_suite(methods=["fgsm"], keep_at=[7, 3], evaluations=["filters-at_5"])
    assert as_flags(stage("train").options_for(suite))["--keep-at"] == "7,3,5"
    beyond = made_up.digits_suite(methods=["fgsm"], evaluations=["filters-at_99999"])
    with pytest.raises(ConfigError, match="keep_at asks for the weights after update 99999"):
        expand(beyond)


@pytest.mark.parametrize(
    ("kept", "state"),
    [
        ({"5": {"full": "d"}}, "done"),
        ({"5": {"full": "e"}}, "stale weights"),
        ({}, "stale weights"),
    ],
)
def test_a_record_is_of_the_weights_kept_now(kept, state):
    config = made_up.config()
    training = dataclasses.replace(made_up.training(), kept=kept, weights={"last": {"full": "d"}})
    head = {"config": config, "status": "done", "origin": made_up.ORIGIN, "data": made_up.DATA}
    trained = Record(stage="train", run=config.run_id, training=training, **head)
    found = Evaluation(settings={}, scores={}, measure_seconds=1, digest="d", images=50)
    record = Record(stage="filters-at_5", run=config.run_id, measure=found, **head)
    measured = stage("filters-at_5")
    wanted = dataclasses.replace(measured.defaults, images=50)
    assert measured.state(record, wanted, "m", trainings=[trained]) == state


# Reading


def written(folder, **tensors):
    traces = Traces()
    traces.add({"loss": torch.tensor([3.0, 2.0])} | tensors)
    digest = traces.write(folder / TRACES)
    return dataclasses.replace(made_up.training(), traces=digest)


def test_what_diagnostics_found_comes_with_its_updates(tmp_path):
    rows = {"watch.align": torch.tensor([0.9, 0.1]), "watch.align.update": torch.tensor([0, 50])}
    found = read(tmp_path, written(tmp_path, **rows))
    assert found.columns.keys() == {"loss"}
    assert found.watched["align"].updates.tolist() == [0, 50]
    assert np.array_equal(found.watched["align"].values, np.float32([0.9, 0.1]))


def test_traces_that_cannot_be_trusted_are_refused_with_their_remedy(tmp_path):
    with pytest.raises(ValueError, match="is of before runs kept traces; train the run again"):
        read(tmp_path, made_up.training())
    training = written(tmp_path)
    path = tmp_path / TRACES
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"curves.safetensors is damaged or of another run, as"):
        read(tmp_path, training)
    path.unlink()
    with pytest.raises(ValueError, match=r"curves.safetensors is missing; copy it from where"):
        read(tmp_path, training)


def test_traces_in_git_stay_small():
    paths = (ROOT / "results/published").rglob(TRACES)
    size = sum(path.stat().st_size for path in paths)
    assert size < MEGABYTES * 1e6, "publish traces of fewer runs (CONTRIBUTING.md)"
