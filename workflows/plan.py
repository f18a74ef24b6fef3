"""The plan of a suite: its runs, their stages, which of these are left, and their commands.

Its imports leave torch out, because Snakemake reads it before every run and, on clusters, in every
job.
"""

import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.runs import catalogue, dropped
from bench.runs.cache import Reader
from bench.runs.ending import Ending, Named, title
from bench.runs.files import write_json
from bench.runs.fingerprints import method_fingerprint
from bench.runs.locks import visible_gpus
from bench.runs.record import COST, TRAIN, Config, Record
from bench.runs.run import kept_for
from bench.runs.stage import (
    Options,
    Stage,
    State,
    TrainOptions,
    in_order,
    stage,
    stages_for,
    with_kept,
)
from bench.runs.suite import Suite

MOST_WEIGHTS = 200 * 10**6  # bytes: no network of published width has more weights
PROCESS_BYTES = 4 * 10**9  # of the host, by a process with torch and CUDA in it; assumed


def mem_mb(config: Config | None, attempt: int) -> int:
    """Return the MB of memory that a job with a GPU asks a cluster for.

    8,000, or what a checkpoint takes of a method that remembers something of each image; twice that
    each next try; and room for the training pictures, which are pages of a file: without it, each
    epoch reads them from disk again.

    Args:
        config: the cell's; None for a job that does not train.
        attempt: from 1 on. From the fourth on it is the same, since most of a long run's retries
            follow its time limits.
    """
    pictures, copies = 0, 10**9  # of weights and momentum, as the largest network has them
    if config:
        images, channels, side, _ = catalogue.pictures(config.dataset)
        images = min(images, config.train_images or images)
        augment = catalogue.augment(config.dataset)
        pictures = images * channels * side**2
        kept, canvas = catalogue.remembers(config.method)
        if canvas and not augment.get("resized"):  # there is one
            kept, side = kept or 1, side + 2 * augment.get("pad", 0)
        copies += 2 * 4 * kept * images * channels * side**2  # a file's content, and its parts
        copies += 2 * len(kept_for(config)) * MOST_WEIGHTS  # a method may remember as many vectors
    needed = max(8 * 10**9, PROCESS_BYTES + copies)
    return (needed * 2 ** min(attempt - 1, 3) + pictures) // 10**6


def drop_collapsed(plans: Sequence["Plan"]) -> int:
    """Drop weights of collapsed runs that nothing in these plans will read any more.

    Returns:
        Bytes freed; none in plans whose suite does not say ``keep_weights: robust``.
    """
    if not any(plan.suite.keep_weights == "robust" for plan in plans):
        return 0
    plain = [plan.plain() for plan in plans]
    waiting = {
        plan.file(read).parent for plan in plain for work in plan.work
        if not plan.is_over(work) for read in plan.reads(work)
    }  # fmt: skip
    freed = 0
    for plan in (plan for plan in plain if plan.suite.keep_weights == "robust"):
        for work in (work for work in plan.work if work.stage.name == TRAIN):
            folder, record = plan.file(work).parent, plan.record(work)
            if folder not in waiting and record and record.training and plan.is_over(work):
                freed += dropped.drop(folder, record.training)
    return freed


class Work(NamedTuple):
    """One stage of one run of a plan."""

    stage: Stage
    config: Config

    @property
    def name(self) -> str:
        """The name that people and Snakemake's wildcards use."""
        return f"{self.config.folder}/{self.stage.name}"

    @property
    def reads(self) -> list["Work"]:
        """The work whose records its job reads; what these read is not among them."""
        return [Work(stage(name), config) for config, name in self.stage.reads(self.config)]


class Plan:
    """The work of a suite, and what is left of it.

    Runs that its stages read, as those whose weights others begin with, are trained with it, and
    neither attacked nor shown unless the suite lists them.

    Args:
        runs: the suite's.
        data_dir: folder of the official files and of the prepared ones.
        results: folder that records are written below.
        read: reads a record.
        cores: CPU cores that Snakemake may use here; None if jobs run on other machines.
    """

    # Works without activating the environment, and in any folder, of which -P has Python take
    # nothing: results may lie elsewhere than the project.
    _path = filter(None, (str(catalogue.ROOT), os.environ.get("PYTHONPATH")))
    python = shlex.join(["env", f"PYTHONPATH={os.pathsep.join(_path)}", sys.executable, "-P"])
    render = f"{python} -m bench report"

    def __init__(
        self, suite: Suite, runs: Iterable[Config], *, data_dir: str,
        results: Path = Path("results"), cores: int | None = None, read: Reader = Record.read,
    ) -> None:  # fmt: skip
        self._read = read
        self.suite, self.data_dir, self.results = suite, data_dir, results
        self.cores = cores or 1  # what is not known is not asked for
        self.listed = {config.folder: config for config in runs}
        # under strict, a run that failed before is run again, so that its error is seen now
        self.retries = suite.retry_failed or suite.strict
        own = [
            Work(stage, config) for stage in stages_for(suite) for config in self.listed.values()
            if stage.per_seed or config.seed == suite.seeds[0]
        ]  # fmt: skip
        # a run costs what its source costs, too
        costs = [Work(work.stage, work.config.source) for work in own
                 if work.stage.name == COST and work.config.source]  # fmt: skip
        work = {one.name: one for first in (*own, *costs) for one in (*self.reads(first), first)}
        order = in_order({one.stage.name for one in work.values()})
        self.work = sorted(work.values(), key=lambda one: order.index(one.stage.name))
        self.runs = {one.config.folder: one.config for one in self.work}
        self._kept: dict[str, set[int]] = {}  # updates whose weights others read, by run
        for run in self.runs.values():
            if run.source:
                self._kept.setdefault(run.source.folder, set()).update(kept_for(run))
        methods = {run.method for run in self.runs.values()}
        self.code = {method: method_fingerprint(method) for method in methods}
        self._records: dict[str, tuple[int, Record | None]] = {}

    def file(self, work: Work, name: str | None = None) -> Path:
        """Return the path of a stage's record, or of another file in its run's folder."""
        return Path(self.results, "runs", work.config.folder, name or f"{work.stage.name}.json")

    def reads(self, work: Work) -> list[Work]:
        """List the work that has to be done before, the earliest first."""
        return [one for source in work.reads for one in (*self.reads(source), source)]

    def record(self, work: Work) -> Record | None:
        """Read a stage's record; None if the file is missing or invalid."""
        path = self.file(work)
        try:
            changed = path.stat().st_mtime_ns
            known = self._records.get(work.name)
            if known is None or known[0] != changed:
                known = self._records[work.name] = changed, self._read(path)
        except (OSError, ValueError):  # the job that does the stage reports what is wrong with it
            return None
        return known[1]

    def options(self, work: Work) -> Options:
        """Return the options that the suite asks for."""
        wanted, kept = work.stage.options_for(self.suite), self._kept.get(work.config.folder)
        return with_kept(wanted, kept) if kept and isinstance(wanted, TrainOptions) else wanted

    def attempt(self, work: Work) -> int:
        """Return the number of the attempt that counts: the record's, or the next to retry it."""
        record = self.record(work)
        if record is None:
            return 1
        return record.attempt + (self.retries and record.status != "done")

    def state(self, work: Work) -> State:
        """Compare a stage's record with what this suite and the code of now ask for."""
        code = self.code[work.config.method]
        trainings = map(self.record, work.reads)
        return work.stage.state(
            self.record(work), self.options(work), code, self.attempt(work), trainings
        )

    def why(self, work: Work) -> str | None:
        """Say in a word or two why a stage is still to be done; None if it is not.

        It is if a stage that it reads is still to be done. It is not if it failed, unless failures
        are to be retried.
        """
        state, record = self.state(work), self.record(work)
        if record is None:
            return "damaged" if self.file(work).is_file() else "new"
        if state == "missing":
            return "failed before"
        if state not in ("done", "failed"):
            return state
        sources = self.reads(work)
        if any(map(self.is_left, sources)):
            return "reads what is left"
        found = [self.record(source) for source in sources]
        readable = all(record is not None and record.status == "done" for record in found)
        if record.status == "skipped" and readable:
            return "skipped before"
        return "again" if self.suite.again else None

    def is_left(self, work: Work) -> bool:
        """Say whether a stage is still to be done."""
        return self.why(work) is not None

    def is_over(self, work: Work) -> bool:
        """Say whether a stage has been done, or was refused, and nobody will do it again."""
        record = self.record(work)
        return bool(record and record.status in ("done", "refused")) and not self.is_left(work)

    @property
    def left(self) -> list[Work]:
        """List the work that is still to be done, in order."""
        return [work for work in self.work if self.is_left(work)]

    def reasons(self) -> str:
        """Count what is left by stage and reason, as "2 train (1 new, 1 damaged)"."""
        by_stage: dict[str, Counter[str]] = {}
        for work in self.work:
            if reason := self.why(work):
                by_stage.setdefault(work.stage.name, Counter())[reason] += 1
        return ", ".join(
            f"{count.total()} {stage} ({', '.join(f'{n} {reason}' for reason, n in count.items())})"
            for stage, count in by_stage.items()
        )

    def log(self, work: Work) -> Path:
        """Return the path of the file with a stage's progress."""
        return self.results / "logs" / f"{work.name}.log"

    def plain(self) -> "Plan":
        """Return the same plan, of a command that does nothing twice: it knows what is done."""
        keys = dict.fromkeys(("again", "retry_failed", "strict"), False)
        if not any(getattr(self.suite, key) for key in keys):
            return self  # with the records that it has read
        return Plan(
            self.suite.model_copy(update=keys), self.listed.values(), data_dir=self.data_dir,
            results=self.results, cores=self.cores, read=self._read,
        )  # fmt: skip

    def ending(self) -> Ending:
        """Sum up what is done, what failed and what is left."""
        plain, ending = self.plain(), Ending(f"suite {self.suite.suite}")
        for work in plain.work:
            name, log = title(work.config, work.stage.name), self.log(work)
            record = plain.record(work)
            if record is None or plain.is_left(work):
                ending.left.append(Named(name, log))
            else:
                ending.add(record.status, record.reason, name, log)
        return ending

    def write(self) -> None:
        """Write results/plan.json, from which the page knows the runs that are still to come."""
        runs = [
            {"folder": folder, "config": config.as_dict()} for folder, config in self.listed.items()
        ]
        write_json(self.results / "plan.json", {"suite": self.suite.suite, "runs": runs})

    # For the rules of Snakemake, in terms of its wildcards.

    @property
    def figures(self) -> str:
        """The command that draws the suite's figures, with what lies over its file."""
        suite = self.suite.model_dump(mode="json", exclude_unset=True)
        return f"{self.python} -m bench figures --suite {shlex.quote(json.dumps(suite))}"

    @property
    def records(self) -> list[str]:
        """The paths of all records of the suite."""
        return [str(self.file(work)) for work in self.work]

    @property
    def sources(self) -> str:
        """A regular expression for the runs whose weights others read."""
        others = {one.config.folder for work in self.work for one in self.reads(work)
                  if one.config != work.config}  # fmt: skip
        return "|".join(map(re.escape, sorted(others))) or "(?!)"

    @property
    def published(self) -> list[str]:
        """The paths of the records in git."""
        return sorted(str(path) for path in (self.results / "published").rglob("*.json"))

    def prepared(self, wildcards: Any) -> str:
        """Return the path of a run's prepared data."""
        return f"{self.data_dir}/prepared/{self.runs[wildcards.run].dataset}.safetensors"

    def others(self, name: str | None = None) -> Callable[[Any], list[str]]:
        """Return an input function that names the records of other runs that a stage reads."""

        def inputs(wildcards: Any) -> list[str]:
            work = self._named(wildcards, name)
            return [str(self.file(one)) for one in self.reads(work) if one.config != work.config]

        return inputs

    @functools.cached_property
    def markers(self) -> list[str]:
        """List the markers of all records that are out of date."""
        return [marker for work in self.work if (marker := self._marker(work))]

    def stale(self, name: str | None = None) -> Callable[[Any], list[str]]:
        """Return an input function that makes Snakemake redo a stage whose record is out of date.

        Snakemake takes a stage for done if its record exists. For a record that is to be made
        again, the function returns one more input, a marker file that the rule `stale` makes first;
        being newer than the record, it has Snakemake redo the stage. Targets have to name the
        marker too (`markers`): nothing missing is made for the sake of a file that exists.
        """

        def inputs(wildcards: Any) -> list[str]:
            marker = self._marker(self._named(wildcards, name))
            return [marker] if marker else []

        return inputs

    def _marker(self, work: Work) -> str | None:
        """Name the marker of a record that is out of date; None for others.

        The name holds a hash of the record and of the wanted options, so that a marker left behind
        by a killed Snakemake counts for this record only.
        """
        path = self.file(work)
        if not path.is_file() or not self.is_left(work):
            return None
        wanted = "\0".join(self.arguments(work)).encode()
        key = hashlib.sha256(path.read_bytes() + wanted).hexdigest()[:12]
        return f"{self.results}/stale/{work.name}-{key}"

    def forget_markers(self) -> None:
        """Remove the markers, after all that waited for them is done."""
        shutil.rmtree(self.results / "stale", ignore_errors=True)

    def job(self, name: str | None = None) -> Callable[[Any], str]:
        """Return a params function that gives a stage's command without --threads and --log."""

        def command(wildcards: Any) -> str:
            work = self._named(wildcards, name)
            return f"{self.python} -m bench {work.stage.program} {shlex.join(self.arguments(work))}"

        return command

    def arguments(self, work: Work) -> list[str]:
        """Return the command-line arguments with which a stage's program does this work."""
        flags = {
            "--config": json.dumps(work.config.as_dict(), sort_keys=True),
            "--out": str(self.file(work).parent),
            "--data-dir": self.data_dir,
            "--attempt": str(self.attempt(work)),
            "--code": self.code[work.config.method],
        } | work.stage.flags(self.options(work))
        arguments = [text for flag in flags.items() for text in flag]
        arguments += ["--strict"] if self.suite.strict else []
        return arguments + (["--again"] if self.suite.again else [])

    def mem_mb(self, *, trains: bool) -> Callable[[Any, int], int]:
        """Return a resource function that gives the MB of memory that a job asks a cluster for."""

        def asked(wildcards: Any, attempt: int) -> int:
            return mem_mb(self.runs[wildcards.run] if trains else None, attempt)

        return asked

    def minutes(self, wildcards: Any, attempt: int) -> int:
        """Return the time limit of a job on a cluster: 4 hours, 8 hours, ... 24 hours.

        A try must get from one checkpoint to the next: half a minute in training; in an attack one
        batch, 9 h at the most (imagenet100, wide_resnet28_10, at the rate of docs/costs.md).
        """
        return min(240 * attempt, 1440)

    def _named(self, wildcards: Any, name: str | None) -> Work:
        return Work(stage(name or wildcards.stage), self.runs[wildcards.run])

    @functools.cached_property
    def threads(self) -> int:
        """CPU threads of a job: its share of the cores, or 1 where a GPU does the work."""
        if self.suite.threads or visible_gpus(os.environ):
            return self.suite.threads or 1
        return max(1, self.cores // len(self.runs))

    @property
    def alone(self) -> int:
        """CPU threads of a job that needs the machine to itself; a GPU is its own by the lease."""
        return self.threads if visible_gpus(os.environ) else max(self.cores, self.threads)
