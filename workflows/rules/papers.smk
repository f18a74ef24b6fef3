localrules:
    paper_report,


rule paper_report:
    log:
        "results/logs/paper_report.log",
    resources:
        gpu=0,
    shell:
        "{plan.python} -m bench papers > {log:q} 2>&1"
