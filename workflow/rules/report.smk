# One page for the whole study.


rule report:
    input:
        artifacts,
    output:
        page=report(REPORT, category="Report"),
        plots=directory(f"{RESULTS}/report/{PLAN.study.study}/plots"),
    params:
        settings=settings("report"),
        code=code("report"),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    conda:
        ENVIRONMENT
    script:
        "../scripts/report.py"
