"""A run that can be held in its middle, to be killed there."""

import subprocess
import time

from projects import HANGS, SMOKE, SNAKEMAKE, environment, record, snakemake, twin

# It waits in its second step while a file called hold lies about, so that there is a middle to be
# killed in.
SLOW = '''"""Slow: FGSM from a random start that can be held."""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.method import Cost, Method
from bench.ops import ce, grad, project, uniform


@dataclass(frozen=True, kw_only=True)
class Slow(Method):
    """Source: none. Shapes: none. Cost: none. Differs: none."""

    cost = Cost(forward=2, backward=2)

    def step(self, net, batch, state, descend):
        eta = uniform(batch.x, self.eps)
        g = grad(ce(net, batch.y), at=(batch.x + eta).clamp(0, 1))
        d = project(eta + self.eps * g.sign(), batch.x, self.eps)
        descend(ce(net, batch.y), at=batch.x + d, g=g)
        with open("steps", "a") as file:
            file.write("x")
        while Path("hold").exists() and Path("steps").stat().st_size == 2:
            time.sleep(0.02)
'''
UPDATES = 4  # 2 epochs of 2 batches
ONE = ("--until", "autoattack", *SMOKE, "--config", "methods=[slow]")  # without costs


def ended(smoke, folder):
    """Make a project in which the slow method ran here, to its end."""
    twin(smoke, folder)
    (folder / "methods/slow.py").write_text(SLOW)
    snakemake(folder, *ONE)
    return folder


def started(folder, *words):
    return subprocess.Popen(
        [*SNAKEMAKE, *words], cwd=folder, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def steps(folder):
    path = folder / "steps"
    return path.stat().st_size if path.exists() else 0


def log_of(folder):
    paths = list((folder / "results/logs/digits/small_cnn/slow").glob("*/train.log"))
    return paths[0].read_text() if paths else ""


def until(claim):
    end = time.monotonic() + HANGS
    while not claim():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def numbers(folder):
    training = record(folder, "slow").training
    attack = record(folder, "slow", "autoattack").attack
    return training.curves, training.clean, training.fgsm, training.pgd10, attack.robust
