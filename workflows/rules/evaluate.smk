rule autoattack:
    input:
        "results/runs/{run}/train.json",
        plan.stale("autoattack"),
    output:
        update("results/runs/{run}/autoattack.json"),
    log:
        "results/logs/{run}/autoattack.log",
    threads: plan.threads
    resources:
        gpu=1,
        mem_mb=plan.mem_mb(trains=False),
        runtime=plan.minutes,
    params:
        command=plan.job("autoattack"),
    shell:
        "{params.command} --threads {threads} --log {log:q}"


rule evaluate:
    input:
        "results/runs/{run}/train.json",
        plan.others(),
        plan.stale(),
    output:
        update("results/runs/{run}/{stage}.json"),
    log:
        "results/logs/{run}/{stage}.log",
    wildcard_constraints:
        stage=evaluations,
    threads: plan.threads
    resources:
        gpu=1,
        mem_mb=plan.mem_mb(trains=False),
        runtime=plan.minutes,
    params:
        command=plan.job(),
    shell:
        "{params.command} --threads {threads} --log {log:q}"
