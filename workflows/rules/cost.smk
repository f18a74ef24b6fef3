rule cost:
    input:
        ancient(plan.prepared),
        plan.stale("cost"),
    output:
        update("results/runs/{run}/cost.json"),
    log:
        "results/logs/{run}/cost.log",
    priority: -1  # it wants the machine to itself, which may as well be when the rest is done
    # alone on this machine if it has no GPU; with one the lease, on a cluster SLURM gives it its own
    threads: plan.alone
    resources:
        gpu=1,
        mem_mb=plan.mem_mb(trains=True),
        runtime=plan.minutes,
    params:
        command=plan.job("cost"),
    shell:
        "{params.command} --threads {plan.threads} --log {log:q}"
