localrules:
    all,
    leaderboard,
    report,


onstart:
    plan.write()


onsuccess:
    plan.forget_markers()


onerror:
    shell(f"{plan.render} > results/logs/report.log 2>&1")


rule leaderboard:
    input:
        plan.records,
        plan.markers,
        plan.published,
    output:
        "results/leaderboard.html",
        "results/leaderboard.md",
        "results/leaderboard.csv",
    log:
        "results/logs/report.log",
    resources:
        gpu=0,
    params:
        runs=list(plan.listed),
    shell:
        "{plan.render} > {log:q} 2>&1"


rule report:
    log:
        "results/logs/report.log",
    resources:
        gpu=0,
    shell:
        "{plan.render} > {log:q} 2>&1"
