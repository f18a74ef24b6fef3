rule cost:
    input:
        ancient(plan.prepared),
        plan.stale("cost"),
    output:
        update("results/runs/{run}/cost.json"),
    log:
        "results/logs/{run}/cost.log",
    priority: -1  # it wants the machine to itself, which may as well be when the rest is done
    # alone on a machine without GPU; elsewhere the lease gives it a device of its own
    threads: plan.alone
    resources:
        gpu=1,
    params:
        command=plan.job("cost"),
    shell:
        "{params.command} --threads {plan.threads} --log {log:q}"
