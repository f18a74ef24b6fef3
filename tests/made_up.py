"""Made-up suites and records: for tests of tables and pages, a few of them or thousands."""

import dataclasses
import json

import numpy as np

from bench.runs.catalogue import ROOT
from bench.runs.protocol import PROTOCOLS
from bench.runs.record import (
    Attack,
    Best,
    Config,
    Data,
    Epoch,
    Evaluation,
    Expense,
    Origin,
    Record,
    Score,
    Source,
    Training,
    Verdict,
)
from bench.runs.suite import Suite, parse_suite, read_yaml

DATA = Data(checksum="c" * 64, official=True, train_images=100, test_images=50)
ORIGIN = Origin(
    commit="0123456789abcdef", dirty=False, method_code="m", bench_code="b", python="3.11.7",
    torch="2.11.0", cuda=None, device="CPU of a test", threads=1,
    started="2026-11-21T00:00:00+00:00", seconds=1.0,
)  # fmt: skip
SMOKE = PROTOCOLS["smoke"].as_dict()
HOSTILE = "<script>alert('x')</script> & \"q\" | 50 % $x_1$ \\end{table}"


def digits_suite(**changes) -> Suite:
    """The suite of 8x8 digits, changed."""
    return parse_suite(read_yaml(ROOT / "workflows/config/digits.yaml") | changes)


def config(method="fgsm", seed=0, settings=None, **changes):
    whole = {
        "dataset": "digits", "architecture": "small_cnn", "width": 16, "method": method,
        "settings": settings or {}, "eps": "51/255", "seed": seed, "protocol": SMOKE,
    }  # fmt: skip
    return Config(**(whole | changes))


def training(clean=90.0, fgsm=70.0, pgd10=60.0, onset=None, epochs=1):
    epochs = max(epochs, 0 if onset is None else onset + 1)
    scores = {k: Score(accuracy=v, n=50) for k, v in (("clean", clean), ("fgsm", fgsm))}
    curves = [
        Epoch(epoch=i, lr=0.1, loss=1.0, pert_align=0.5, reach=1.0, state={}, probe={})
        for i in range(epochs)
    ]
    return Training(
        epochs=epochs, updates=2, parameters=3,
        train_seconds=1.0, data_seconds=0.1, probe_seconds=0.2,
        peak_bytes=None, state_bytes=0, probe_images=10, resumed=0, **scores,
        pgd10=Score(accuracy=pgd10, n=50),
        verdict=Verdict(collapsed=onset is not None, onset_epoch=onset),
        method_source="", curves=curves,
    )  # fmt: skip


def attack(accuracy, n=40, generator=None):
    """AutoAttack's verdict; without a generator the first images stand."""
    stood = np.arange(n) < round(n * accuracy / 100)
    if generator is not None:
        generator.shuffle(stood)
    share = 100 * int(stood.sum()) / n
    mask = np.packbits(stood).tobytes().hex()[: -(-n // 4)]
    right = np.packbits(np.ones(n, bool)).tobytes().hex()[: len(mask)]
    return Attack(
        version="standard", library="x 1", seed=0, batch=8, n=n, accuracy=share,
        after={"clean": 100.0, "square": share}, robust={"clean": right, "square": mask},
        attack_seconds=1.0,
    )  # fmt: skip


def expense(ratio):
    return Expense(
        forward=2, backward=2, declared_forward=2, declared_backward=2, flops_per_image=1e6,
        update_seconds=0.1, update_seconds_sd=0.01, reference="fgsm_rs", reference_seconds=0.1,
        time_ratio=ratio, data_seconds=0.0, repetitions=3, updates=5, peak_bytes=None,
        reference_bytes=None, state_bytes=0,
    )  # fmt: skip


def measure(name, n=40):
    return Evaluation(
        settings={"seed": 0}, scores={name: Score(accuracy=50.0, n=n)}, measure_seconds=1.0
    )


def write(root, cfg, stage, *, status="done", reason=None, data=DATA, **body):
    record = Record(
        stage=stage, run=cfg.run_id, config=cfg, status=status, reason=reason, origin=ORIGIN,
        data=data, **body,
    )  # fmt: skip
    return record.write(root / cfg.folder)


def done(root, cfg, *, aa, ratio=1.0, **scores):
    write(root, cfg, "train", training=training(**scores))
    write(root, cfg, "autoattack", attack=attack(aa))
    if cfg.seed == 0:
        write(root, cfg, "cost", expense=expense(ratio))


def wanted(plan, work, **changes):
    """Make the record that a stage's job would leave; ``changes`` are to its head or its body."""
    options, name = plan.options(work), work.stage.name
    n = changes.pop("n", getattr(options, "images", 0))
    bodies = {
        "training": lambda: dataclasses.replace(
            training(), probe_images=options.probe_images, source=begun_with(plan, work)
        ),
        "attack": lambda: dataclasses.replace(attack(50.0, n), batch=options.batch),
        "expense": lambda: dataclasses.replace(expense(1.0), repetitions=options.repetitions),
        "measure": lambda: measure(name, n),
    }  # fmt: skip
    field = work.stage.body
    of_head = {f.name for f in dataclasses.fields(Record)}
    head = {key: value for key, value in changes.items() if key in of_head}
    body = {key: value for key, value in changes.items() if key not in of_head}
    if head.get("status", "done") == "done":
        head[field] = dataclasses.replace(bodies[field](), **body)
    return Record(**{
        "stage": name, "run": work.config.run_id, "config": work.config, "status": "done",
        "data": DATA, "options": dataclasses.asdict(options),
        "origin": dataclasses.replace(ORIGIN, method_code=plan.code[work.config.method]),
    } | head)  # fmt: skip


def begun_with(plan, work):
    """The source that a record of training names, as its record tells it; None without one."""
    if work.config.source is None:
        return None
    (source,) = plan.reads(work)
    found = plan.record(source).training
    digest = found.weights.get("last", {"full": "0" * 64})["full"]
    return Source(
        run=source.config.run_id, digest=digest, epochs=found.epochs, updates=found.updates,
        train_seconds=found.train_seconds,
    )  # fmt: skip


METHODS = ("fgsm", "fgsm_rs", "n_fgsm", "sora", "pgd10", "trades", "grad_align", "mine")
SEEDS = 5


def suite(root, runs, *, epochs=30, images=1000, evaluations=()):
    """Write so many runs as a grid would: five seeds of eight methods a table, some of them failed.

    Files are written plainly: records' own way waits for the disk at every one.

    Args:
        evaluations: optional ones, which every run has.
    """
    generator = np.random.default_rng(0)
    for i in range(runs):
        table, method = i // (SEEDS * len(METHODS)), METHODS[i // SEEDS % len(METHODS)]
        cfg = config(
            method, i % SEEDS, {"alpha": 1.25}, dataset=("digits", "cifar10", "svhn")[table % 3],
            architecture=("small_cnn", "resnet18")[table // 3 % 2], eps=f"{4 + table // 6}/255",
            protocol=SMOKE | {"name": "sora-30", "epochs": epochs},
        )  # fmt: skip
        base = 20 + 3 * METHODS.index(method) + generator.normal(0, 1)
        folder = root / cfg.folder
        folder.mkdir(parents=True)
        stages = [*_stages(i, method, base, epochs, images, generator)]
        if stages[0][1] == "done":
            stages += [(name, "done", {"measure": measure(name, images)}) for name in evaluations]
        for stage, status, body in stages:
            record = Record(
                stage=stage, run=cfg.run_id, config=cfg, status=status, origin=ORIGIN, data=DATA,
                reason=None if status == "done" else "loss is nan", **body,
            )  # fmt: skip
            (folder / f"{stage}.json").write_text(json.dumps(dataclasses.asdict(record)))


def _stages(i, method, base, epochs, images, generator):
    if i % 97 == 96:
        yield "train", "diverged", {}
        yield "autoattack", "skipped", {}
        return
    onset = epochs // 2 if method == "fgsm" and i % 2 else None
    curves = [
        Epoch(
            epoch=e, lr=0.1, loss=float(3 / (e + 1)), pert_align=0.5, reach=1.0, state={"c": 0.25},
            probe={"clean": 80.0, "fgsm": 60.0, "pgd10": 0.0 if onset and e >= onset else base},
        )
        for e in range(epochs)
    ]  # fmt: skip
    score = Score(accuracy=float(base + 5), n=images)
    best = Best(epoch=1, validation=50.0, clean=score, fgsm=score, pgd10=score)
    yield "train", "done", {
        "training": dataclasses.replace(
            training(90.0, 70.0, float(base), onset), curves=curves, best=best, epochs=epochs,
            method_source=f"class {method}: ...",
        )
    }  # fmt: skip
    yield "autoattack", "done", {"attack": attack(max(float(base) - 3, 0.0), images, generator)}
    if i % SEEDS == 0:
        yield "cost", "done", {"expense": expense(1.0 + METHODS.index(method) / 4)}
