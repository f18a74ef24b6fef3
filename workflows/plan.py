"""The plan that Snakemake asks: the jobs of a suite, their inputs and their commands.

Imports no torch, because Snakemake reads it before every run and, on clusters, in every job.
"""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.runs.catalogue import MEASURE
from bench.runs.files import write_json
from bench.runs.fingerprints import method_fingerprint
from bench.runs.locks import visible
from bench.runs.record import AUTOATTACK, COST, TRAIN, Config, read_status


def attempt(run: Path, *, again: bool, stage: str = TRAIN) -> int:
    """Number the try that a stage's record is, or, when ``again`` and it failed, should become.

    A rule carries it as a param, so that a failed run is tried again when asked, and only then.
    """
    status, attempt = read_status(run / f"{stage}.json")
    return attempt + (again and status not in ("done", "missing"))


class Plan:
    """What the rules of Snakemake ask: the jobs of a suite, their inputs and their commands.

    Args:
        suite: a ``bench.runs.suite.Suite``.
        runs: its resolved runs.
        data_dir: where official files are looked for and prepared ones kept.
        results: folder of the working results.
        cores: that Snakemake may use; None is one.
    """

    python = shlex.quote(sys.executable)  # works without activating the environment
    render = f"{python} -m bench report"

    def __init__(
        self, suite: Any, runs: Iterable[Config], *, data_dir: str,
        results: Path = Path("results"), cores: int | None = None,
    ) -> None:  # fmt: skip
        self.suite, self.data_dir, self.results = suite, data_dir, results
        self.cores = cores or 1
        self.runs = {run.folder: run for run in runs}
        self.code = {name: method_fingerprint(name) for name in suite.methods}
        # strict runs again what failed before, so that it fails before the eyes of who asked
        self.again = suite.retry_failed or suite.strict
        # arguments that may change without rerunning anything
        self.flags = f"--data-dir {shlex.quote(data_dir)} --gpus {suite.gpus}"
        self.flags += " --strict" if suite.strict else ""

    @property
    def records(self) -> list[str]:
        """Files of the whole grid; costs do not depend on the seed and are measured once."""
        first = self.suite.seeds[0]
        stages = [(run, stage) for run in self.runs for stage in (TRAIN, AUTOATTACK)]
        stages += [(run, name) for run in self.runs for name in self.suite.evaluations]
        stages += [(run, COST) for run, config in self.runs.items() if config.seed == first]
        return [f"{self.results}/runs/{run}/{stage}.json" for run, stage in stages]

    @property
    def published(self) -> list[str]:
        """Files of the records in git."""
        return sorted(str(path) for path in (self.results / "published").rglob("*.json"))

    def prepared(self, wildcards: Any) -> str:
        """File of a run's prepared data."""
        return f"{self.data_dir}/prepared/{self.runs[wildcards.run].dataset}.safetensors"

    def job(self, stage: str) -> Callable[[Any], str]:
        """Return a function of wildcards: the arguments that, when they change, rerun a stage."""
        suite = self.suite
        options = {
            TRAIN: {"test-images": suite.test_images, "probe-images": suite.probe_images},
            AUTOATTACK: {
                "images": suite.attack_images,
                "batch": suite.attack_batch,
                # the default is not said, so that finished attacks stay fresh
                "mode": None if suite.attack_mode == "exact" else suite.attack_mode,
            },
            COST: {},
            MEASURE: {"images": suite.attack_images},
        }[stage]

        def arguments(wildcards: Any) -> str:
            config = self.runs[wildcards.run]
            folder = self.results / "runs" / wildcards.run
            name = wildcards.measure if stage == MEASURE else stage
            given = {
                "config": json.dumps(config.as_dict(), sort_keys=True),
                "attempt": attempt(folder, again=self.again, stage=name),
                "code": self.code[config.method],
            }
            given |= {key: value for key, value in options.items() if value is not None}
            return " ".join(f"--{key} {shlex.quote(str(value))}" for key, value in given.items())

        return arguments

    @property
    def threads(self) -> int:
        """Threads of a job: the cores are shared out to the runs, and none is promised twice.

        One is enough where a GPU does the work.
        """
        if self.suite.threads or visible(os.environ):
            return self.suite.threads or 1
        return max(1, self.cores // len(self.runs))

    @property
    def alone(self) -> int:
        """Threads for a job that wants the machine to itself; a GPU it leases anyway."""
        return self.threads if visible(os.environ) else max(self.cores, self.threads)

    def write(self) -> None:
        """Write what is planned, so that the page can tell cells not yet run."""
        runs = [{"folder": name, "config": run.as_dict()} for name, run in self.runs.items()]
        write_json(self.results / "plan.json", {"suite": self.suite.suite, "runs": runs})
