# One page for the whole study.


rule report:
    input:
        artifacts,
        raw=raw("report"),
    output:
        page=report(REPORT, category="Report"),
        plots=directory(at("plots", study=PLAN.study.study)),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: 4
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("report"),
        code=code("report"),
    script:
        "../scripts/report.py"
