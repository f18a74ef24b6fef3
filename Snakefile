"""Contents page: what one `snakemake` makes. The stages are in workflows/rules/."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


from bench.runs.evaluations import pattern
from bench.runs.process import settle
from bench.runs.record import ConfigError
from bench.runs.run import expand
from bench.runs.suite import parse_suite, read_yaml
from bench.tools.cautions import cautions
from workflows.plan import Plan
from workflows.terminal import take_over

settle()
try:
    for file in workflow.configfiles:
        read_yaml(Path(file))  # keys that stand twice, which Snakemake drops
    suite = parse_suite(config)
    runs = expand(suite)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

plan = Plan(
    suite,
    runs,
    data_dir=suite.data_folder,
    # with --jobs they run on a cluster, where this machine's cores say nothing
    cores=None if workflow.nodes else workflow.cores,
)
take_over(plan, workflow)
if workflow.is_main_process:  # no job of a cluster
    for sentence in cautions(plan, here=not workflow.nodes):
        print(sentence, file=sys.stderr)
evaluations = pattern()


wildcard_constraints:
    data="[a-z0-9_]+",
    run=r"[a-z0-9_]+/[a-z0-9_]+/[a-z0-9_]+/[0-9a-f]{12}",


include: "workflows/rules/data.smk"
include: "workflows/rules/stale.smk"
include: "workflows/rules/train.smk"
include: "workflows/rules/evaluate.smk"
include: "workflows/rules/cost.smk"
include: "workflows/rules/report.smk"
include: "workflows/rules/papers.smk"
include: "workflows/rules/figures.smk"


rule all:
    default_target: True
    input:
        # by name: a page rendered half-way must not count for the records it lacks
        plan.records,
        plan.markers,
        "results/leaderboard.html",
