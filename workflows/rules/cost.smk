rule cost:
    input:
        ancient(plan.prepared),
    output:
        "results/runs/{run}/cost.json",
    log:
        "results/logs/{run}/cost.log",
    priority: -1  # it wants the machine to itself, which may as well be when the rest is done
    # alone on a machine without GPU; elsewhere the lease gives it a device of its own
    threads: plan.alone
    resources:
        gpu=plan.suite.gpus,
    params:
        job=plan.job("cost"),
    shell:
        "{plan.python} -m bench cost {params.job} --out results/runs/{wildcards.run}"
        " --threads {plan.threads} --log {log:q} {plan.flags}"
