"""The benchmark times every execution in turns, against one baseline."""

import json
import sys

import pytest

from bench.tools import benchmark, training_speed


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark") / "record.json"
    words = "--architectures small_cnn --dataset digits --methods fgsm_rs,grad_align --device cpu"
    words += " --precisions fp32,bf16 --engines eager,captured --width 4 --steps 1 --repetitions 3"
    words += " --product 64"  # bf16 takes minutes of larger ones on a CPU without its units
    before, sys.argv = sys.argv, ["measure", *words.split(), "--out", str(out)]
    try:
        benchmark.main()
    finally:
        sys.argv = before
    return json.loads(out.read_text())


def test_every_possible_execution_is_measured_and_the_others_are_left_out(record):
    executions = [(row["method"], row["engine"], row["precision"]) for row in record["speeds"]]
    assert executions == [
        (method, engine, precision)
        for method in ("fgsm_rs", "grad_align")
        for engine, precision in (("baseline", "fp32"), ("eager", "fp32"), ("eager", "bf16"))
    ]  # a CPU captures nothing


def test_a_run_that_cannot_be_attacked_is_reported_before_anything_is_measured(
    tmp_path, monkeypatch
):
    (tmp_path / "train.json").write_text("{")
    words = ["--attack-run", str(tmp_path), "--out", str(tmp_path / "record.json")]
    monkeypatch.setattr(sys, "argv", ["measure", *words, "--device", "cpu"])
    monkeypatch.setattr(benchmark, "training_speeds", lambda *args: pytest.fail("measured"))
    with pytest.raises(SystemExit, match=r"train.json is no valid record"):
        benchmark.main()


def test_an_execution_that_fails_is_reported_and_the_others_stay(tmp_path, monkeypatch, capsys):
    out = tmp_path / "record.json"
    words = "--architectures small_cnn --dataset digits --methods fgsm --precisions fp32,bf16"
    words += " --engines eager --width 4 --steps 1 --repetitions 2 --product 64 --device cpu"
    make = training_speed._steps

    def fragile(job, loaded, engine):
        if job.config.precision == "bf16":
            raise RuntimeError("CUDA error: boom")
        return make(job, loaded, engine)

    monkeypatch.setattr(training_speed, "_steps", fragile)
    monkeypatch.setattr(sys, "argv", ["measure", *words.split(), "--out", str(out)])
    benchmark.main()
    record = json.loads(out.read_text())
    assert [row["engine"] for row in record["speeds"]] == ["baseline", "eager"]
    assert "fgsm, eager, bf16: left out: RuntimeError: CUDA error: boom" in capsys.readouterr().err


def test_figures_follow_from_the_times(record):
    for row in record["speeds"]:
        low, high = row["spread"]
        assert low <= row["images_per_second"] <= high
        assert row["step_ms"] == pytest.approx(1000 * row["batch"] / row["images_per_second"])
        ceiling = record["ceilings"][row["precision"]]
        done = row["flops_per_image"] * row["images_per_second"]
        assert row["utilisation"] == pytest.approx(done / ceiling)
    base = record["speeds"][0]
    assert base["ratio"] == pytest.approx(1)
    for row in record["speeds"][:3]:
        assert row["ratio"] == pytest.approx(row["images_per_second"] / base["images_per_second"])
    counts = {row["method"]: row["flops_per_image"] for row in record["speeds"]}
    assert counts["grad_align"] > counts["fgsm_rs"]


def test_a_record_names_the_machine_and_the_code(record):
    assert record["device"].startswith("CPU")
    assert record["start_up"]["import_seconds"] > 0
    assert {"torch", "commit", "dirty", "threads", "python"} <= record.keys()
    assert record["attacks"] == []  # no trained run was named
