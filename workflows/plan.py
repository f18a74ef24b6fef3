"""The plan of a suite: its runs, their stages, what is left of them, and what Snakemake asks.

Imports no torch, because Snakemake reads it before every run and, on clusters, in every job.
"""

import functools
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs.files import write_json
from bench.runs.fingerprints import method_fingerprint
from bench.runs.locks import visible
from bench.runs.record import Config, Record
from bench.runs.stage import Options, Stage, State, flags, stage, wanted
from bench.runs.suite import Suite


class Work(NamedTuple):
    """One stage of one run."""

    stage: Stage
    config: Config

    @property
    def name(self) -> str:
        """The work for people and for Snakemake's wildcards."""
        return f"{self.config.folder}/{self.stage.name}"


class Plan:
    """The work of a suite, and what is left of it.

    Args:
        runs: the suite's, resolved.
        data_dir: where official files are looked for and prepared ones kept.
        results: folder of the working results.
        cores: that Snakemake may use; None is one.
    """

    python = shlex.quote(sys.executable)  # works without activating the environment
    render = f"{python} -m bench report"

    def __init__(
        self, suite: Suite, runs: Iterable[Config], *, data_dir: str,
        results: Path = Path("results"), cores: int | None = None,
    ) -> None:  # fmt: skip
        self.suite, self.data_dir, self.results = suite, data_dir, results
        self.cores = cores or 1
        self.runs = {run.folder: run for run in runs}
        self.code = {name: method_fingerprint(name) for name in suite.methods}
        # strict runs again what failed before, so that it fails before the eyes of who asked
        self.retries = suite.retry_failed or suite.strict
        self.work = [
            Work(one, run) for one in wanted(suite) for run in self.runs.values()
            if one.per_seed or run.seed == suite.seeds[0]
        ]  # fmt: skip
        self._records: dict[str, tuple[int, Record | None]] = {}

    def file(self, work: Work, name: str | None = None) -> Path:
        """Path of a stage's record, or of another file of its run."""
        return self.results / "runs" / work.config.folder / (name or f"{work.stage.name}.json")

    def record(self, work: Work) -> Record | None:
        """Read a stage's record; None if there is none that can be read."""
        path = self.file(work)
        try:
            changed = path.stat().st_mtime_ns
            known = self._records.get(work.name)
            if known is None or known[0] != changed:
                known = self._records[work.name] = changed, Record.read(path)
        except (OSError, ValueError):  # whoever does the stage says what is wrong with the file
            return None
        return known[1]

    def options(self, work: Work) -> Options:
        """What a stage is to be told."""
        return work.stage.wanted(self.suite)

    def attempt(self, work: Work) -> int:
        """Number the try that a record is, or, where failures are retried, should become."""
        record = self.record(work)
        if record is None:
            return 1
        return record.attempt + (self.retries and record.status != "done")

    def state(self, work: Work) -> State:
        """Say what a stage's record is, to this suite and the code as it is."""
        code = self.code[work.config.method]
        record = self.record(work)
        return work.stage.state(record, self.options(work), code, self.attempt(work))

    def is_left(self, work: Work) -> bool:
        """Is a stage still to be done: a failure is not, a stage whose source is to be done is."""
        sources = [Work(stage(name), run) for run, name in work.stage.reads(work.config)]
        if self.suite.again or any(map(self.is_left, sources)):
            return True
        state, record = self.state(work), self.record(work)
        skipped = record is not None and record.status == "skipped"
        trained = all((made := self.record(source)) and made.status == "done" for source in sources)
        return state not in ("done", "failed") or (skipped and trained)

    @property
    def left(self) -> list[Work]:
        """List the work that is to be done, in order."""
        return [work for work in self.work if self.is_left(work)]

    def write(self) -> None:
        """Write what is planned, so that the page can tell cells not yet run."""
        runs = [{"folder": name, "config": run.as_dict()} for name, run in self.runs.items()]
        write_json(self.results / "plan.json", {"suite": self.suite.suite, "runs": runs})

    # What the rules ask, in terms of Snakemake's wildcards.

    @property
    def records(self) -> list[str]:
        """Files of the whole grid."""
        return [str(self.file(work)) for work in self.work]

    @property
    def published(self) -> list[str]:
        """Files of the records in git."""
        return sorted(str(path) for path in (self.results / "published").rglob("*.json"))

    def prepared(self, wildcards: Any) -> str:
        """File of a run's prepared data."""
        return f"{self.data_dir}/prepared/{self.runs[wildcards.run].dataset}.safetensors"

    def stale(self, name: str | None = None) -> Callable[[Any], list[str]]:
        """Return a function of wildcards: a file that does not exist, if a record is not wanted.

        Snakemake does a stage whose record is missing. One that is there and is not what is wanted
        it would take for done. So such a stage has one more input, which has to be made first. Its
        name holds the hash of record and wish: left behind by a kill, it is older than no other
        record than the one it was made for.
        """

        def inputs(wildcards: Any) -> list[str]:
            work = self._named(wildcards, name)
            path = self.file(work)
            if not path.is_file() or not self.is_left(work):
                return []
            wish = "\0".join(self.words(work)).encode()
            key = hashlib.sha256(path.read_bytes() + wish).hexdigest()[:12]
            return [f"{self.results}/stale/{wildcards.run}/{work.stage.name}-{key}"]

        return inputs

    def job(self, name: str | None = None) -> Callable[[Any], str]:
        """Return a function of wildcards: the command of a stage, but for threads and log."""

        def command(wildcards: Any) -> str:
            work = self._named(wildcards, name)
            return f"{self.python} -m bench {work.stage.program} {shlex.join(self.words(work))}"

        return command

    def words(self, work: Work) -> list[str]:
        """Words that tell a stage's program what to do, where, and as which try."""
        said = {
            "--config": json.dumps(work.config.as_dict(), sort_keys=True),
            "--out": str(self.file(work).parent),
            "--data-dir": self.data_dir,
            "--attempt": str(self.attempt(work)),
            "--code": self.code[work.config.method],
        } | flags(self.options(work))
        words = [word for pair in said.items() for word in pair]
        if work.stage.program == "evaluate":
            words += ["--evaluation", work.stage.name]
        words += ["--strict"] if self.suite.strict else []
        return words + (["--again"] if self.suite.again else [])

    def _named(self, wildcards: Any, name: str | None) -> Work:
        return Work(stage(name or wildcards.stage), self.runs[wildcards.run])

    @functools.cached_property
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
