rule data:
    output:
        f"{plan.data_dir}/prepared/{{data}}.safetensors",
    log:
        "results/logs/data/{data}.log",
    resources:
        gpu=0,
        mem_mb=plan.mem_mb(trains=False),
        runtime=plan.minutes,
    shell:
        "{plan.python} -m bench data {wildcards.data} --folder {plan.data_dir:q} 2>&1 | tee -a {log:q}"
