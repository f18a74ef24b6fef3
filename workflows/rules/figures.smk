localrules:
    figures,


rule figures:
    input:
        plan.records,
        plan.markers,
        plan.published,
    log:
        "results/logs/figures.log",
    resources:
        gpu=0,
    shell:
        # the leaderboard links to the page
        "{plan.figures} > {log:q} 2>&1 && {plan.render} >> {log:q} 2>&1"
