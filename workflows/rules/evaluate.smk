rule autoattack:
    input:
        "results/runs/{run}/train.json",
    output:
        "results/runs/{run}/autoattack.json",
    log:
        "results/logs/{run}/autoattack.log",
    params:
        job=plan.job("autoattack"),
    threads: plan.suite.threads
    resources:
        gpu=plan.suite.gpus,
    shell:
        "python -m bench.attack {params.job} --out results/runs/{wildcards.run}"
        " --threads {threads} --log {log:q} {plan.flags}"
