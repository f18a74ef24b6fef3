localrules:
    stale,


# What a stage waits for whose record is there and is not what is wanted: Plan.stale says when.
rule stale:
    output:
        touch("results/stale/{run}/{stage}-{key}"),
    wildcard_constraints:
        stage=f"train|autoattack|cost|{evaluations}",
        key="[0-9a-f]{12}",
    resources:
        gpu=0,
    shell:
        "true"
