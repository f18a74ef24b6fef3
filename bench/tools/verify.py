"""Judge a submitted run: python -m bench verify RUN

Attacks a random slice of the images again, with the weights that RUN holds, and compares the
verdicts with those in RUN/autoattack.json; accuracies that training ended with are measured again
on all of their images. From the records it takes network, data and radius, and says what it did not
check. Exits 0 if the run is accepted, 1 if it is rejected, and 2 if this machine cannot judge it.
RUN gives data only, so no code of a submitter is executed: weights are safetensors, networks and
pictures are this repository's.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from bench.runs import catalogue
from bench.runs.find import RUN, run_folder
from bench.runs.fingerprints import bench_fingerprint, equivalent, method_fingerprint
from bench.runs.record import (
    AUTOATTACK,
    TRAIN,
    WEIGHTS,
    Attack,
    Data,
    Record,
    Training,
    Weights,
)
from bench.runs.stage import in_order, stage
from bench.stages import setup
from bench.stages.job import Job
from bench.stages.machine import DeviceKind, chosen
from bench.stages.running import number, positive
from bench.stages.train import scores
from evaluation.autoattack import ATTACKS, autoattack
from evaluation.clean import verdicts
from evaluation.parts import fitting
from evaluation.progress import unpack

# Share of the images by which clean verdicts and accuracies may differ on another device; one image
# at least. Of 360 in 3 runs on digits a CPU's other instructions changed none, half precision 1.
TOLERANCE = 0.01
# Share of the images recorded as robust that fall to other draws of the same attacks; generous: of
# 62 images in 8 runs on digits, 1 did.
FALLEN_RATE = 0.03
JUDGED = (TRAIN, AUTOATTACK)  # the stages of which numbers are checked
PUBLISHED = catalogue.ROOT / "results/published"
SIGNIFICANCE = 0.01  # p-value below which a test rejects the record


class Check(NamedTuple):
    """A claim of the record, and whether it was confirmed."""

    claim: str
    holds: bool
    found: str


def verify(
    run: Path,
    *,
    data_dir: Path,
    images: int = 32,
    seed: int = 0,
    batch: int = 256,
    device: DeviceKind = "auto",
) -> list[Check]:
    """Check the claims of a run, cheap ones first; stop at the first group with a false one.

    Args:
        run: folder with train.json, autoattack.json, model.safetensors and any other records.
        data_dir: where prepared data sets lie.
        images: size of the slice.
        seed: of the slice and of the attacks.
        batch: images that the attacks take at once.
        device: that attacks.

    Raises:
        ValueError: a file of the run is missing, the data set has yet to be prepared, or there is
            no such device.
    """
    on = chosen(device)
    for name in ("train.json", "autoattack.json", "model.safetensors"):
        if not (run / name).is_file():
            raise ValueError(f"there is no {run / name}; ask who submitted the run for it")
    try:
        records = read_records(run)
    except (OSError, ValueError) as error:
        return [Check("all records can be read", holds=False, found=_said(error))]
    trained, attacked = records[TRAIN], records[AUTOATTACK]
    checks = [Check("all records can be read", holds=True, found=", ".join(records))]
    checks += _check_heads(records)
    if not _accepted(checks):
        return checks
    training, attack, config = trained.training, attacked.attack, attacked.config
    assert training and attack and attacked.data, "_check_heads accepted a record without numbers"
    checks += _check_numbers(training, attack, attacked.data)
    if not _accepted(checks):
        return checks
    attacking = stage(AUTOATTACK)
    options = attacking.options_of(attacked)
    job = Job(attacking, config, options, run, data_dir, on, lambda line: None)
    loaded, data = setup.data(job)
    checks.append(_check_data(records, data))
    try:
        net = setup.trained(job).net
    except ValueError as error:
        return [
            *checks,
            Check("the weights are the recorded ones", holds=False, found=_said(error)),
        ]
    x, y = setup.test_images(job, loaded, attack.n)
    checks.append(_check_clean(net, x, y, attack, batch))
    if not _accepted(checks):
        return checks
    checks += [_check_scores(job, training, name) for name in measured(run, training)]
    if not _accepted(checks):
        return checks
    rows = torch.randperm(attack.n, generator=torch.Generator().manual_seed(seed))[:images]
    classes = loaded.info.classes
    repeated = autoattack(
        net, x[rows], y[rows], threat=job.threat, classes=classes, seed=seed, batch=batch
    )
    found = unpack(repeated.robust[ATTACKS[-1]], len(rows))
    recorded = unpack(attack.robust[ATTACKS[-1]], attack.n)[rows]
    return [*checks, _check_verdicts(recorded, found), _check_accuracy(attack.accuracy, found)]


def read_records(run: Path) -> dict[str, Record]:
    """Read every record in a run's folder, by stage."""
    names = in_order(path.stem for path in run.glob("*.json"))
    return {name: Record.read(run / f"{name}.json") for name in names}


def measured(run: Path, training: Training) -> list[Weights]:
    """Name the weights that are there and whose accuracies training recorded."""
    recorded = {"last": training, "best": training.best, "average": training.average}
    return [
        name for name in get_args(Weights) if recorded[name] and (run / WEIGHTS[name]).is_file()
    ]


def remarks(run: Path, trained: Record, attacked: Record) -> Iterator[str]:
    """Yield what speaks against no run, but is to be known of one that is published."""
    config, method = attacked.config, attacked.config.method
    made = [(record, record.origin) for record in (trained, attacked) if record.origin]
    if method not in catalogue.names("methods"):
        yield f"methods/{method}.py is not here; it has to come with the run"
    elif not all(equivalent(o.method_code, method_fingerprint(method)) for _, o in made):
        yield "other code of its method than here made it; the page will say: older method code"
    where = config.dataset, config.architecture
    if not all(equivalent(o.bench_code, bench_fingerprint(r.stage, *where)) for r, o in made):
        yield "other code beside the method than here made it; the page will say: older code"
    if any(origin.dirty for _, origin in made):
        yield "its commit is not all of its code: there were uncommitted changes"
    if not (attacked.data and attacked.data.official):
        yield "its data are not the published copy; the page will say: unofficial data"
    for path in sorted(PUBLISHED.rglob(f"{attacked.run}/{TRAIN}.json")):
        if path.parent.resolve() != run.resolve():
            yield f"the same run is published already, in {path.parent}; two would be one row"


def unchecked(run: Path, records: dict[str, Record]) -> Iterator[str]:
    """Yield what no check is of in an accepted run, record by record."""
    training = records[TRAIN].training
    assert training, "an accepted run was trained"
    there = measured(run, training)
    left = [
        file for name, file in WEIGHTS.items() if name not in there and vars(training).get(name)
    ]
    numbers = ["curves", "the verdict on collapse", "seconds", "memory"]
    yield f"{TRAIN}.json: {', '.join([*numbers, *(f'accuracies of {file}' for file in left)])}"
    yield f"{AUTOATTACK}.json: seconds, and verdicts under attack outside the slice"
    yield from (f"{name}.json: all its numbers" for name in records if name not in JUDGED)


def _said(error: Exception) -> str:
    """Say what is wrong, and not what its owner would do: who judges a run removes none of it."""
    return repr(re.split("[;,] (?:put|remove)", str(error))[0])


def _accepted(checks: list[Check]) -> bool:
    return all(check.holds for check in checks)


def _check_heads(records: dict[str, Record]) -> Iterator[Check]:
    """Check the claims about which run was done: status, run id (of its configuration)."""
    config = records[AUTOATTACK].config
    status = ", ".join(f"{name} {records[name].status}" for name in JUDGED)
    yield Check("both stages are done", status.count("done") == 2, status)
    runs = {name: record.run for name, record in records.items()}
    found = ", ".join(f"{name}.json {run}" for name, run in runs.items())
    yield Check("all records are of one run", len({*runs.values()}) == 1, found)
    known = config.architecture in catalogue.names("bench/models")
    known &= config.dataset in catalogue.names("bench/data")
    found = f"{config.architecture!r} on {config.dataset!r}"
    yield Check("network and data set are known here", known, found)


def _check_numbers(training: Training, attack: Attack, data: Data) -> Iterator[Check]:
    """Check the numbers of one record against those of the other, and against the data."""
    n, names = attack.n, [*attack.robust]
    tied = attack.digest is None or training.left(attack.weights, attack.digest)
    yield Check("the attack was of the trained weights", tied, f"{attack.digest}"[:12])
    standard = attack.version == "standard" and names == ["clean", *ATTACKS]
    yield Check("the attack is AutoAttack standard", standard, f"{attack.version!r}: {names}")
    clean, right = training.clean, round(attack.after["clean"] * n / 100)
    enough = max(n, clean.n) <= data.test_images
    yield Check("n is a number of test images", enough, f"{n}, and {clean.n} after training")
    whole = round(clean.accuracy * clean.n / 100)
    possible = clean.n < n or right <= whole <= right + clean.n - n
    yield Check("clean accuracy fits its mask", possible, f"{whole} of {clean.n}, {right} of {n}")


def _check_data(records: dict[str, Record], ours: Data) -> Check:
    """Compare the checksum and size of the recorded data with those of the prepared data."""
    claimed = {(r.data.checksum, r.data.test_images) for r in records.values() if r.data}
    found = ", ".join(repr(checksum[:12]) for checksum, _ in sorted(claimed))
    return Check("the pictures are ours", claimed == {(ours.checksum, ours.test_images)}, found)


def _check_clean(net: torch.nn.Module, x: Tensor, y: Tensor, attack: Attack, batch: int) -> Check:
    """Compare clean verdicts on all attacked images, which is cheaper than attacking the slice."""
    right = verdicts(fitting(net, x, batch), x, y, batch=batch).cpu()
    turned = int((right != unpack(attack.robust["clean"], attack.n)).sum())
    allowed = max(1, int(TOLERANCE * attack.n))
    found = f"{turned} of {attack.n} differ, {allowed} may"
    return Check("the weights give the recorded clean verdicts", turned <= allowed, found)


def _check_scores(job: Job, training: Training, name: Weights) -> Check:
    """Measure accuracies after training again, as it did, on as many images as it did."""
    claim = "the weights give the recorded accuracies"
    try:
        trained = setup.trained(job._replace(options=replace(job.options, weights=name)))
    except ValueError as error:
        return Check(claim, holds=False, found=_said(error))
    recorded = training if name == "last" else getattr(training, name)
    n = recorded.clean.n
    found = scores(trained.net, *setup.test_images(job, trained.loaded, n), threat=job.threat)
    right = {
        kind: [round(score.accuracy * n / 100) for score in (ours, getattr(recorded, kind))]
        for kind, ours in found.items()
    }
    allowed = max(1, int(TOLERANCE * n))
    same = all(abs(ours - theirs) <= allowed for ours, theirs in right.values())
    told = ", ".join(f"{kind} {ours} (recorded {theirs})" for kind, (ours, theirs) in right.items())
    return Check(claim, same, f"{WEIGHTS[name]}, of {n} images: {told}; {allowed} may differ")


def _check_verdicts(recorded: Tensor, verdicts: Tensor) -> Check:
    """Compare the slice image by image: a record fails if too many of its robust images fall.

    Args:
        recorded, verdicts: (N,) bool, True for robust; in the record and from the new attack.
    """
    fallen, stood = int((recorded & ~verdicts).sum()), int((~recorded & verdicts).sum())
    robust = int(recorded.sum())
    p_value = 1 - binomial_cdf(fallen - 1, robust, FALLEN_RATE)
    found = f"of {robust} recorded as robust {fallen} fall, p = {p_value:.2g}; "
    found += f"of {len(verdicts) - robust} recorded as broken {stood} stand"
    return Check("images recorded as robust stand", p_value >= SIGNIFICANCE, found)


def _check_accuracy(claimed: float, verdicts: Tensor) -> Check:
    """Test whether the slice's accuracy is too low for the recorded one, in percent; one-sided.

    Args:
        verdicts: (N,) bool, True for images that stand.
    """
    standing, n = int(verdicts.sum()), len(verdicts)
    p_value = binomial_cdf(standing, n, claimed / 100)
    found = f"{standing} of {n} stand, {claimed:.2f} % recorded, p = {p_value:.2g}"
    return Check("the accuracy is the recorded one", p_value >= SIGNIFICANCE, found)


def binomial_cdf(k: int, n: int, p: float) -> float:
    """Probability of k successes or fewer in n trials that each succeed with probability p."""
    if p in (0.0, 1.0):
        return 1.0 if p == 0 or k == n else 0.0

    def log_probability(i: int) -> float:
        log_choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        return log_choose + i * math.log(p) + (n - i) * math.log1p(-p)

    return min(1.0, sum(math.exp(log_probability(i)) for i in range(k + 1)))


def main(words: Sequence[str] | None = None) -> None:
    """Verify one run, print its checks, and exit 0 if it is accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m bench verify", description="Attack a slice of a submitted run again."
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    catalogue.add_data_dir(parser)
    parser.add_argument("--images", type=positive, default=32, help="size of the slice; 32")
    parser.add_argument(
        "--seed", type=number(0), default=0, help="of the slice and of the attacks; 0"
    )
    parser.add_argument("--batch", type=positive, default=256, help="images at once; 256")
    parser.add_argument("--device", choices=get_args(DeviceKind), default="auto")
    args = parser.parse_args(words)
    try:
        run = run_folder(args.run)
        checks = verify(
            run,
            data_dir=args.data_dir,
            images=args.images,
            seed=args.seed,
            batch=args.batch,
            device=args.device,
        )
    except ValueError as error:
        print(f"cannot judge {args.run}: {error}", file=sys.stderr)
        sys.exit(2)
    for check in checks:
        print(f"{'  ok' if check.holds else 'FAIL'}  {check.claim}: {check.found}")
    if accepted := _accepted(checks):
        records = read_records(run)
        for text in unchecked(run, records):
            print(f"  --  not checked, {text}")
        for remark in remarks(run, *(records[name] for name in JUDGED)):
            print(f"note  {remark}")
        place = f"results/published/submitted/NAME/{records[TRAIN].config.folder}"
        print(f"its records belong in {place}")
    print("accepted" if accepted else "rejected")
    sys.exit(not accepted)
