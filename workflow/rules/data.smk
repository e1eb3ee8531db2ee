# Showers: fetched (bundled, local or downloaded), then scaled, cut and split.


rule fetch:
    # Writes where the files are. They stay out of the outputs, so that an interrupted download goes on where it stopped.
    input:
        raw=raw("fetch"),
    output:
        manifest=at("manifest"),
    log:
        f"{RESULTS}/logs/{{dataset}}/fetch_{{role}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/fetch_{{role}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        settings=settings("fetch"),
        code=code("fetch"),
    script:
        "../scripts/fetch.py"


rule prepare:
    input:
        unpack(manifests),
        raw=raw("prepare"),
    output:
        train=at("prepared", split="train"),
        val=at("prepared", split="val"),
        test=at("reference"),
        summary=at("summary"),
    log:
        f"{RESULTS}/logs/{{dataset}}/prepare.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/prepare.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        settings=settings("prepare"),
        code=code("prepare"),
    script:
        "../scripts/prepare.py"
