rule autoattack:
    input:
        "results/runs/{run}/train.json",
    output:
        "results/runs/{run}/autoattack.json",
    log:
        "results/logs/{run}/autoattack.log",
    threads: plan.threads
    resources:
        gpu=plan.suite.gpus,
    params:
        job=plan.job("autoattack"),
    shell:
        "{plan.python} -m bench attack {params.job} --out results/runs/{wildcards.run}"
        " --threads {threads} --log {log:q} {plan.flags}"


rule measure:
    input:
        "results/runs/{run}/train.json",
    output:
        "results/runs/{run}/{measure}.json",
    log:
        "results/logs/{run}/{measure}.log",
    wildcard_constraints:
        measure="|".join(MEASURES),
    threads: plan.threads
    resources:
        gpu=plan.suite.gpus,
    params:
        job=plan.job("measure"),
    shell:
        "{plan.python} -m bench evaluate --measure {wildcards.measure} {params.job}"
        " --out results/runs/{wildcards.run} --threads {threads} --log {log:q} {plan.flags}"
