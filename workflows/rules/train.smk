rule train:
    input:
        ancient(plan.prepared),
    output:
        "results/runs/{run}/train.json",
    log:
        "results/logs/{run}/train.log",
    threads: plan.threads
    resources:
        gpu=plan.suite.gpus,
    params:
        job=plan.job("train"),
    shell:
        "{plan.python} -m bench train {params.job} --out results/runs/{wildcards.run}"
        " --threads {threads} --log {log:q} {plan.flags}"
