"""Made-up records for the papers' figures: as few of each figure as it is drawn from."""

import dataclasses
import hashlib
import shutil

import made_up
import numpy as np
from safetensors.numpy import save

from bench.runs import catalogue
from bench.runs.catalogue import ROOT
from bench.runs.record import TRACES, Best, Evaluation, Score, Value
from report.collect import collect


def read(root):
    return collect(published=root / "published", runs=root / "runs").runs


def trained(root, *, method="fgsm", seed=0, eps="51/255", traces=None, onset=1, **fields):
    """Leave a training of two epochs and 20 updates."""
    config = made_up.config(method, seed, fields.pop("settings", {"alpha": 1.0}), eps=eps)
    training = made_up.training(onset=onset, epochs=2, **fields)
    curves = [dataclasses.replace(epoch, probe={"clean": 90.0, "fgsm": 50.0, "pgd10": 40.0})
              for epoch in training.curves]  # fmt: skip
    best = Best(epoch=0, validation=50.0, clean=training.clean, fgsm=training.fgsm,
                pgd10=training.pgd10)  # fmt: skip
    training = dataclasses.replace(training, updates=20, curves=curves, best=best)
    folder = root / "runs" / config.folder
    if traces:
        folder.mkdir(parents=True)
        content = save({
            name: np.asarray(values, np.int64 if name.endswith(".update") else np.float32)
            for name, values in traces.items()
        })  # fmt: skip
        (folder / TRACES).write_bytes(content)
        training = dataclasses.replace(training, traces=hashlib.sha256(content).hexdigest())
    made_up.write(root / "runs", config, "train", training=training)
    return config


def left(root, config, stage, arrays=None, scores=None, **values):
    """Leave the record of an evaluation, with its arrays."""
    files = {}
    if arrays:
        content = save(arrays)
        name = f"{stage}.safetensors"
        (root / "runs" / config.folder / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    found = Evaluation(
        settings={"seed": 0}, measure_seconds=1.0, arrays=files, images=4,
        scores={key: Score(accuracy=value, n=40) for key, value in (scores or {}).items()},
        values={key: Value(value=value, unit="u", n=4) for key, value in values.items()},
    )  # fmt: skip
    made_up.write(root / "runs", config, stage, measure=found)


def of(root, method, scores=(90, 60, 50), **settings):
    """Leave a training with one setting or two that are not the published ones; return its run."""
    settings = catalogue.default_settings(method) | settings
    kept = {k: v for k, v in settings.items() if catalogue.added_settings(method).get(k) != v}
    run = made_up.config(method, settings=kept)
    made_up.write(root / "runs", run, "train", training=made_up.training(*scores))
    return run


def _smoke(root):
    for method in ("fgsm", "sora"):
        settings = catalogue.default_settings(method)
        for seed in (0, 1):
            run = made_up.config(method, seed, settings)
            made_up.done(root / "runs", run, aa=30 + seed, clean=90 + seed, pgd10=40 + seed)


def _swept(root):
    for eps in ("51/255", "77/255"):
        scores = {f"{attack} {k}/255": 90.0 - k for attack in ("fgsm", "pgd10") for k in (0, 51)}
        left(root, trained(root, eps=eps), "eps_sweep", scores=scores)


def _sora(root):
    for tau, change in ((0.02, {}), (0.1, {}), (0.02, {"adapt": False})):
        of(root, "sora", (90 - tau, 60, 50 - len(change)), tau=tau, **change)


def _seat(root):
    for lam in (0.0, 0.5):
        of(root, "seat", (90 - lam, 60, 50), lam=lam)


def _soar(root):
    for start in ("pgd1", "zero"):
        left(root, of(root, "soar", start=start), "pgd20", scores={"pgd20": 30.0})


def _trades(root):
    for beta in (1.0, 6.0):
        of(root, "trades", (90 - beta, 60, 50), beta=beta)


def _grid(root):
    for eps in ("51/255", "77/255"):
        for alpha in (0.5, 1.0):
            trained(root, eps=eps, settings={"alpha": alpha}, onset=1 if alpha == 1 else None)


def _radii(root):
    for eps in ("51/255", "77/255"):
        left(root, trained(root, eps=eps), "pgd50-51_255", scores={"pgd50 51/255": 30.0})


def _accuracy(root):
    for eps in ("51/255", "77/255"):
        config = trained(root, eps=eps)
        for stage in ("pgd50_10", "pgd50_10-weights_best"):
            left(root, config, stage, scores={stage.replace("-", " "): 30.0})


def _watched(*names):
    return {f"watch.{name}{end}": values for name in names
            for end, values in (("", [0.9, 0.5]), (".update", [0, 20]))}  # fmt: skip


def _curves(root):
    trained(root, traces=_watched("gradient_alignment", "cos_fgsm_pgd"))


def _filters(root):
    config = trained(root, traces=_watched("norm.0", "outgoing.0", "without.0", "alignment"))
    found = {
        "filter": np.ones((1, 3, 2, 2), np.float32),
        "map": np.ones((1, 2, 1, 2, 2), np.float16),
        "image": np.zeros((1, 2, 3, 2, 2), np.uint8),
    }
    for stage in ("filters-at_10", "filters"):
        left(root, config, stage, found, alignment=0.5)


def _landscapes(root):
    config, loss = trained(root), np.ones((4, 3, 3), np.float32)
    for stage in ("landscape-at_10", "landscape", "landscape-second_random"):
        left(root, config, stage, {"loss": loss}, roughness=0.25)
    for stage in ("weight_landscape-dims_2-at_10", "weight_landscape-dims_2"):
        left(root, config, stage, {"loss": loss}, adversarial_loss=1.0)
    for stage in ("weight_landscape-at_10", "weight_landscape"):
        left(root, config, stage, {"loss": loss[:, 0]}, adversarial_loss=1.0)


def _warned(root):
    for run in ("09c66af3ae6c", "31f5406fffd3"):  # collapsed; as published, with their traces
        place = f"cifar10/single_layer_cnn/fgsm/{run}"
        source = ROOT / "results/published/early_warning" / place
        shutil.copytree(source, root / "runs" / place)


RECORDS = {  # by figure; of a lemma there are none
    "cost_totals": _smoke, "early_warning": _warned, "eps_overfitting": _swept,
    "gradalign_accuracy": _accuracy, "gradalign_curves": _curves, "gradalign_filters": _filters,
    "gradalign_radii": _swept, "hyperparameters": _smoke, "input_landscape": _landscapes,
    "phase": _grid, "seat_radius": _radii, "seat_sweep": _seat, "soar_starts": _soar,
    "sora_ablation": _sora, "sora_sweep": _sora, "trade_off": _smoke, "trades_beta": _trades,
    "weight_landscape": _landscapes, "weight_landscape_2d": _landscapes,
}  # fmt: skip
