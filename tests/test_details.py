"""What the page tells of each run: curves, commands, passes and logs."""

import dataclasses
import math
import shlex

from made_up import ORIGIN, attack, config, done, expense, training, write
from tables import collected

from bench.runs import catalogue
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import Evaluation, Score
from bench.runs.run import parse_run
from bench.stages import running
from report.collect import collect
from report.page import command, curves, details


def test_curves_are_thinned_and_keep_their_ends_and_the_collapse():
    (epoch,) = training().curves
    epochs = [dataclasses.replace(epoch, epoch=i, loss=math.nan) for i in range(200)]
    drawn = curves(epochs, 20, onset=57)
    assert len(drawn["epoch"]) <= 22
    assert {1, 58, 200} <= set(drawn["epoch"])
    assert "loss" not in drawn  # JSON lacks nan


def test_the_command_of_a_run_asks_for_the_same_run():
    run, *_ = collect(published=catalogue.ROOT / "results/published").runs
    words = shlex.split(command(run))
    assert parse_run(words[words.index("--config") + 1]) == run.config


def test_the_commands_of_a_run_are_those_that_its_records_fit(tmp_path, monkeypatch):
    made = dataclasses.replace(ORIGIN, threads=3, cuda="13.0")
    score = Score(accuracy=12.5, n=30)
    bodies = {
        "train": {"training": dataclasses.replace(training(), engine="compiled")},
        "autoattack": {"attack": dataclasses.replace(attack(10.0), mode="fast")},
        "cost": {"expense": dataclasses.replace(expense(1.0), engine="captured")},
        "pgd50_10": {"measure": Evaluation(
            settings={"seed": 4}, scores={"pgd50_10": score}, measure_seconds=1.0)},
        "eps_sweep": {"measure": Evaluation(
            settings={"seed": 5}, scores={"fgsm 8/255": score}, measure_seconds=1.0)},
    }  # fmt: skip
    whole = config(protocol=PROTOCOLS["sora-15"].as_dict())
    for stage, body in bodies.items():
        write(tmp_path / "runs", whole, stage, **body)
    (run,) = collected(tmp_path)
    run.records = {k: dataclasses.replace(r, origin=made) for k, r in run.records.items()}
    _, *lines = command(run).splitlines()
    tasks = {}

    def execute(task, place):
        tasks[task.stage.name] = task
        assert (place.threads, place.device) == (3, "cuda")
        return run.records[task.stage.name]

    monkeypatch.setattr(running, "execute", execute)
    for line in lines:
        _, _, _, program, *words = shlex.split(line)
        running.main(program, words)
    assert sorted(tasks) == sorted(bodies)
    for name, task in tasks.items():
        state = task.stage.state(run.records[name], task.options, made.method_code)
        assert state == "done", name
    assert tasks["train"].options.engine == "compiled"
    assert tasks["cost"].options.engine == "captured"


def test_a_command_runs_nothing_that_a_record_smuggles_in(tmp_path):
    sly = Evaluation(settings={"seed": "0; reboot"}, scores={}, measure_seconds=1.0)
    write(tmp_path / "runs", config(settings={"note": "'; reboot"}), "pgd50_10", measure=sly)
    (run,) = collected(tmp_path)
    for line in command(run).splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        assert not {";", "reboot"} & set(words), line


def test_the_end_of_every_stages_log_is_there_and_what_is_not_done_comes_first(tmp_path):
    done(tmp_path / "runs", config(), aa=10.0)
    write(tmp_path / "runs", config(), "autoattack", status="failed", reason="x")
    runs = collected(tmp_path)
    folder = tmp_path / "logs" / runs[0].folder
    folder.mkdir(parents=True)
    for stage in ("train", "autoattack", "cost", "eps_sweep", "data"):
        (folder / f"{stage}.log").write_text(f"first of {stage}\n" + "line\n" * 40 + f"of {stage}")
    (shown,) = details(runs, tmp_path / "logs")["runs"].values()
    assert list(shown["logs"]) == ["autoattack", "eps_sweep", "train", "cost"]
    for stage, end in shown["logs"].items():
        assert end.endswith(f"of {stage}")
        assert "first" not in end
    (plain,) = details(runs, tmp_path / "nowhere")["runs"].values()
    assert "logs" not in plain


def test_a_whole_runs_passes_count_each_image_once_an_epoch_and_replays_too(tmp_path):
    # 100 images: the last of 4 batches is short
    protocol = config().protocol | {"name": "p", "epochs": 16, "batch": 32}
    runs = tmp_path / "runs"
    for method, updates, forward in (("fgsm", 16 * 4, 2), ("free_at", 2 * 4 * 8, 1)):
        for seed in (0, 1):
            body = dataclasses.replace(training(), updates=updates)
            cfg = config(method, seed, protocol=protocol)
            write(runs, cfg, "train", training=body)
            cost = dataclasses.replace(expense(1.0), forward=forward, backward=forward / 2)
            if seed == 0:  # the count holds for the other seed as well
                write(runs, cfg, "cost", expense=cost)
    found = collected(tmp_path)
    shown = details(found, tmp_path / "logs")["runs"].values()
    counted = [(run["folder"].split("/")[2], run["passes"]) for run in shown]
    fgsm, free = {"forward": 32.0, "backward": 16.0}, {"forward": 16.0, "backward": 8.0}
    assert counted == [("fgsm", fgsm)] * 2 + [("free_at", free)] * 2


def test_a_sweep_is_judged_by_the_radius_of_training(tmp_path):
    right = {0: 90.0, 4: 40.0, 6: 55.0, 8: 60.0, 16: 70.0}
    scores = {f"fgsm {k}/255": Score(accuracy=a, n=30) for k, a in right.items()}
    scores |= {f"pgd10 {k}/255": Score(accuracy=0.0, n=30) for k in right}
    sweep = Evaluation(settings={}, scores=scores, measure_seconds=1.0)
    write(tmp_path / "runs", config(eps="8/255"), "eps_sweep", measure=sweep)
    (shown,) = details(collected(tmp_path), tmp_path / "logs")["runs"].values()
    assert shown["eo"] == {"eo": 15.0, "k_peak": 6.0, "eo_gap": 20.0}
    assert shown["swept"] == "1/255"


def test_a_sweep_in_l2_is_judged_in_parts_of_its_radius(tmp_path):
    right = {0: 90.0, 16: 40.0, 24: 55.0, 32: 60.0, 64: 70.0}
    scores = {f"fgsm {k}/32 eps": Score(accuracy=a, n=30) for k, a in right.items()}
    sweep = Evaluation(settings={}, scores=scores, measure_seconds=1.0)
    write(tmp_path / "runs", config(norm="L2", eps="0.5"), "eps_sweep", measure=sweep)
    (shown,) = details(collected(tmp_path), tmp_path / "logs")["runs"].values()
    assert shown["eo"] == {"eo": 15.0, "k_peak": 24.0, "eo_gap": 20.0}
    assert shown["swept"] == "1/32 eps"
    assert shown["sweep"] == {"fgsm": [[k, a] for k, a in right.items()]}
