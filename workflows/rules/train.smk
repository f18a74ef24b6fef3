rule train:
    input:
        ancient(plan.prepared),
        plan.others("train"),
        plan.stale("train"),
    output:
        update("results/runs/{run}/train.json"),
    log:
        "results/logs/{run}/train.log",
    threads: plan.threads
    resources:
        gpu=1,
        mem_mb=plan.mem_mb(trains=True),
        runtime=plan.minutes,
    params:
        command=plan.job("train"),
    shell:
        "{params.command} --threads {threads} --log {log:q}"


# Runs that others read have a rule of their own: behind a job of a rule that --until names, Snakemake
# stops.
use rule train as source with:
    wildcard_constraints:
        run=plan.sources,


ruleorder: source > train
